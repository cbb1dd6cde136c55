"""Snapshots after an erasure: every reader leaves the person out, and the manifest without the person is verified."""

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.erasure.living import load_living
from flows.monitor import frames_of_new_people, held_out
from flows.rescore import add_living_score, held_out_frames
from flows.workspace import Workspace
from tests.flows.workspaces import offline_settings
from vitau.catalog.catalog import FrameTable, ScoredSubject
from vitau.data import snapshot as snapshots
from vitau.data.dataset import load_crops
from vitau.data.layout import score_key, snapshot_key, snapshot_prefix
from vitau.errors import ObjectNotFoundError, SnapshotError, TrainingError
from vitau.media.crops import to_jpeg
from vitau.schema import AUS, Clip, Cohort, Split, Subject, tombstone

PEOPLE = {"p1": Split.TEST, "p2": Split.TEST, "p3": Split.TRAIN}


@pytest.fixture
def workspace(tmp_path):
    """Three people with one frame each in one snapshot."""
    import numpy as np

    opened = Workspace(offline_settings(tmp_path))
    rows = []
    for number, (name, split) in enumerate(PEOPLE.items()):
        clip = f"{number}c" * 32
        key = f"subjects/{name}/clips/{clip}/frames-r.parquet"
        opened.catalog.add_subject(Subject(pseudonym=name, cohort=Cohort.PALSY, source="s"))
        opened.catalog.add_clip(Clip(sha256=clip, subject=name, source="s", suffix=".mp4"))
        opened.catalog.add_frame_table(
            FrameTable(clip=clip, recipe="r", key=key, num_frames=1, num_faces=1, quarantine_key="q", quarantined={})
        )
        crop = to_jpeg(np.full((256, 256, 3), 80 * number, np.uint8))
        frame = {"frame_index": 0, "crop": crop, "crop_landmarks": [float(number)] * 136}
        sink = io.BytesIO()
        pq.write_table(pa.Table.from_pylist([frame]), sink)
        opened.store.put(key, sink.getvalue())
        rows.append(
            {"subject": name, "clip": clip, "frame_index": 0, "frames_key": key, "source": "s", "cohort": "palsy"}
            | {"split": split.value, "side": None, **dict.fromkeys(AUS, False)}
        )
    opened.catalog.add_snapshot(snapshots.freeze(pa.Table.from_pylist(rows, snapshots.snapshot_schema()), opened.store, 0))
    yield opened
    opened.catalog.engine.dispose()


def digest(workspace):
    return workspace.catalog.snapshots()[0].digest


def test_every_reader_leaves_a_person_out_as_soon_as_the_erasure_begins_and_counts_the_person(workspace):
    workspace.catalog.begin_erasure({"p1"})
    living = load_living(workspace, digest(workspace))
    assert set(living.rows["subject"].to_pylist()) == {"p2", "p3"}
    assert living.num_erased == 1
    frames, num_erased = held_out_frames.fn(workspace, digest(workspace))
    assert (frames["subject"].to_pylist(), num_erased) == (["p2"], 1)
    assert frames_of_new_people.fn(workspace, held_out(living.rows), None)["subject"].to_pylist() == []


def test_a_redacted_manifest_keeps_its_name_its_count_and_its_verification(workspace):
    found = snapshots.redact(workspace.store, digest(workspace), {"p1"})
    assert found is not None
    assert found.splits == {"test"}
    assert list(workspace.store.keys(snapshot_prefix(digest(workspace)))) == [found.key]
    living = load_living(workspace, digest(workspace))
    assert (set(living.rows["subject"].to_pylist()), living.num_erased) == ({"p2", "p3"}, 1)
    assert snapshots.erased_people(living.rows) == {tombstone("p1"): "test"}
    assert snapshots.redact(workspace.store, digest(workspace), {"p1"}) == found, "again"
    assert snapshots.redact(workspace.store, digest(workspace), {"p9"}) is None
    everyone = snapshots.redact(workspace.store, digest(workspace), {"p2", "p3"})
    assert everyone.splits == {"test", "train"}
    assert load_living(workspace, digest(workspace)).num_erased == 3
    workspace.store.erase(everyone.key)
    workspace.store.put(everyone.key, b"not a table")
    with pytest.raises(SnapshotError, match="is not a Parquet file any more"):
        load_living(workspace, digest(workspace))


def test_a_redaction_that_was_interrupted_between_its_two_steps_is_finished_by_the_next(workspace):
    whole = workspace.store.get(snapshot_key(digest(workspace)))
    first = snapshots.redact(workspace.store, digest(workspace), {"p1"})
    second = snapshots.redact(workspace.store, digest(workspace), {"p3"})
    workspace.store.put(snapshot_key(digest(workspace)), whole)
    assert load_living(workspace, digest(workspace)).num_erased == 2, "the redacted manifest wins"
    assert snapshots.redact(workspace.store, digest(workspace), {"p1"}) == second.__class__(
        key=second.key, rows_digest=second.rows_digest, splits=first.splits
    )
    assert list(workspace.store.keys(snapshot_prefix(digest(workspace)))) == [second.key]


def test_crops_are_decoded_without_erased_people_and_an_older_cache_is_deleted(workspace, tmp_path):
    cache = tmp_path / "crops"
    assert load_crops(workspace.store, digest(workspace), cache).subject_N.tolist() == ["p1", "p2", "p3"]
    snapshots.redact(workspace.store, digest(workspace), {"p1"})
    workspace.store.erase("subjects/p1/")
    crops = load_crops(workspace.store, digest(workspace), cache)
    assert crops.subject_N.tolist() == ["p2", "p3"]
    assert [round(float(crops.pixels(slice(row, row + 1)).mean())) for row in range(2)] == [80, 160]
    assert not (cache / digest(workspace)).exists()


def test_crops_can_be_decoded_while_an_erasure_is_unfinished(workspace, tmp_path):
    workspace.catalog.begin_erasure({"p2"})
    workspace.store.erase("subjects/p2/")
    with pytest.raises(ObjectNotFoundError):
        load_crops(workspace.store, digest(workspace), tmp_path / "crops")
    living = load_living(workspace, digest(workspace))
    crops = load_crops(workspace.store, digest(workspace), tmp_path / "crops", without=living.names)
    assert crops.subject_N.tolist() == ["p1", "p3"]


def test_a_score_that_was_computed_during_an_erasure_is_deleted_and_not_recorded(workspace):
    key = score_key("m", "p1")
    workspace.store.put(key, b"a score")
    workspace.catalog.begin_erasure({"p1"})
    assert not add_living_score(workspace, ScoredSubject(model_digest="m", subject="p1", key=key, summary={}))
    assert not workspace.store.exists(key)
    assert workspace.catalog.scores() == []


def test_no_model_is_trained_on_a_person_who_withdrew_consent_after_the_snapshot(workspace):
    from flows.retrain import check_consent

    (frozen,) = workspace.catalog.snapshots()
    check_consent(workspace, frozen.digest)
    newest = Clip(sha256="d" * 64, subject="p3", source="s", suffix=".mp4", consent="withdrawn")
    workspace.catalog.add_clip(newest)
    with pytest.raises(TrainingError, match=r"1 people in snapshot .* withdrew their consent: run `python -m flows freeze`"):
        check_consent(workspace, frozen.digest)
    assert "p3" not in set(load_living(workspace, frozen.digest).rows["subject"].to_pylist())
