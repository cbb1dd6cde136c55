"""New frames of a person who was answered about: do they look so different that the reader has to be asked again?

An answer is about the frames that were shown, and the ledger keeps which those were. When a person gets new clips, the key
frames are chosen anew out of all of them, and each is set beside the frames that a reader was shown. Until that reader answers
anew the old answer stands; where something looks different it is *stale*.

What a reader was shown of a person are the frames of every answer that stands and says the same as the last one: two subjects
who became one person and were answered alike need no third answer, those answered differently do.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from labeling.sampling.landmark_shapes import Array
from vitau.schema import AU, Comparison, LedgerRow, Side, Stage

MOST_DIFFERENT: Final = 4
"""Half of the frames that are shown."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Shown:
    """What somebody was shown of a person before the answer that stands; ``pages``: the frames of each answer that stands."""

    reader: str
    stage: Stage
    subject: str
    frames: frozenset[str]
    pages: tuple[frozenset[str], ...]

    @property
    def name(self) -> str:
        """A name for the frames, the same for everybody who was shown the same."""
        return _digest(self.frames)

    def lacks(self, clips: Iterable[str]) -> bool:
        """Whether no frame of one of these clips was shown; never where it is not known what was shown (an imported answer)."""
        return bool(self.frames) and bool(set(clips) - {clip_of(frame) for frame in self.frames})


@dataclass(frozen=True, kw_only=True, slots=True)
class Stale:
    """An answer that stands though newer frames look different: whose, about whom, and how different they look."""

    reader: str
    stage: Stage
    subject: str
    difference: float


def clip_of(frame: str) -> str:
    """The clip of a frame named ``<clip>:<index>``."""
    return frame.rpartition(":")[0]


def material_name(frame_tables: Iterable[str]) -> str:
    """A name for all that there is of a person, made of the names of their frame tables: new clips, a new name."""
    return _digest(frame_tables)


def difference(now_NM: Array, shown_KM: Array) -> float:
    """How different frames look from those that were shown: 0 is the same; in distances between the eyes.

    Each frame of ``now`` has a distance to the nearest frame shown, in how the face is moved
    (``labeling.sampling.landmark_shapes.from_rest``):
    light, camera and head count little, a task not seen before or a face that moves otherwise does. It is the mean of the
    ``MOST_DIFFERENT`` largest: a frame or two may be slips of the landmarks. docs/studies.md has its values in drawn people.

    Args:
        now_NM: the key frames of now; rows that are not finite are left out.
        shown_KM: the frames that were shown, at least one of them finite.

    Raises:
        ValueError: no frame was shown.
    """
    now_NM, shown_KM = (rows[np.isfinite(rows).all(axis=1)] for rows in (now_NM, shown_KM))
    if not len(shown_KM):
        raise ValueError("nothing can be compared with no frame; leave out who was shown none")
    if not len(now_NM):
        return 0.0
    nearest_N = np.linalg.norm(now_NM[:, None] - shown_KM[None], axis=2).min(axis=1)
    return float(np.sort(nearest_N)[-MOST_DIFFERENT:].mean())


def what_was_shown(rows: Iterable[LedgerRow]) -> list[Shown]:
    """What everybody was shown who has an answer that stands, out of a ledger in its order."""
    answers: dict[tuple[str, Stage, str], dict[str, dict[AU, LedgerRow]]] = defaultdict(dict)
    for row in rows:
        standing = answers[row.reader, row.stage, row.subject]
        voice = standing.pop(row.annotation, {})  # what speaks last stands last
        if not row.retracted:
            standing[row.annotation] = voice | {row.au: row}
    found = []
    for (reader, stage, subject), standing in answers.items():
        if standing:
            pages = [frozenset(next(iter(voice.values())).frames_shown) for voice in standing.values()]
            last = _said(list(standing.values())[-1])
            alike = [page for page, voice in zip(pages, standing.values(), strict=True) if _said(voice) == last]
            found.append(
                Shown(reader=reader, stage=stage, subject=subject, frames=frozenset().union(*alike), pages=tuple(pages))
            )
    return found


def stale_answers(
    shown: Iterable[Shown], materials: Mapping[str, str], comparisons: Iterable[Comparison], *, threshold: float
) -> list[Stale]:
    """The answers whose person looks different by more than ``threshold`` in frames that were not shown.

    Args:
        shown: what everybody was shown.
        materials: subject → the name of all that there is of them now.
        comparisons: those made so far; who was not compared yet is not stale.
        threshold: as ``difference`` measures.
    """
    known = {(each.subject, each.material, each.shown): each for each in comparisons}
    stale = []
    for each in shown:
        compared = known.get((each.subject, materials.get(each.subject, ""), each.name))
        if compared is None or compared.difference is None or compared.difference <= threshold:
            continue
        if frozenset(compared.frames) not in each.pages:  # whoever went back to an older answer has seen these too
            stale.append(Stale(reader=each.reader, stage=each.stage, subject=each.subject, difference=compared.difference))
    return sorted(stale, key=lambda each: (each.subject, each.stage, each.reader))


def _said(voice: Mapping[AU, LedgerRow]) -> tuple[Mapping[AU, bool | None], Side | None]:
    return {au: row.affected for au, row in voice.items()}, next(iter(voice.values())).side


def _digest(names: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()[:16]
