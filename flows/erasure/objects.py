"""The objects of a person in the store: deleted, redacted, or searched for."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Final

import pyarrow as pa
from prefect.logging import get_logger

from flows.erasure.traces import Traces
from flows.workspace import Workspace
from vitau.data import layout
from vitau.data import snapshot as snapshots
from vitau.data.parquet import read_table
from vitau.errors import SnapshotError, StoreError
from vitau.schema import Protocol, Split, tombstone
from vitau.store import tombstone_key

DERIVED: Final = ("reports/", "monitoring/", "validation/", "ingested/")
"""Pages and notes that later runs write anew; those with a trace of the person are deleted."""


@dataclass(frozen=True, kw_only=True)
class Uses:
    """The snapshots with a person, the models, ``name/version``, that learned from the person, and the damaged snapshots."""

    snapshots: tuple[str, ...]
    trained: tuple[str, ...]
    damaged: tuple[str, ...]


def find_uses(workspace: Workspace, names: Collection[str]) -> Uses:
    """Find the uses of a person; a damaged snapshot is assumed to have taught every model that was trained on it.

    A model that was only tested on the person learned nothing from them, unless it was trained on everybody.
    """
    catalog, marks = workspace.catalog, {tombstone(name) for name in names}
    splits: dict[str, set[str]] = {}
    damaged: list[str] = []
    for frozen in catalog.snapshots():
        try:
            rows = snapshots.load(workspace.store, frozen.digest)
        except (SnapshotError, StoreError):
            damaged.append(frozen.digest)
            continue
        pairs = zip(rows["subject"].to_pylist(), rows["split"].to_pylist(), strict=True)
        theirs = {split for name, split in pairs if name in names}
        theirs |= {split for mark, split in snapshots.erased_people(rows).items() if mark in marks}
        if theirs:
            splits[frozen.digest] = theirs
    trained = [
        f"{training.model}/{training.version}"
        for digest in (*splits, *damaged)
        for training in catalog.trainings(digest)
        if splits.get(digest) != {Split.TEST} or training.protocol is Protocol.LOPO
    ]
    return Uses(snapshots=tuple(splits), trained=tuple(trained), damaged=tuple(damaged))


def redact_manifests(workspace: Workspace, names: Collection[str], uses: Uses) -> None:
    """Redact the manifests with a person, and delete those that nothing can read and that may have the person.

    No reader accepts a damaged manifest, so that its deletion loses nothing but the person.
    """
    for digest in uses.snapshots:
        snapshots.redact(workspace.store, digest, names)
    for digest in uses.damaged:
        for key in list(workspace.store.keys(layout.snapshot_prefix(digest))):
            if may_name(workspace, key, names):
                workspace.store.erase(key)
                get_logger(__name__).warning("the damaged manifest of snapshot %s was deleted", digest[:12])


def may_name(workspace: Workspace, key: str, names: Collection[str]) -> bool:
    """Return whether a damaged manifest has one of these people, or cannot be read at all."""
    try:
        subjects = read_table(workspace.store, key, ["subject"])["subject"].to_pylist()
    except (pa.ArrowException, StoreError, KeyError, OSError):
        return True
    return not set(names).isdisjoint(subjects)


def stored_clips(workspace: Workspace, names: Collection[str]) -> dict[str, str]:
    """Return the clips of a person in the store, digest → suffix; an unfinished ingest may have left one."""
    keys = (key for name in sorted(names) for key in workspace.store.keys(layout.subject_prefix(name)))
    return {found[1]: found[2] for key in keys if (found := layout.parse_raw_key(key)) is not None}


def bury(workspace: Workspace, names: Collection[str]) -> None:
    """Write the tombstones, before anything is deleted: a writer that began earlier finds them after its write."""
    for name in names:
        workspace.store.put(tombstone_key(name), b"erased\n")


def erase_objects(workspace: Workspace, traces: Traces, uses: Uses, on_found: Callable[[int], None]) -> int:
    """Delete the person's objects, and the pages that name the person; return the number of objects.

    ``on_found`` is called with their number before the first is deleted.
    """
    store = workspace.store
    models = {found[0] for key in store.keys(layout.SCORES) if (found := layout.parse_score_key(key))}
    prefixes = [layout.subject_prefix(name) for name in sorted(traces.names)]
    prefixes += [layout.score_prefix(model, name) for model in sorted(models) for name in sorted(traces.names)]
    prefixes += [layout.report_prefix(digest) for digest in (*uses.snapshots, *uses.damaged)]  # they may show the person
    prefixes += list(traces_in_store(workspace, traces, DERIVED))
    on_found(len({key for prefix in prefixes for key in store.keys(prefix)}))
    return sum(store.purge(prefix) for prefix in prefixes)


def traces_in_store(workspace: Workspace, traces: Traces, prefixes: Collection[str] = ("",)) -> Iterator[str]:
    """Yield the keys of the objects that name a person, whose content does, or that cannot be read.

    Nobody can say that damaged bytes are without the person. The recordings, frames and scores of other people are searched by
    their keys only.
    """
    for prefix in prefixes:
        for key in workspace.store.keys(prefix):
            if traces.in_text(key):
                yield key
            elif not key.startswith((layout.SUBJECTS, layout.SCORES)):
                try:
                    found = traces.in_bytes(workspace.store.get(key))
                except StoreError:  # damaged, or deleted meanwhile
                    found = workspace.store.exists(key)
                if found:
                    yield key
