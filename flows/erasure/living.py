"""The rows of a snapshot without erased people, for every reader of snapshots."""

from dataclasses import dataclass

import pyarrow as pa
from prefect.logging import get_logger

from flows.workspace import Workspace
from vitau.data import snapshot as snapshots
from vitau.schema import canonical_name, is_erased


@dataclass(frozen=True, kw_only=True, eq=False)
class LivingRows:
    """The rows of a snapshot without erased people, the number of these people, and their names that a manifest still has.

    ``names`` is empty unless an erasure is unfinished, or a manifest was restored from a backup.
    """

    rows: pa.Table
    num_erased: int
    names: frozenset[str] = frozenset()


def load_living(workspace: Workspace, snapshot: str) -> LivingRows:
    """Load a snapshot without the people who were erased, or whose erasure has begun; their number is logged.

    Raises:
        SnapshotError: the manifest is damaged.
        ObjectNotFoundError: there is no such snapshot.
    """
    found = snapshots.load(workspace.store, snapshot)
    names = erased_names(workspace, found)
    redacted = snapshots.erased_people(found)
    num_erased = len(redacted) + len(names)
    if num_erased:
        get_logger(__name__).info("%d erased people of snapshot %s are left out", num_erased, snapshot[:12])
    rows = snapshots.without_people(found, names) if names else found
    return LivingRows(rows=rows, num_erased=num_erased, names=frozenset(names))


def erased_names(workspace: Workspace, rows: pa.Table) -> set[str]:
    """Return the people of some rows who were erased, whose erasure has begun, or who withdrew their consent."""
    gone = workspace.catalog.erased_names() | workspace.catalog.withdrawn_subjects()
    merged = workspace.catalog.merged_names()
    return {
        name
        for name in set(rows["subject"].to_pylist())
        if is_erased(name, gone) or is_erased(canonical_name(name, merged), gone)
    }
