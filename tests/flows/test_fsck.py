"""Every kind of damage to a store is found by fsck, with the real commands and folders."""

import json
import shutil

import pytest
from typer.testing import CliRunner

from flows.doctor.fsck import Problem, fsck
from tests.databases import empty_catalog
from vitau.catalog.catalog import FrameTable, ScoredSubject, open_catalog
from vitau.data import layout
from vitau.schema import tombstone
from vitau.store import open_store

CLIP = "ab" * 32


@pytest.fixture
def store(tmp_path):
    return open_store(tmp_path / "store")


@pytest.fixture
def catalog(tmp_path):
    catalog = open_catalog(f"sqlite:///{shutil.copy(empty_catalog(), tmp_path / 'catalog.db')}")
    with catalog.engine.begin() as connection:
        row = {"pseudonym": "anna", "cohort": "palsy", "source": "s", "synthetic": True, "recorded_at": "now"}
        connection.exec_driver_sql(
            "INSERT INTO subjects (pseudonym, cohort, source, synthetic, recorded_at) "
            "VALUES (:pseudonym, :cohort, :source, :synthetic, :recorded_at)",
            row,
        )
        connection.exec_driver_sql(
            "INSERT INTO clips (sha256, subject, source, suffix, mirrored, synthetic, recorded_at) "
            "VALUES (:sha256, 'anna', 's', '.mp4', 0, 1, 'now')",
            {"sha256": CLIP},
        )
    yield catalog
    catalog.engine.dispose()


@pytest.fixture
def keys(store, catalog):
    """The keys of a person with a clip, its frame table and a score, all intact."""
    frames, quarantine = layout.frames_key("anna", CLIP, "r"), layout.quarantine_key("anna", CLIP, "r-l")
    score = layout.score_key("0f", "anna")
    keys = [layout.raw_key("anna", CLIP, ".mp4"), frames, quarantine, score]
    for key in keys:
        store.put(key, key.encode())
    table = FrameTable(
        clip=CLIP, recipe="r-l", key=frames, num_frames=1, num_faces=1, quarantine_key=quarantine, quarantined={}
    )
    catalog.add_frame_table(table)
    catalog.add_score(ScoredSubject(model_digest="0f", subject="anna", key=score, summary={}))
    return keys


def found(report):
    return {(defect.problem, defect.item) for defect in report.defects}


def test_an_intact_store_has_no_defect_and_its_digests_enter_the_catalog_once(store, catalog, keys):
    first, again = fsck(store, catalog), fsck(store, catalog)
    assert (first.objects, first.verified, first.recorded, first.adopted, first.defects) == (4, 4, 4, 0, ())
    assert (again.objects, again.verified, again.recorded, again.defects) == (4, 4, 0, ())
    assert set(catalog.objects()) == set(keys)


def test_changed_missing_orphaned_and_unknown_objects_are_found(store, catalog, keys):
    raw, frames, _, score = keys
    fsck(store, catalog)
    (store.folder / raw).write_bytes(b"flipped")
    (store.folder / score).unlink()
    orphan = layout.raw_key("anna", "cd" * 32, ".mp4")
    store.put(orphan, b"1")
    (store.folder / "subjects" / "anna" / "foreign").write_bytes(b"1")
    assert found(fsck(store, catalog)) == {
        (Problem.CHANGED, raw),
        (Problem.MISSING, score),
        (Problem.ORPHAN, orphan),
        (Problem.UNKNOWN, "subjects/anna/foreign"),
    }
    assert (Problem.CHANGED, frames) not in found(fsck(store, catalog, adopt=True))


def test_bytes_that_were_changed_together_with_their_digest_are_found_by_the_catalog(store, catalog, keys):
    fsck(store, catalog)
    store.erase(keys[1])
    store.put(keys[1], b"another table")
    assert store.get(keys[1]) == b"another table"
    assert found(fsck(store, catalog)) == {(Problem.CHANGED, keys[1])}


def test_a_clip_without_a_frame_table_is_found(store, catalog):
    assert (Problem.NO_FRAMES, CLIP) in found(fsck(store, catalog))


def test_objects_of_an_earlier_version_are_adopted_by_the_first_check_only(store, catalog, keys):
    for path in (store.folder / ".digests").rglob("*"):
        if path.is_file():
            path.unlink()
    first = fsck(store, catalog)
    assert (first.verified, first.adopted, first.defects) == (0, 4, ())
    assert {row.adopted for row in catalog.objects().values()} == {True}
    (store.folder / keys[0]).write_bytes(b"flipped")
    assert found(fsck(store, catalog)) == {(Problem.CHANGED, keys[0])}


def test_an_erased_person_leaves_no_digest_in_the_catalog(store, catalog, keys):
    fsck(store, catalog)
    catalog.delete_rows_of({"anna"})
    assert catalog.objects() == {}
    assert tombstone("anna") not in json.dumps(sorted(catalog.objects()))


def test_the_command_prints_a_table_and_ends_with_exit_code_1_if_something_is_wrong(store, catalog, keys, monkeypatch):
    from flows.cli import operations

    class Settings:
        pass

    class Fake:
        def __init__(self, _):
            self.store, self.catalog = store, catalog

    monkeypatch.setattr(operations, "connect_stored", lambda _: Settings())
    monkeypatch.setattr("flows.workspace.Workspace", Fake)
    whole = CliRunner().invoke(operations.app, ["fsck", "--json"])
    assert (whole.exit_code, json.loads(whole.stdout)["defects"]) == (0, [])
    (store.folder / keys[0]).write_bytes(b"flipped")
    damaged = CliRunner().invoke(operations.app, ["fsck"])
    assert damaged.exit_code == 1
    assert f"changed  {keys[0]}" in damaged.stdout
