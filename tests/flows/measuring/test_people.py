"""The ingest stores the measures of every clip, and the measures of a person come from all clips that have them."""

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from flows import ingest
from flows.execution.executor import Engine
from flows.measuring.export import export_measures
from flows.measuring.missing import measure_missing, unmeasured_clips
from flows.measuring.people import NO_FACE, NOT_MEASURED, PersonMeasures, measure_keys, people_measures
from flows.reports.drift_people import ASYMMETRY, collect_movement
from flows.workspace import Workspace
from tests.flows.workspaces import offline_settings
from vitau.media.frames import FrameRecipe
from vitau.media.manifests import read_manifest

DAMAGED = "the measures of clip 0123456789ab are damaged: run `python -m flows fsck`"
FRAMES = 7
"""In each clip of these drawn people."""


@pytest.fixture(scope="module")
def ingested(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """The first three clips of the drawn people; the last two are ingested as those of one person."""
    folder = tmp_path_factory.mktemp("measured")
    settings = offline_settings(folder, num_processes=1)
    opened = Workspace(settings)
    first, second, third = read_manifest(cohort / "manifest.csv")[0][:3]
    second = replace(second, visit="week-12", recorded_at="2026-11-20")
    third = replace(third, subject_id=second.subject_id, cohort=second.cohort, visit="baseline", recorded_at="2026-08-28")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ingest, "ingest_batch", ingest.ingest_batch.fn)
        patch.setattr(ingest, "gate", lambda *_: None)
        outcomes = ingest.ingest_clips(opened, [first, second, third], FrameRecipe(), Engine.LOCAL)
    assert all(isinstance(outcome, ingest.Recorded) for outcome in outcomes)
    yield opened
    opened.catalog.engine.dispose()


@pytest.fixture
def workspace(ingested: Workspace) -> Iterator[Workspace]:
    """The ingested clips; objects that a test erases are put back."""
    store = ingested.store
    before = {key: store.get(key) for key in store.keys("subjects/")}
    yield ingested
    for key, data in before.items():
        store.put(key, data)


def test_the_clips_of_a_person_are_measured_together(workspace):
    measured = people_measures(workspace)
    assert sorted(person.num_clips for person in measured.values()) == [1, 2]
    for person in measured.values():
        assert (person.analysis is not None, person.num_unmeasured) == (True, 0)
        assert len(person.analysis.series) == FRAMES * person.num_clips
        assert person.analysis.person.asymmetry is not None
    (visits,) = [person.visits for person in measured.values() if person.num_clips == 2]
    assert [visit.visit.name for visit in visits] == ["baseline", "week-12"], "by date"
    assert [len(visit.analysis.series) for visit in visits] == [FRAMES, FRAMES]
    asymmetry = [visit.analysis.person.asymmetry for visit in visits]
    assert asymmetry[0] != asymmetry[1]
    (one,) = [person.subject for person in measured.values() if person.num_clips == 1]
    assert set(people_measures(workspace, {one})) == {one}


def test_the_measures_of_everyone_are_written_as_the_tables_of_the_command(workspace, tmp_path):
    summary = export_measures(workspace, tmp_path / "out")
    assert (summary.people, summary.skipped) == (2, ())
    people = pd.read_csv(tmp_path / "out" / "people.csv")
    (one,) = [person.subject for person in people_measures(workspace).values() if len(person.visits) == 1]
    (two,) = set(people_measures(workspace)) - {one}
    assert sorted(people["input"]) == sorted([one, f"{two}_baseline", f"{two}_week-12"])
    assert people.set_index("input").loc[f"{two}_week-12", ["visit", "recorded_at"]].tolist() == ["week-12", "2026-11-20"]
    assert people["landmarks"].unique().tolist() == ["refined"]
    assert len(pd.read_csv(tmp_path / "out" / "series.csv")) == 3 * FRAMES
    assert (tmp_path / "out" / "measures.xlsx").exists()


