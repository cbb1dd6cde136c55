"""Snapshots: frozen versions of the data set.

The rows are canonical and named by their digest. They are written once and verified whenever they are read. An erasure replaces
the manifest by one without the person's rows, which is named by the digest of the rows that remain.
"""

import json
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vitau.data.layout import redacted_snapshot_key, snapshot_key, snapshot_prefix
from vitau.data.parquet import read_table, write_table
from vitau.errors import SnapshotError
from vitau.schema import AUS, KNOWN_COHORTS, SNAPSHOT_COLUMNS, Snapshot, Split, tombstone
from vitau.store import Store

SYNTHETIC_SOURCE: Final = "synthetic"
_ERASED: Final = b"vitau.erased"
_HASHED_AT_ONCE: Final = 1 << 16
ROW_KEY: Final = ("subject", "clip", "frame_index")
_ARROW_TYPES: Final = {"string": pa.string(), "int32": pa.int32(), "bool": pa.bool_()}


def snapshot_schema() -> pa.Schema:
    """Return the Arrow schema of ``SNAPSHOT_COLUMNS``."""
    fields = [pa.field(name, _ARROW_TYPES[column.type], column.nullable) for name, column in SNAPSHOT_COLUMNS.items()]
    return pa.schema(fields)


def canonical(rows: pa.Table) -> pa.Table:
    """Return rows in the order and with the types in which they are hashed.

    Raises:
        SnapshotError: a column is missing or has another type; a value is missing; a frame occurs twice; or the frames of
            one person disagree about the cohort, the split or the labels.
    """
    missing = [name for name in SNAPSHOT_COLUMNS if name not in rows.column_names]
    if missing:
        raise SnapshotError(f"the rows of a snapshot have no column {', '.join(missing)}; see SNAPSHOT_COLUMNS in vitau.schema")
    if not rows.num_rows:
        raise SnapshotError("a snapshot needs at least one usable frame of a labeled person, there is none")
    try:
        optional = pa.schema(
            [field.with_nullable(True) for field in snapshot_schema()]
        )  # empty values are reported by column below
        table = rows.select(list(SNAPSHOT_COLUMNS)).cast(optional).combine_chunks()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError) as error:
        raise SnapshotError(f"the rows of a snapshot do not fit SNAPSHOT_COLUMNS of vitau.schema: {error}") from error
    for name, column in SNAPSHOT_COLUMNS.items():
        if not column.nullable and table[name].null_count:
            raise SnapshotError(f"column {name} of a snapshot must not be empty, {table[name].null_count} rows are")
    table = table.cast(snapshot_schema()).sort_by([(name, "ascending") for name in ROW_KEY])
    _check_people(table)
    return table


def digest_of(rows: pa.Table) -> str:
    """Compute the SHA-256 of canonical rows over one JSON line per row, independent of the Parquet encoding."""
    hasher = sha256(json.dumps(list(SNAPSHOT_COLUMNS)).encode())
    for start in range(0, rows.num_rows, _HASHED_AT_ONCE):
        part = rows.slice(start, _HASHED_AT_ONCE)
        values = [_json_values(part[name].combine_chunks()) for name in SNAPSHOT_COLUMNS]
        lines = pc.binary_join_element_wise("\n[", pc.binary_join_element_wise(*values, ","), "]", "")
        length = int(pc.sum(pc.binary_length(lines)).as_py())
        hasher.update(memoryview(lines.buffers()[2])[:length])  # the texts of an array lie one behind the other
    return hasher.hexdigest()


def _json_values(column: pa.Array) -> pa.Array:
    """Return each value as JSON; each distinct one is encoded once."""
    encoded = column.dictionary_encode("encode")
    texts = [json.dumps(value, ensure_ascii=True) for value in encoded.dictionary.to_pylist()]
    return pa.array(texts, pa.string()).take(encoded.indices)


