"""A snapshot is read as it was frozen, or an error is raised."""

import io
import json
import tracemalloc
from hashlib import sha256
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vitau.data import snapshot
from vitau.data.layout import snapshot_key
from vitau.data.parquet import write_table
from vitau.data.snapshot import digest_of, freeze, load, snapshot_schema, splits_of
from vitau.errors import ObjectNotFoundError, SnapshotError
from vitau.schema import AUS, SNAPSHOT_COLUMNS, Split
from vitau.store import open_store


def _rows(num_people: int = 4, frames: int = 2) -> list[dict[str, object]]:
    return [
        {
            "subject": f"s{person}",
            "clip": f"{person:064x}",
            "frame_index": frame,
            "frames_key": f"subjects/s{person}/clips/{person:064x}/frames-0.parquet",
            "source": "synthetic",
            "cohort": "palsy" if person % 2 else "control",
            "split": ("train", "val", "test", "train")[person % 4],
            "side": "left" if person % 2 else None,
            **{au.value: bool(person % 2) if au != AUS[0] else None for au in AUS},
        }
        for person in range(num_people)
        for frame in range(frames)
    ]


def _table(rows: list[dict[str, object]]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=snapshot_schema())


def test_a_snapshot_takes_no_person_of_unknown_status(tmp_path: Path) -> None:
    rows = [row | {"cohort": "unknown"} if row["subject"] == "s1" else row for row in _rows()]
    with pytest.raises(SnapshotError, match="cohort unknown is not one of palsy, control: leave these people out"):
        freeze(_table(rows), open_store(str(tmp_path)), 0)


def test_a_snapshot_is_read_as_it_was_frozen(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    frozen = freeze(_table(_rows()), store, 17)
    assert load(store, frozen.digest).to_pylist() == _rows()
    assert (frozen.ledger_offset, frozen.num_frames, frozen.synthetic) == (17, 8, True)
    assert frozen.subjects == {Split.TRAIN: 2, Split.VAL: 1, Split.TEST: 1}
    assert frozen.uri == store.location(f"snapshots/{frozen.digest}/manifest.parquet")


def test_the_digest_depends_neither_on_the_order_nor_on_the_encoding(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    rows = _rows()
    first = freeze(_table(rows), store, 1)
    other = pa.Table.from_pylist(rows[::-1]).select(sorted(rows[0]))  # int64, another order of columns and rows
    assert freeze(other, store, 1).digest == first.digest
    assert len(list(store.keys("snapshots/"))) == 1


def test_the_digest_of_known_rows_never_changes() -> None:
    assert digest_of(_table(_rows(2, 1))) == "31595dbae337f078f9213f0e8afdd5e2f7ff1454405c16cc91e647f2c1a52df7"


def test_the_digest_is_that_of_a_json_line_per_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "_HASHED_AT_ONCE", 3)
    rows = [row | {"source": text} for row, text in zip(_rows(), ("é", '"', "\n", "\\", "", "\x7f", "a,b", "😀"), strict=True)]
    lines = [list(SNAPSHOT_COLUMNS), *([row[name] for name in SNAPSHOT_COLUMNS] for row in rows)]
    text = json.dumps(lines[0]) + "".join("\n" + json.dumps(line, separators=(",", ":")) for line in lines[1:])
    assert digest_of(_table(rows)) == sha256(text.encode()).hexdigest()


def test_opening_a_long_snapshot_makes_no_python_object_per_row(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    digest = freeze(_table(_rows(num_people=40, frames=500)), store, 1).digest
    tracemalloc.start()
    assert load(store, digest).num_rows == 20_000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak / 20_000 < 120  # bytes; a dictionary per row would be 1 500


@pytest.mark.parametrize("column", ["split", "AU9", "side", "frame_index", "source"])
def test_every_column_counts_in_the_digest(column: str) -> None:
    rows = _rows()
    other = {"split": "val", "AU9": None, "side": "both", "frame_index": 9, "source": "yfp"}[column]
    assert digest_of(_table([{**row, column: other} for row in rows])) != digest_of(_table(rows))


def test_a_changed_manifest_is_an_error(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    digest = freeze(_table(_rows()), store, 1).digest
    rows = _rows()
    for row in rows[:2]:
        row["split"] = "test"
    sink = io.BytesIO()
    pq.write_table(_table(rows), sink)
    store.erase(snapshot_key(digest))
    store.put(snapshot_key(digest), sink.getvalue())
    with pytest.raises(SnapshotError, match="it was changed; restore it from a backup"):
        load(store, digest)


def test_a_snapshot_that_was_never_frozen_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(ObjectNotFoundError):
        load(open_store(str(tmp_path)), "0" * 64)


def test_the_splits_of_people_and_clips_are_found_without_the_other_columns(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    digest = freeze(_table(_rows()), store, 0).digest
    assert splits_of(store, digest, "subject", {"s0", "s2", "nobody"}) == {Split.TRAIN, Split.TEST}
    assert splits_of(store, digest, "clip", {f"{1:064x}"}) == {Split.VAL}
    assert splits_of(store, digest, "subject", {"nobody"}) == set()
    store.erase(snapshot_key(digest))
    write_table(store, snapshot_key(digest), _table(_rows()).drop_columns("clip"))
    assert splits_of(store, digest, "subject", {"s1"}) == {Split.VAL}
    with pytest.raises(
        SnapshotError, match=rf"^snapshot {digest} is not a .* \(No match for .*\(clip\).*; restore it from a backup$"
    ):
        splits_of(store, digest, "clip", {"c"})


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match="have no column split, AU4; see SNAPSHOT_COLUMNS"):
        freeze(_table(_rows()).drop_columns(["split", "AU4"]), open_store(str(tmp_path)), 1)


def test_a_missing_value_is_named(tmp_path: Path) -> None:
    rows = [{**row, "cohort": None} for row in _rows()]
    with pytest.raises(SnapshotError, match="column cohort of a snapshot must not be empty, 8 rows are"):
        freeze(pa.Table.from_pylist(rows), open_store(str(tmp_path)), 1)


def test_a_duplicate_frame_is_named(tmp_path: Path) -> None:
    rows = _rows()
    with pytest.raises(SnapshotError, match=f"frame 0 of clip {0:064x} is in the snapshot twice; keep one"):
        freeze(_table([*rows, rows[0]]), open_store(str(tmp_path)), 1)


@pytest.mark.parametrize(("column", "value"), [("split", "val"), ("AU2", True), ("cohort", "palsy")])
def test_a_person_with_two_answers_is_named(tmp_path: Path, column: str, value: object) -> None:
    rows = _rows()
    rows[0][column] = value
    with pytest.raises(SnapshotError, match="person s0 has two cohorts, splits or answers"):
        freeze(_table(rows), open_store(str(tmp_path)), 1)


def test_an_unknown_split_is_named(tmp_path: Path) -> None:
    rows = [{**row, "split": "spare"} for row in _rows()]
    with pytest.raises(SnapshotError, match="split spare is not one of train, val, test"):
        freeze(_table(rows), open_store(str(tmp_path)), 1)


def test_a_snapshot_needs_a_row(tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match="needs at least one usable frame of a labeled person"):
        freeze(_table([]), open_store(str(tmp_path)), 1)
