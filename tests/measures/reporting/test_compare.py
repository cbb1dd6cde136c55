import csv
import re
import stat
from dataclasses import replace

import pytest

from vitau.errors import SourceError
from vitau.measures.reporting.compare import compare_visits, read_visit, render_comparison, warnings, write_comparison
from vitau.measures.results import Task
from vitau.measures.tables import TableWriter


def write_visit(folder, *recordings):
    folder.mkdir()
    with TableWriter(folder) as tables:
        for recording in recordings:
            tables.add(recording)
        tables.write_skipped(())
    return folder


def moved(recording, task, name, **changes):
    measures = [
        replace(measure, **changes) if (measure.task, measure.measure) == (task, name) else measure
        for measure in recording.measures
    ]
    return replace(recording, measures=tuple(measures))


@pytest.fixture
def visits(tmp_path, recording):
    """Two visits of one person; at the second, the left lip corner moves 0.1 farther in smiling, and the brow 0.015."""
    found = {(measure.task, measure.measure): measure for measure in recording.measures}
    smile, brow = found[Task.SMILE, "lip_corner_lateral"], found[Task.BROW_RAISE, "brow_height"]
    later = moved(
        recording, Task.SMILE, "lip_corner_lateral", left=smile.left + 0.1, difference=smile.difference - 0.1,
        smallest_detectable_change=0.04,
    )  # fmt: skip
    later = moved(later, Task.BROW_RAISE, "brow_height", right=brow.right + 0.015, difference=brow.difference + 0.015)
    later = moved(later, Task.SNARL, "nasal_wing_height", reason="the head was turned")
    first = write_visit(tmp_path / "one", replace(recording, recorded_at="2026-01-05"))
    second = write_visit(tmp_path / "two", replace(later, visit="2", recorded_at="2026-06-05"))
    return read_visit(first), read_visit(second)


def test_a_change_is_detectable_only_if_it_exceeds_the_smallest_detectable_change_of_both_visits(visits):
    changes = {(change.exercise, change.measure): change for change in compare_visits(*visits)}
    smile = changes["smile", "lip_corner_lateral"]
    assert smile.left_change == pytest.approx(0.1, abs=1e-5)
    assert smile.smallest_detectable_change == pytest.approx(((0.02**2 + 0.04**2) / 2) ** 0.5)
    assert smile.exceeds == ("left", "difference")
    brow = changes["brow_raise", "brow_height"]
    assert (brow.right_change, brow.exceeds) == (pytest.approx(0.015, abs=1e-5), ())
    assert changes["smile", "brow_height"].exceeds == ()


def test_a_difference_of_the_sides_must_change_more_than_a_side_because_both_have_errors(tmp_path, recording):
    name = (Task.SMILE, "lip_corner_lateral")
    smile = next(measure for measure in recording.measures if (measure.task, measure.measure) == name)
    later = moved(recording, *name, left=smile.left + 0.025, difference=smile.difference - 0.025)
    visits = [read_visit(write_visit(tmp_path / folder, found)) for folder, found in (("one", recording), ("two", later))]
    (change,) = [found for found in compare_visits(*visits) if (found.exercise, found.measure) == ("smile", name[1])]
    assert change.exceeds == ("left",), "0.025 is more than 0.02, and less than √2 · 0.02"


def test_a_measure_that_was_not_measurable_at_one_visit_is_listed_with_the_reason(visits):
    changes = {(change.exercise, change.measure): change for change in compare_visits(*visits)}
    snarl = changes["snarl", "nasal_wing_height"]
    assert (snarl.reason, snarl.right_change) == ("not measurable at the second visit: the head was turned", None)


def test_the_table_and_the_page_show_all_changes_and_are_private(visits, tmp_path):
    changes = write_comparison(*visits, tmp_path / "out")
    with (tmp_path / "out" / "changes.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(changes)
    smile = next(row for row in rows if (row["exercise"], row["measure"]) == ("smile", "lip_corner_lateral"))
    assert (smile["exceeds"], smile["unit"]) == ("left difference", "eye distance")
    html = (tmp_path / "out" / "changes.html").read_text()
    assert "<b>1</b> of" in html
    assert "<b>+0.100</b>" in html
    assert "lateral position of the lip corner, smiling: left" in re.sub(r"\s+", " ", html), "among the clearest"
    assert "+0.000" not in html
    assert "the head was turned" in html
    assert stat.S_IMODE((tmp_path / "out" / "changes.csv").stat().st_mode) == 0o600


def test_other_landmarks_or_visits_in_the_wrong_order_are_warned_about(visits):
    first, second = visits
    assert warnings(first, second) == []
    assert "give the earlier one first" in warnings(second, first)[0]
    other = replace(second, person={**second.person, "landmarks": "refined"})
    assert "Measure both visits with the same landmarks." in warnings(first, other)[0]
    assert "the same measurement" in warnings(first, first)[0]
    assert "Measure both visits with the same landmarks." in render_comparison(first, other, [])


def test_a_folder_with_several_people_needs_the_name_of_one(tmp_path, recording):
    folder = write_visit(tmp_path / "both", recording, replace(recording, item="d002"))
    with pytest.raises(SourceError, match=r"holds 2 measured inputs \(d001, d002\); name one of each visit with --inputs"):
        read_visit(folder)
    assert read_visit(folder, "d002").item == "d002"
    with pytest.raises(SourceError, match="no measured input d003; it holds d001, d002"):
        read_visit(folder, "d003")


def test_a_folder_of_something_else_is_refused(tmp_path):
    with pytest.raises(SourceError, match=r"has no people\.csv; give an output folder of `vitau measure`"):
        read_visit(tmp_path)