def freeze(rows: pa.Table, store: Store, ledger_offset: int, ledger_digest: str | None = None) -> Snapshot:
    """Write the rows of a snapshot under their digest; writing the same rows again is idempotent.

    Args:
        rows: table with the columns of ``SNAPSHOT_COLUMNS``, in any order.
        store: where ``snapshots/<digest>/manifest.parquet`` goes.
        ledger_offset: the last row of the label ledger behind the labels; part of the manifest, not of the digest.
        ledger_digest: the digest of that row, which fixes the ledger up to there; beside the offset in the manifest.

    Raises:
        SnapshotError: the rows contradict each other or do not fit ``SNAPSHOT_COLUMNS``.
    """
    table = canonical(rows)
    digest = digest_of(table)
    key = snapshot_key(digest)
    ledger = {"vitau.ledger_offset": str(ledger_offset)} | ({"vitau.ledger_digest": ledger_digest} if ledger_digest else {})
    described = table.replace_schema_metadata(ledger)
    write_table(store, key, described, compression="zstd")
    return describe(load(store, digest), digest, store.location(key))


def load(store: Store, digest: str) -> pa.Table:
    """Read the canonical rows of a snapshot and verify their digest; the rows of erased people are missing.

    Raises:
        SnapshotError: the rows do not hash to ``digest``, or a redacted manifest not to the digest in its name.
        ObjectNotFoundError: there is no such snapshot.
    """
    key, expected = _manifest(store, digest)
    table = _read(store, key, digest)
    stored = table.schema.equals(snapshot_schema()) or not table.num_rows
    found = digest_of(table) if stored else None
    if found != expected:
        found = digest_of(canonical(table) if table.num_rows else table)
    if found != expected:
        raise SnapshotError(f"snapshot {digest} holds rows that hash to {found}: it was changed; restore it from a backup")
    return table


def splits_of(store: Store, digest: str, column: Literal["subject", "clip"], names: Collection[str]) -> set[Split]:
    """Return the splits in which a snapshot has rows of some people or clips; empty if it has none.

    Two columns are read, in a hundredth of the time of :func:`load`, so that many snapshots can be searched. The digest of the
    rows is not verified.

    Raises:
        SnapshotError: the manifest is not a Parquet file, or lacks a column.
        ObjectNotFoundError: there is no such snapshot.
    """
    key, _ = _manifest(store, digest)
    columns = (column, "split")
    rows = _read(store, key, digest, columns, repeated=columns)
    theirs = rows.filter(pc.is_in(rows[column], pa.array(sorted(names), pa.string())))
    return {Split(split) for split in pc.unique(theirs["split"]).to_pylist()}


def _read(
    store: Store, key: str, digest: str, columns: Sequence[str] | None = None, *, repeated: Sequence[str] = ()
) -> pa.Table:
    try:
        return read_table(store, key, columns, repeated=repeated)
    except pa.ArrowInvalid as error:
        reason = str(error).partition("\n")[0]  # a missing column is followed by all the others
        raise SnapshotError(f"snapshot {digest} is not a Parquet file any more ({reason}); restore it from a backup") from error


def without_people(rows: pa.Table, names: Collection[str]) -> pa.Table:
    """Return the rows of a loaded snapshot without those of some people."""
    return rows.filter(pc.invert(pc.is_in(rows["subject"], pa.array(sorted(names), pa.string()))))


def erased_people(rows: pa.Table) -> dict[str, str]:
    """Return the people whose rows an erasure removed from a loaded snapshot, tombstone → split."""
    found: dict[str, str] = json.loads((rows.schema.metadata or {}).get(_ERASED, b"{}"))
    return found


@dataclass(frozen=True, kw_only=True, slots=True)
class Redaction:
    """A manifest without erased people: its key, the digest of its rows, and the splits that the people had."""

    key: str
    rows_digest: str
    splits: frozenset[str]


