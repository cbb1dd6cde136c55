"""The ingest stores the measures of every clip, and the measures of a person come from all clips that have them."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr

from flows import ingest
from flows.execution.executor import Engine
from flows.measuring.people import measure_keys, people_measures
from flows.settings import Settings
from flows.workspace import Workspace
from vitau.media.frames import FrameRecipe
from vitau.media.manifests import read_manifest

FRAMES = 7
"""In each clip of these drawn people."""


@pytest.fixture(scope="module")
def workspace(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """The first three clips of the drawn people; the last two are ingested as those of one person."""
    folder = tmp_path_factory.mktemp("measured")
    settings = Settings(
        store=(folder / "store").as_uri(),
        catalog=SecretStr(f"sqlite:///{folder / 'catalog.db'}"),
        pseudonym_key=SecretStr("a key that only this test knows"),
        label_studio_url="http://127.0.0.1:9",
        label_studio_token=SecretStr("none"),
        mlflow_url="http://127.0.0.1:9",
        work=folder / "work",
        num_processes=1,
    )
    opened = Workspace(settings)
    first, second, third = read_manifest(cohort / "manifest.csv")[0][:3]
    third = replace(third, subject_id=second.subject_id, cohort=second.cohort)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ingest, "ingest_batch", ingest.ingest_batch.fn)
        patch.setattr(ingest, "gate", lambda *_: None)
        outcomes = ingest.ingest_clips(opened, [first, second, third], FrameRecipe(), Engine.LOCAL)
    assert all(isinstance(outcome, ingest.Recorded) for outcome in outcomes)
    yield opened
    opened.catalog.engine.dispose()


def test_the_clips_of_a_person_are_measured_together(workspace):
    measured = people_measures(workspace)
    assert sorted(person.num_clips for person in measured.values()) == [1, 2]
    for person in measured.values():
        assert (person.analysis is not None, person.num_unmeasured) == (True, 0)
        assert len(person.analysis.series) == FRAMES * person.num_clips
        assert person.analysis.person.asymmetry is not None
    (one,) = [person.subject for person in measured.values() if person.num_clips == 1]
    assert set(people_measures(workspace, {one})) == {one}


def test_a_clip_from_before_measures_were_stored_is_counted_and_stops_nothing(workspace):
    keys = measure_keys(workspace)
    (several,) = [subject for subject, names in keys.items() if len(names) == 2]
    workspace.store.erase(keys[several][0])
    person = people_measures(workspace, {several})[several]
    assert (person.num_clips, person.num_unmeasured, len(person.analysis.series)) == (2, 1, FRAMES)
    workspace.store.erase(keys[several][1])
    person = people_measures(workspace, {several})[several]
    assert (person.num_unmeasured, person.analysis) == (2, None)
