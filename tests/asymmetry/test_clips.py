from pathlib import Path

import pytest
from typer.testing import CliRunner

from vitau.asymmetry.__main__ import app
from vitau.asymmetry.clips import LabeledPerson, measure_people, read_labels
from vitau.errors import SourceError
from vitau.media.synthetic.cohort import write_clip
from vitau.media.synthetic.people import draw_person
from vitau.schema import Side

HEADER = "subject,clip,label,side,AU1,AU2,AU4,AU6,AU9,AU12,AU25,AU26"


def written(folder: Path, *rows: str) -> Path:
    table = folder / "labels.csv"
    table.write_text("\n".join([HEADER, *rows]) + "\n", encoding="utf-8")
    return table


def test_a_table_has_a_person_per_subject_with_all_clips(tmp_path: Path) -> None:
    palsy = "palsy,R,1,0,,1,0,1,1,0"
    people = read_labels(written(tmp_path, f"a,1.mp4,{palsy}", f"a,2.mp4,{palsy}", "b,3.mp4,normal,,,,,,,,,"))
    assert [person.subject for person in people] == ["a", "b"]
    assert people[0].clips == (tmp_path / "1.mp4", tmp_path / "2.mp4")
    assert people[0].side == 1
    assert people[0].affected == (True, False, None, True, False, True, True, False)
    assert not people[1].palsied


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a,1.mp4,ill,,,,,,,,,", "row 2 has the label 'ill'; write palsy or control"),
        ("a,1.mp4,palsy,up,,,,,,,,", "row 2 has the side 'up'; write right, left, both, or nothing"),
        ("a,1.mp4,palsy,l,2,,,,,,,", "row 2 has '2' for AU1; write 1, 0, or nothing"),
    ],
)
def test_an_unknown_value_is_named_with_its_row(tmp_path: Path, row: str, message: str) -> None:
    with pytest.raises(SourceError) as error:
        read_labels(written(tmp_path, row))
    assert str(error.value) == message


def test_rows_that_contradict_each_other_and_a_table_without_labels_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="two rows of one subject have different labels"):
        read_labels(written(tmp_path, "a,1.mp4,palsy,l,,,,,,,,", "a,2.mp4,normal,,,,,,,,,"))
    (tmp_path / "other.csv").write_text("subject,clip\na,1.mp4\n", encoding="utf-8")
    with pytest.raises(SourceError, match="has no column label"):
        read_labels(tmp_path / "other.csv")


def test_the_program_answers_about_a_clip_and_lists_what_it_cannot_read(tmp_path: Path) -> None:
    person = next(one for index in range(100) if (one := draw_person(72, index, palsied=True)).severity > 0.9)
    write_clip(tmp_path / "person.mp4", person, frames_per_task=1)
    (tmp_path / "text.mp4").write_text("no video")
    result = CliRunner().invoke(app, ["answer", str(tmp_path / "person.mp4"), str(tmp_path / "text.mp4")])
    assert result.exit_code == 1
    assert person.side in (Side.RIGHT, Side.LEFT)
    first = result.stdout.splitlines()[0]
    assert first.startswith("person.mp4\tpalsy ")
    assert f"{person.side} moves less" in first
    assert "regions, if there is a palsy: forehead, inner brow " in result.stdout
    contributions = [line for line in result.stdout.splitlines() if line.endswith(")") and ": " in line]
    assert len(contributions) == 5
    assert contributions[0].startswith(f"\t{person.side} "), "the largest contribution is about the palsied side"
    assert "Skipped text.mp4: " in result.stderr


def test_a_person_without_a_readable_clip_is_left_out_with_the_reason(tmp_path: Path) -> None:
    lost = LabeledPerson(subject="a", clips=(tmp_path / "1.mp4",), palsied=True, side=1, affected=(None,) * 8)
    people, skipped = measure_people([lost])
    assert len(people) == 0
    assert [skip.item for skip in skipped] == ["a"]
    assert "missing" in skipped[0].reason or "does not exist" in skipped[0].reason
