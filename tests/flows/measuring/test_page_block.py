"""The text of the labeling page about a person's stored measures."""

from dataclasses import replace

import numpy as np

from flows.measuring.page_block import measure_blocks, measure_section
from flows.measuring.people import people_measures
from flows.workspace import Workspace
from labeling.interface.measure_block import measure_html
from tests.flows.measuring.stored_people import add_person
from vitau.measures.analysis import NO_USABLE_FRAME, analyze
from vitau.measures.reporting.words import exceeds
from vitau.measures.results import Measure, Task
from vitau.measures.stored import measures_version


def measured(workspace: Workspace, subject: str, task: Task, name: str) -> Measure:
    analysis = people_measures(workspace, {subject})[subject].analysis
    (found,) = [row for row in analysis.measures if (row.task, row.measure) == (task, name) and row.kind != "synkinesis"]
    return found


def test_the_block_has_the_side_the_exercises_the_levels_at_rest_and_what_is_missing(workspace):
    add_person(workspace, "9f3c51d27ab04e68", severity=0.7)
    block = measure_blocks(workspace, {"9f3c51d27ab04e68"})["9f3c51d27ab04e68"]
    (section,) = block.sections
    assert block.version == measures_version()
    asymmetry = people_measures(workspace)["9f3c51d27ab04e68"].analysis.person.asymmetry
    assert section.summary[0] == f"Asymmetry of movement: {asymmetry:.2f} (0 is equal movement)."
    assert section.summary[1].startswith("Weaker: the person’s left side, with a probability of ")
    groups = dict(section.groups)
    assert list(groups)[-1] == "At rest"
    corner = measured(workspace, "9f3c51d27ab04e68", Task.SMILE, "lip_corner_height")
    assert exceeds(corner)
    cells = ("height of the lip corner *", f"+{corner.right:.3f}", f"+{corner.left:.3f}", f"{corner.ratio:.2f}")
    assert groups["Smiling"][0] == cells
    assert corner.ratio < 0.5
    gap = measured(workspace, "9f3c51d27ab04e68", Task.REST, "lid_gap")
    name = "lid gap *" if exceeds(gap) else "lid gap"
    assert (name, f"{gap.right:.3f}", f"{gap.left:.3f}", "") in groups["At rest"]
    assert any(note.startswith("Not found in the recordings: closing the eyes tightly") for note in section.notes)
    assert "may be wrong" in " ".join(block.notes)
    assert "97\N{NO-BREAK SPACE}% (brow height)" in " ".join(block.notes)
    html = measure_html(block)
    assert [text for text in ("9f3c51d27ab04e68", ".mp4", "sha") if text in html] == []


def test_people_without_stored_measures_have_no_block_and_left_out_clips_are_mentioned(workspace):
    add_person(workspace, "p1", severity=None)
    add_person(workspace, "p2", severity=0.2)
    add_person(workspace, "p2", severity=None, visit="later")
    blocks = measure_blocks(workspace, {"p1", "p2"})
    assert set(blocks) == {"p2"}
    assert blocks["p2"].notes[0] == "1 of 2 clips has no measures."
    assert measure_blocks(workspace, set()) == {}


def test_each_visit_has_its_own_measures_without_its_name(workspace):
    add_person(workspace, "p1", severity=0.8, visit="1-before")
    add_person(workspace, "p1", severity=0.1, visit="2-after")
    blocks = measure_blocks(workspace, {"p1/1-before", "p1/2-after"})
    (first,), (second,) = blocks["p1/1-before"].sections, blocks["p1/2-after"].sections
    by_visit = {visit.visit.name: visit.analysis for visit in people_measures(workspace)["p1"].visits}
    assert first == measure_section(by_visit["1-before"])
    assert second == measure_section(by_visit["2-after"])
    assert first.summary != second.summary
    assert "before" not in measure_html(blocks["p1/1-before"])
    assert measure_blocks(workspace, {"p1"}) == {}, "nothing was measured at the visit 1"


def test_a_difference_within_its_uncertainty_is_not_marked_and_dental_show_is_no_row(workspace):
    add_person(workspace, "p1", severity=0.5)
    analysis = people_measures(workspace)["p1"].analysis
    corner = measured(workspace, "p1", Task.SMILE, "lip_corner_height")
    teeth = replace(corner, measure="dental_show", unit="eye distance squared")
    for change, name in ((9.9, "height of the lip corner"), (0.0, "height of the lip corner *")):
        unsure = replace(analysis, measures=(replace(corner, smallest_detectable_change=change), teeth))
        assert [[row[0] for row in rows] for _, rows in measure_section(unsure).groups] == [[name]]


def test_what_is_not_measurable_is_said_with_its_reason(workspace):
    add_person(workspace, "p1", severity=0.5)
    series = people_measures(workspace)["p1"].analysis.series
    turned = measure_section(analyze(replace(series, usable=np.zeros(len(series), dtype=bool))))
    assert turned.summary == ("Asymmetry of movement and the weaker side are not measurable here.",)
    assert turned.groups == ()
    assert f"Not measurable, {NO_USABLE_FRAME}: rest." in turned.notes