def test_monitoring_has_the_movement_of_each_person_and_logs_damage(workspace, caplog):
    measured = people_measures(workspace)
    one, other = measured
    numbers = collect_movement(workspace, [other, "unknown", one])
    expected = [measured[name].analysis.person.asymmetry for name in (other, one)]
    assert numbers[ASYMMETRY][[0, 2]].tolist() == expected
    assert np.isnan(numbers[ASYMMETRY][1])
    (clip,) = [clip.sha256 for clip in workspace.catalog.clips() if measured[clip.subject].num_clips == 1]
    path = workspace.store.folder / measure_keys(workspace)[clip]
    data = path.read_bytes()
    path.write_bytes(data[:-1])
    with caplog.at_level(logging.WARNING):
        numbers = collect_movement(workspace, [one, other])
    path.write_bytes(data)
    assert {name: int(np.isnan(values).sum()) for name, values in numbers.items()} == dict.fromkeys(numbers, 1)
    assert f"The measures of clip {clip[:12]} are damaged" in caplog.text


def test_a_damaged_object_is_named_and_the_other_clips_of_the_person_count(workspace, tmp_path):
    (several,) = [person.subject for person in people_measures(workspace).values() if person.num_clips == 2]
    keys = [key for key in measure_keys(workspace).values() if several in key]
    path = workspace.store.folder / keys[0]
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    (person,) = [person for person in people_measures(workspace).values() if person.num_clips == 2]
    written = export_measures(workspace, tmp_path)
    path.write_bytes(data)
    assert (person.damaged, person.num_unmeasured, len(person.analysis.series)) == ((keys[0],), 0, FRAMES)
    (without,) = [visit.visit.name for visit in person.visits if visit.analysis is None]
    assert (written.people, [item.item for item in written.skipped]) == (2, [f"{several}_{without}"])
    clip = keys[0].split("/")[3][:12]
    assert person.notes == (f"The measures of clip {clip} are damaged: run `python -m flows fsck`.",)


def test_a_clip_from_before_measures_were_stored_is_counted_and_stops_nothing(workspace, tmp_path):
    (several,) = [person.subject for person in people_measures(workspace).values() if person.num_clips == 2]
    keys = [key for key in measure_keys(workspace).values() if several in key]
    workspace.store.erase(keys[0])
    person = people_measures(workspace, {several})[several]
    assert (person.num_clips, person.num_unmeasured, len(person.analysis.series)) == (2, 1, FRAMES)
    assert (person.reason, person.notes) == (None, ("1 of 2 clips has no measures.",))
    (left_out,) = export_measures(workspace, tmp_path).skipped
    assert left_out.item.startswith(f"{several}_")
    workspace.store.erase(keys[1])
    person = people_measures(workspace, {several})[several]
    assert (person.num_unmeasured, person.analysis, person.reason) == (2, None, NOT_MEASURED)
    assert [skipped.reason for skipped in export_measures(workspace, tmp_path).skipped] == [NOT_MEASURED]


def test_missing_measures_are_computed_from_the_stored_recording_and_are_the_same_bytes(workspace):
    measure_missing(workspace)
    keys = list(measure_keys(workspace).values())
    before = {key: workspace.store.get(key) for key in keys}
    for key in keys[:2]:
        workspace.store.erase(key)
    assert len(unmeasured_clips(workspace)) == 2
    summary = measure_missing(workspace)
    assert (summary.measured, summary.skipped) == (2, ())
    assert {key: workspace.store.get(key) for key in keys} == before
    assert measure_missing(workspace).measured == 0


def test_a_clip_whose_recording_is_lost_is_named_and_the_others_are_measured(workspace):
    keys = list(measure_keys(workspace).values())
    for key in keys[:2]:
        workspace.store.erase(key)
    (raw,) = [key for key in workspace.store.keys(keys[0].rpartition("/")[0]) if "/raw" in key]
    lost = workspace.store.get(raw)
    workspace.store.erase(raw)
    summary = measure_missing(workspace)
    assert summary.measured == 1
    assert [skipped.item for skipped in summary.skipped] == [keys[0].split("/")[3]]
    workspace.store.put(raw, lost)
    assert measure_missing(workspace).measured == 1


@pytest.mark.parametrize(
    ("num_unmeasured", "damaged", "reason"),
    [(0, (), NO_FACE), (1, (), NOT_MEASURED), (1, ("subjects/a/clips/0123456789abcdef/measures-v-r.parquet",), DAMAGED)],
)
def test_a_person_without_measures_has_a_reason(num_unmeasured, damaged, reason):
    person = PersonMeasures(subject="a", visits=(), analysis=None, num_clips=2, num_unmeasured=num_unmeasured, damaged=damaged)
    assert person.reason == reason