def redact(store: Store, digest: str, names: Collection[str]) -> Redaction | None:
    """Replace the manifest of a snapshot by one without the rows of some people; ``None`` if it never had them.

    The redacted manifest is complete before an older one is deleted, so that an interrupted redaction can be repeated.

    Raises:
        SnapshotError: the manifest is damaged.
        ObjectNotFoundError: there is no such snapshot.
    """
    rows = load(store, digest)
    theirs = {
        tombstone(name): split
        for name, split in zip(rows["subject"].to_pylist(), rows["split"].to_pylist(), strict=True)
        if name in names
    }
    erased = erased_people(rows) | theirs
    splits = frozenset(split for name, split in erased.items() if name in {tombstone(name) for name in names})
    if not splits:
        return None
    kept = without_people(rows, names)
    rows_digest = digest_of(kept)
    key = redacted_snapshot_key(digest, rows_digest)
    metadata = {**(rows.schema.metadata or {}), _ERASED: json.dumps(erased, sort_keys=True).encode()}
    write_table(store, key, kept.replace_schema_metadata(metadata), compression="zstd")
    for older in [older for older in store.keys(snapshot_prefix(digest)) if older != key]:
        store.erase(older)
    return Redaction(key=key, rows_digest=rows_digest, splits=splits)


def _manifest(store: Store, digest: str) -> tuple[str, str]:
    """Return the key of the manifest of a snapshot, and the digest that its rows must have."""
    prefix = redacted_snapshot_key(digest, "").removesuffix(".parquet")
    redacted = list(store.keys(prefix))
    if not redacted:
        return snapshot_key(digest), digest
    # an interrupted redaction leaves two: the one with more erased people has fewer rows
    key = redacted[0] if len(redacted) == 1 else min(redacted, key=lambda key: read_table(store, key, ["subject"]).num_rows)
    return key, key.removeprefix(prefix).removesuffix(".parquet")


def describe(rows: pa.Table, digest: str, uri: str) -> Snapshot:
    """Summarize a loaded snapshot; it is synthetic if any of its people is drawn."""
    people = rows.group_by(["subject", "split"]).aggregate([])
    counts = Counter(Split(split) for split in people["split"].to_pylist())
    metadata = rows.schema.metadata or {}
    return Snapshot(
        digest=digest,
        uri=uri,
        ledger_offset=int(metadata.get(b"vitau.ledger_offset", b"0")),
        ledger_digest=metadata[b"vitau.ledger_digest"].decode() if b"vitau.ledger_digest" in metadata else None,
        num_frames=rows.num_rows,
        subjects={split: counts[split] for split in Split},
        synthetic=SYNTHETIC_SOURCE in pc.unique(rows["source"]).to_pylist(),
    )


def _check_people(table: pa.Table) -> None:
    """Check sorted rows: each frame is there once, and the facts about a person are the same in all rows."""
    same_frame_N = ~_changes(table, ROW_KEY)
    other_facts_N = _changes(table, ("cohort", "split", "side", *AUS)) & ~_changes(table, ("subject",))
    problems = np.flatnonzero(same_frame_N | other_facts_N)
    if len(problems):
        row = {name: table[name][int(problems[0]) + 1].as_py() for name in ROW_KEY}
        if same_frame_N[problems[0]]:
            raise SnapshotError(f"frame {row['frame_index']} of clip {row['clip']} is in the snapshot twice; keep one")
        raise SnapshotError(f"person {row['subject']} has two cohorts, splits or answers; a person has one of each")
    cohorts = set(pc.unique(table["cohort"]).to_pylist()) - set(KNOWN_COHORTS)
    if cohorts:
        raise SnapshotError(f"cohort {min(map(str, cohorts))} is not one of {', '.join(KNOWN_COHORTS)}: leave these people out")
    unknown = set(pc.unique(table["split"]).to_pylist()) - set(Split)
    if unknown:
        raise SnapshotError(f"split {min(map(str, unknown))} is not one of {', '.join(Split)}")


def _changes(table: pa.Table, columns: Iterable[str]) -> NDArray[np.bool_]:
    """Return for each row but the first whether any of these columns has another value than in the row before."""
    changed = np.zeros(table.num_rows - 1, dtype=bool)
    for name in columns:
        code_N = table[name].combine_chunks().dictionary_encode("encode").indices.to_numpy()
        changed |= code_N[1:] != code_N[:-1]
    return changed
