"""People of a table of labels become a snapshot without their names, once."""

import pytest

from flows.tables.labeled import read_people
from vitau.data.dataset import load_crops
from vitau.errors import SourceError
from vitau.media.synthetic.cohort import write_clip
from vitau.media.synthetic.people import draw_person
from vitau.schema import AU
from vitau.store import open_store


def test_clips_of_labeled_people_are_read_once_and_keep_no_name(tmp_path):
    write_clip(tmp_path / "anna.mp4", draw_person(5, 1))
    (tmp_path / "note.mp4").write_text("no clip")
    table = tmp_path / "labels.csv"
    table.write_text("subject,clip,label,side,AU12\nAnna,anna.mp4,palsy,R,1\nBert,note.mp4,control,,\n")
    said: list[str] = []
    people = read_people(table, tmp_path / "people", num_processes=1, skipped=said.append)
    (row,) = people.rows.group_by(["subject", "cohort", "side", "AU12", "AU1", "source"]).aggregate([]).to_pylist()
    assert row == {"subject": "person-0001", "cohort": "palsy", "side": "right", "AU12": True, "AU1": None, "source": "labels"}
    assert said[0].startswith("person-0002 is left out: ")
    crops = load_crops(open_store(people.store_uri), people.snapshot, people.cache)
    assert len(crops) == people.rows.num_rows > 10
    assert crops.sided_NA2[0, list(AU).index(AU.AU12)].tolist() == [True, False]
    stored = [path.as_posix().lower() for path in (tmp_path / "people").rglob("*")]
    assert not [name for name in stored if "anna" in name]
    again = read_people(table, tmp_path / "people", num_processes=1, skipped=said.append)
    assert (again.snapshot, len(said)) == (people.snapshot, 1), "nothing is read again"
    (tmp_path / "note.mp4").unlink()
    with pytest.raises(SourceError, match="1 of the clips"):
        read_people(table, tmp_path / "people", num_processes=1)
