import io
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from flows.execution.clip_worker import Ingested, clip_work, ingest_clip, local_source
from vitau.data.layout import clip_prefix
from vitau.errors import ClipError
from vitau.measures.stored import measures_version
from vitau.media.frames import FrameRecipe
from vitau.media.manifests import read_manifest
from vitau.processes import parallel_map
from vitau.schema import Skipped
from vitau.store import open_store

KEY = b"a key that only this test knows"
RECIPE = FrameRecipe()


def claimed(source):
    return local_source(source, KEY)


@pytest.fixture
def sources(cohort):
    clips, skipped = read_manifest(cohort / "manifest.csv")
    assert skipped == []
    return clips


def test_a_clip_becomes_four_objects_under_its_subject_and_the_second_time_none(sources, tmp_path):
    store = open_store(tmp_path / "store")
    first = ingest_clip(sources[0], store, KEY, RECIPE)
    keys = list(store.keys())
    prefix = clip_prefix(first.clip.subject, first.clip.sha256)
    assert [key.removeprefix(prefix) for key in keys] == [
        f"frames-{RECIPE.digest}.parquet",
        f"measures-{measures_version()}-{RECIPE.digest}.parquet",
        first.frames.quarantine_key.removeprefix(prefix),
        "raw.mp4",
    ]
    written = {key: (store.folder / key).stat().st_mtime_ns for key in keys}
    again = ingest_clip(sources[0], store, KEY, RECIPE)
    assert again.frames == first.frames
    assert {key: (store.folder / key).stat().st_mtime_ns for key in sorted(store.keys())} == written


def test_the_subject_id_of_the_source_is_in_no_key_and_no_table(sources, tmp_path):
    store = open_store(tmp_path / "store")
    source = replace(sources[0], subject_id="Ada Lovelace")
    ingested = ingest_clip(source, store, KEY, RECIPE)
    assert "Ada" not in " ".join(store.keys())
    assert "Ada" not in str(ingested.rows.to_pydict())
    assert ingested.clip.subject != ingest_clip(source, store, b"another key of another study", RECIPE).clip.subject


def test_the_quarantine_has_the_rows_that_the_rule_rejects(sources, tmp_path):
    store = open_store(tmp_path / "store")
    ingested = ingest_clip(sources[0], store, KEY, RECIPE)
    kept = pq.read_table(io.BytesIO(store.get(ingested.frames.quarantine_key)))
    rejected = [row for row in ingested.rows.select(["frame_index", "quarantine"]).to_pylist() if row["quarantine"]]
    assert [row["frame_index"] for row in rejected] == kept["frame_index"].to_pylist()
    assert sum(ingested.frames.quarantined.values()) == len(rejected)


def test_a_bad_clip_is_skipped_with_its_reason_and_the_others_are_ingested(sources, tmp_path):
    empty = tmp_path / "empty.mp4"
    empty.touch()
    bad = replace(sources[1], paths=(empty,))
    missing = replace(claimed(sources[2]), path=tmp_path / "missing.mp4")
    outcomes = list(map(clip_work(str(tmp_path / "store"), RECIPE), [claimed(sources[0]), claimed(bad), missing]))
    assert isinstance(outcomes[0], Ingested)
    assert [type(outcome) for outcome in outcomes[1:]] == [Skipped, Skipped]
    assert outcomes[1].item == sources[1].row
    assert outcomes[1].reason == "the recording is empty (0 bytes); copy it again"
    assert outcomes[2].reason == "its file is missing on the machine of its worker; check the path"


def test_two_processes_write_the_same_objects_as_one(sources, tmp_path):
    alone = list(parallel_map(clip_work(str(tmp_path / "one"), RECIPE), map(claimed, sources[:3]), 1))
    together = list(parallel_map(clip_work(str(tmp_path / "two"), RECIPE), map(claimed, sources[:3]), 2))
    assert [outcome.frames for outcome in alone] == [outcome.frames for outcome in together]
    one, two = open_store(tmp_path / "one"), open_store(tmp_path / "two")
    assert {key: one.get(key) for key in sorted(one.keys())} == {key: two.get(key) for key in sorted(two.keys())}


def test_a_clip_killed_before_its_frames_were_written_is_ingested_by_the_next_run(sources, tmp_path, monkeypatch):
    store = open_store(tmp_path / "store")
    put = type(store).put

    def dies_at_the_frames(self, key: str, data: bytes | Path) -> bool:
        if "frames-" in key:
            raise ClipError("killed")
        return put(self, key, data)

    with monkeypatch.context() as patch:
        patch.setattr(type(store), "put", dies_at_the_frames)
        with pytest.raises(ClipError):
            ingest_clip(sources[0], store, KEY, RECIPE)
    resumed = ingest_clip(sources[0], store, KEY, RECIPE)
    assert store.exists(resumed.frames.key)
    assert store.exists(resumed.frames.quarantine_key)
