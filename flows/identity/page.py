"""The page of pairs of faces, for a person to decide whether two are one. It shows people: it stays on this machine."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from flows.identity.lookalikes import Lookalikes, clip_faces
from flows.workspace import Workspace
from vitau.pages import data_uri, page_environment
from vitau.store.atomic import write_atomic


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two faces side by side: their names, pictures (JPEG) and distance, the conclusion, and what to copy or to do."""

    names: tuple[str, str]
    crops: tuple[bytes, bytes]
    distance: float
    conclusion: str
    remedy: str
    is_command: bool
    several: bool = True


def merge_command(one: str, other: str) -> str:
    """Return the command that merges two people."""
    return f'python -m flows labels merge {one} {other} --why "same face"'


def lookalike_pairs(workspace: Workspace, found: Sequence[Lookalikes], floor: float) -> list[Pair]:
    """Return the faces of near people with the command that merges them.

    The person whose split would be kept comes first: one who has a split before one who has none.
    """
    splits = workspace.catalog.splits()
    cohorts = {subject.pseudonym: subject.cohort for subject in workspace.catalog.subjects()}
    pairs = []
    for pair in found:
        sides = zip((pair.one, pair.other), pair.frames_keys, strict=True)
        (one, first), (other, second) = sorted(sides, key=lambda side: (side[0] not in splits, side[0]))
        about = [f"{cohorts[name]}, {splits.get(name, 'no split')}" for name in (one, other)]
        refused = "gate 3 refuses a snapshot with both" if pair.distance < floor else "perhaps one person"
        pairs.append(
            Pair(
                names=(f"{one} ({about[0]})", f"{other} ({about[1]})"),
                crops=(clip_faces(workspace.store, first).crops[0], clip_faces(workspace.store, second).crops[0]),
                distance=pair.distance,
                conclusion=refused,
                remedy=merge_command(one, other),
                is_command=True,
                several=pair.several,
            )
        )
    return pairs


def write_faces_page(path: Path, pairs: Sequence[Pair], *, title: str, note: str) -> None:
    """Write the page atomically, readable by its owner only."""
    environment = page_environment(Path(__file__).parent)
    environment.filters["data_uri"] = data_uri
    write_atomic(path, environment.get_template("faces.html.j2").render(pairs=pairs, title=title, note=note, synthetic=False))
