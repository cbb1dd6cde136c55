"""Distances between clips by their faces, and the pairs of clips whose faces contradict the names of their people.

The distance of two clips is the lower quartile over all pairs of their faces. A single pair depends on two pictures. The
smallest distance falls with the number of faces, for strangers too. The median grows with every turned or grimacing face.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vitau.media.faces import SAME_PERSON

# C clip, D dimension of an embedding, K and L face

QUARTILE: Final = 0.25
DIFFERENT_PEOPLE: Final = 0.6
"""dlib's limit; faces farther apart are rarely of one person."""
SCREEN: Final = 0.1
"""Clips whose single faces are this much above a limit are compared by several faces too."""

_BLOCK: Final = 512  # rows of the distance matrix in memory

Array = NDArray[np.float32]


class Proposal(StrEnum):
    """The answer of two clips' faces: one person or two."""

    MERGE = "one person"
    LOOK = "perhaps one person"
    SPLIT = "two people"


@dataclass(frozen=True, kw_only=True, slots=True)
class Contradiction:
    """Two clips, by index, whose faces contradict their names: their distance and what it proposes."""

    one: int
    other: int
    distance: float
    proposal: Proposal


@dataclass(frozen=True, kw_only=True, slots=True)
class NearClips:
    """Two clips of different people, by index, ``one`` before ``other``, and the distance of their faces.

    ``several`` means that several faces of each were compared.
    """

    one: int
    other: int
    distance: float
    several: bool = False


def clip_distance(one_KD: Array, other_LD: Array) -> float:
    """Return the lower quartile of the Euclidean distances between the faces of two clips."""
    return float(np.quantile(np.linalg.norm(one_KD[:, None] - other_LD[None], axis=-1), QUARTILE))


def contradictions(names: Sequence[str], faces: Sequence[Array]) -> list[Contradiction]:
    """Return the pairs of clips whose faces contradict their names, the clearest first.

    Args:
        names: of the person of each of C clips.
        faces: C arrays of embeddings (K, 128); clips without a face are left out.
    """
    found = []
    for one, other in combinations(range(len(names)), 2):
        if not len(faces[one]) or not len(faces[other]):
            continue
        distance = clip_distance(faces[one], faces[other])
        if names[one] == names[other] and distance >= DIFFERENT_PEOPLE:
            found.append(Contradiction(one=one, other=other, distance=distance, proposal=Proposal.SPLIT))
        elif names[one] != names[other] and distance < DIFFERENT_PEOPLE:
            proposal = Proposal.MERGE if distance < SAME_PERSON else Proposal.LOOK
            found.append(Contradiction(one=one, other=other, distance=distance, proposal=proposal))
    return sorted(found, key=lambda pair: -abs(pair.distance - (SAME_PERSON + DIFFERENT_PEOPLE) / 2))


def near_clips(embedding_CD: Array, owners: Sequence[str], below: float) -> tuple[list[NearClips], dict[str, float]]:
    """Find the clips of different people whose single faces are near each other.

    Args:
        embedding_CD: one face of each clip.
        owners: the person of each clip.
        below: the limit.

    Returns:
        The pairs of clips below the limit, nearest first; and, for each person with another person in the data, the smallest
        distance to another person's clip that is not below it.
    """
    names, owner_C = np.unique(np.asarray(owners, dtype=str), return_inverse=True)
    square_C = (embedding_CD.astype(np.float64) ** 2).sum(1)
    beyond_S = np.full(len(names), np.inf)
    pairs = []
    for start in range(0, len(owners), _BLOCK):
        rows = slice(start, start + _BLOCK)
        squared_RC = square_C[rows, None] + square_C - 2 * embedding_CD[rows].astype(np.float64) @ embedding_CD.T
        distance_RC = np.sqrt(np.maximum(squared_RC, 0))
        distance_RC[owner_C[rows, None] == owner_C] = np.inf
        near_RC = distance_RC < below
        np.minimum.at(beyond_S, owner_C[rows], np.where(near_RC, np.inf, distance_RC).min(1))
        for row, column in zip(*np.nonzero(near_RC), strict=True):
            if start + row < column:
                found = NearClips(one=int(start + row), other=int(column), distance=float(distance_RC[row, column]))
                pairs.append(found)
    beyond = {str(name): float(value) for name, value in zip(names, beyond_S, strict=True) if np.isfinite(value)}
    return sorted(pairs, key=lambda pair: pair.distance), beyond


def refine(pairs: Sequence[NearClips], faces: Callable[[int], Array], max_clips: int) -> list[NearClips]:
    """Compare the nearest pairs of clips again, by several faces, until ``max_clips`` clips were read.

    The smaller distance counts, of the single faces or of several, because a person in two splits is worse than a second look.
    The other pairs keep their value. The result is sorted, nearest first.
    """
    read: dict[int, Array] = {}
    refined = []
    for pair in pairs:
        missing = {pair.one, pair.other} - read.keys()
        if len(read) + len(missing) > max_clips:
            refined.append(pair)
            continue
        read |= {clip: faces(clip) for clip in sorted(missing)}
        distance = min(pair.distance, clip_distance(read[pair.one], read[pair.other]))
        refined.append(NearClips(one=pair.one, other=pair.other, distance=distance, several=True))
    return sorted(refined, key=lambda pair: pair.distance)
