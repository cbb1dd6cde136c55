"""Clips are ingested once, and a clip that contradicts the catalog changes nothing in the store."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from pydantic import SecretStr

from flows import ingest
from flows.erasure.content import bury_content
from flows.erasure.keys import check_pseudonym_key
from flows.erasure.objects import bury
from flows.execution.executor import Engine
from flows.settings import SettingsError
from flows.workspace import Workspace
from vitau.data.layout import SUBJECTS
from vitau.media.frames import FrameRecipe
from vitau.media.manifests import SourceClip, read_manifest
from vitau.schema import Skipped

RECIPE = FrameRecipe()


@pytest.fixture
def sources(cohort: Path) -> list[SourceClip]:
    return read_manifest(cohort / "manifest.csv")[0][:2]


@pytest.fixture
def gated(monkeypatch: pytest.MonkeyPatch) -> list[pd.DataFrame]:
    """The tables that reach gate 1; no Prefect server runs."""
    tables: list[pd.DataFrame] = []
    monkeypatch.setattr(ingest, "ingest_batch", ingest.ingest_batch.fn)
    monkeypatch.setattr(ingest, "gate", lambda _workspace, rows, _suite: tables.append(rows))
    return tables


def test_clips_are_ingested_in_order_and_the_second_time_none_is_new_or_gated(workspace, sources, gated):
    missing = replace(sources[0], row="row 9", paths=(sources[0].paths[0].with_name("missing.mp4"),))
    first = ingest.ingest_clips(workspace, [sources[0], missing, sources[1]], RECIPE, Engine.LOCAL)
    assert [type(outcome) for outcome in first] == [ingest.Recorded, Skipped, ingest.Recorded]
    summary = ingest.summarize(first, [])
    assert (summary.clips, summary.new_clips, summary.cut_clips) == (2, 2, 2)
    assert [item.item for item in summary.skipped] == ["row 9"]
    assert (len(gated), len(gated[0])) == (1, summary.frames)
    again = ingest.summarize(ingest.ingest_clips(workspace, sources, RECIPE, Engine.LOCAL), [])
    assert (again.clips, again.new_clips, again.cut_clips) == (2, 0, 0)
    assert len(gated) == 1
    assert workspace.catalog.leases() == {}


def test_a_clip_that_contradicts_the_catalog_is_skipped_and_nothing_is_erased(workspace, sources, gated):
    ingest.ingest_clips(workspace, sources[:1], RECIPE, Engine.LOCAL)
    keys = list(workspace.store.keys(SUBJECTS))
    other = replace(sources[0], subject_id=f"not {sources[0].subject_id}")
    (outcome,) = ingest.ingest_clips(workspace, [other], RECIPE, Engine.LOCAL)
    assert isinstance(outcome, Skipped)
    assert list(workspace.store.keys(SUBJECTS)) == keys


def test_the_bytes_of_an_erased_person_are_refused_under_another_source_too(workspace, sources, gated):
    [recorded, _] = ingest.ingest_clips(workspace, sources, RECIPE, Engine.LOCAL)
    owner = next(clip.subject for clip in workspace.catalog.clips() if clip.sha256 == recorded.table.clip)
    workspace.catalog.begin_erasure({owner})
    bury(workspace, {owner})
    bury_content(workspace, [recorded.table.clip])
    workspace.store.purge(f"subjects/{owner}/")
    workspace.catalog.delete_rows_of({owner})
    workspace.catalog.forget({owner})
    workspace.catalog.finish_erasure({owner}, snapshots=[], trainings=[])
    outcomes = ingest.ingest_clips(workspace, [sources[0], replace(sources[0], source="another name")], RECIPE, Engine.LOCAL)
    assert [type(outcome) for outcome in outcomes] == [Skipped, Skipped]
    assert "its recording was erased with a person" in outcomes[1].reason
    assert len(workspace.catalog.clips()) == 1
    assert not [key for key in workspace.store.keys("") if recorded.table.clip in key]
    assert owner not in workspace.catalog.pseudonyms()


def test_another_pseudonym_key_than_the_catalogs_and_a_weak_one_are_refused(workspace):
    check_pseudonym_key(workspace)
    check_pseudonym_key(workspace)
    for key, words in (
        ("another key of these tests", "this catalog were made with the key"),
        ("a" * 16, "1 different characters"),
    ):
        other = Workspace(workspace.settings.model_copy(update={"pseudonym_key": SecretStr(key)}))
        with pytest.raises(SettingsError, match=words):
            check_pseudonym_key(other)
        other.catalog.engine.dispose()


def test_the_list_of_skipped_items_is_not_named_by_the_path(tmp_path):
    name = ingest.skip_list_name(tmp_path / "Ada Lovelace")
    assert name == ingest.skip_list_name(tmp_path / "x" / ".." / "Ada Lovelace")
    assert "Ada" not in name
