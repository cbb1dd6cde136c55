"""The looks at held-out people: each evaluation of a model on them is counted, since the best of many is partly luck."""

from collections.abc import Iterable
from hashlib import sha256

from flows.workspace import Workspace
from vitau.catalog.evidence import Look
from vitau.data import snapshot as snapshots
from vitau.errors import SnapshotError, StoreError
from vitau.schema import Protocol, Split


def note_look(workspace: Workspace, *, snapshot: str, protocol: Protocol, model: str, digest: str, purpose: str) -> None:
    """Note that a model was evaluated on the held-out people of a snapshot; the same evaluation is noted once.

    Args:
        workspace: the catalog.
        snapshot: its digest.
        protocol: which of its people were held out.
        model: name of the model or the recipe.
        digest: of the model, or of what was trained.
        purpose: what the numbers were for.
    """
    key = sha256(f"{digest} {snapshot} {protocol}".encode()).hexdigest()
    look = Look(key=key, snapshot=snapshot, protocol=str(protocol), model=model, purpose=purpose)
    workspace.catalog.add_look(look)


def count_looks(workspace: Workspace, snapshot: str, protocol: Protocol) -> int:
    """Count the looks at the held-out people of a snapshot, or at any of them, in this snapshot or in another one.

    A snapshot that cannot be read counts: its people are unknown.
    """
    people = people_looked_at(workspace, snapshot, {protocol})
    by_snapshot: dict[str, set[Protocol]] = {}
    looks = workspace.catalog.looks()
    for look in looks:
        by_snapshot.setdefault(look.snapshot, set()).add(Protocol(look.protocol))
    same = {
        (other, own)
        for other, protocols in by_snapshot.items()
        for own in protocols
        if other == snapshot or not (found := people_looked_at(workspace, other, {own})) or people & found
    }
    return sum((look.snapshot, Protocol(look.protocol)) in same for look in looks)


def people_looked_at(workspace: Workspace, snapshot: str, protocols: Iterable[Protocol]) -> set[str]:
    """Return the people of a snapshot that protocols hold out: its test people, or everybody; none if it cannot be read."""
    try:
        rows = snapshots.load(workspace.store, snapshot).select(["subject", "split"]).to_pydict()
    except (SnapshotError, StoreError):
        return set()
    only_test = set(protocols) <= {Protocol.SUBJECTS}
    pairs = zip(rows["subject"], rows["split"], strict=True)
    return {name for name, split in pairs if split == Split.TEST or not only_test}


def looks_sentence(num_looks: int) -> str:
    """Return the sentence about looks for cards and reports."""
    times = "once" if num_looks == 1 else f"{num_looks} times"
    return f"These people were looked at {times}: a look is one model that was evaluated on them."
