"""The manifests of snapshots under new names. A snapshot keeps its own name, by which models and signed records refer to it."""

import io
import json

import pyarrow as pa
import pyarrow.parquet as pq

from flows.rekeying.change import Change
from flows.rekeying.objects import replace_object
from flows.workspace import Workspace
from vitau.catalog.rekeying.renaming import Renaming
from vitau.data import layout
from vitau.data import snapshot as snapshots
from vitau.data.parquet import read_table
from vitau.errors import ObjectNotFoundError, SnapshotError, StoreError
from vitau.schema import Snapshot


def damaged_snapshots(workspace: Workspace) -> list[str]:
    """Return the digests of the snapshots whose manifests cannot be read; one without a manifest has nothing to rename."""
    damaged = []
    for frozen in workspace.catalog.snapshots():
        try:
            snapshots.load(workspace.store, frozen.digest)
        except ObjectNotFoundError:
            continue
        except (SnapshotError, StoreError):
            damaged.append(frozen.digest)
    return damaged


def replace_manifests(change: Change) -> int:
    """Replace every manifest by one with the new names; return how many. The new one is whole before the old one is deleted."""
    replaced = 0
    for frozen in change.workspace.catalog.snapshots():
        replaced += _replace(change, frozen)
        change.progress()
    return replaced


def rows_digests(workspace: Workspace) -> dict[str, str]:
    """Return the digest of the rows that every snapshot has now."""
    found = {}
    for frozen in workspace.catalog.snapshots():
        try:
            rows = snapshots.load(workspace.store, frozen.digest)
        except (SnapshotError, StoreError):
            continue
        found[frozen.digest] = snapshots.digest_of(rows)
    return found


def _replace(change: Change, frozen: Snapshot) -> bool:
    store = change.workspace.store
    try:
        rows = snapshots.load(store, frozen.digest)
    except ObjectNotFoundError:
        return False
    renamed = _renamed(change.renaming, rows, frozen.ledger_digest)
    key = layout.redacted_snapshot_key(frozen.digest, snapshots.digest_of(renamed))
    older = [name for name in store.keys(layout.snapshot_prefix(frozen.digest)) if name != key]
    if older and store.digest(key) is None:  # its writer was killed before it left the digest
        store.erase(key)
    sink = io.BytesIO()
    pq.write_table(renamed, sink, compression="zstd")
    if not store.exists(key):
        store.put(key, sink.getvalue())
    elif read_table(store, key).schema.metadata != renamed.schema.metadata:
        replace_object(change, key, sink.getvalue())  # without rows, which all were erased: the tombstones have new names
    for name in older:
        store.purge(name)
    return bool(older)


def _renamed(renaming: Renaming, rows: pa.Table, ledger_digest: str | None) -> pa.Table:
    """Return the rows of a snapshot with the new names, in canonical order, and the new head of the ledger."""
    metadata = {name: renaming.data(value) for name, value in (rows.schema.metadata or {}).items()}
    if ledger_digest is not None:
        metadata[b"vitau.ledger_digest"] = ledger_digest.encode()
    for name in ("subject", "frames_key"):
        position = rows.schema.get_field_index(name)
        values = pa.array(map(renaming.text, rows[name].to_pylist()), pa.string())
        rows = rows.set_column(position, rows.schema.field(position), values)
    if b"vitau.erased" in metadata:
        metadata[b"vitau.erased"] = json.dumps(json.loads(metadata[b"vitau.erased"]), sort_keys=True).encode()
    return (snapshots.canonical(rows) if rows.num_rows else rows).replace_schema_metadata(metadata)
