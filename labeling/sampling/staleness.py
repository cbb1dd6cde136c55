"""Staleness of answers: find people who look different in newer frames, so that their readers are asked again.

An answer is about the frames that were shown, which the ledger records. When a person gets new clips, key frames are chosen
again from all clips, and compared with the shown frames. If they look different, the answer is *stale*. It stands until the
reader has answered again.

The shown frames are those of all standing answers that equal the last one. Two subjects who were merged and have equal answers
therefore need no third answer; those with different answers do.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from labeling.sampling.landmark_shapes import Array
from vitau.schema import AU, Comparison, LedgerRow, Side, Stage, person_of

MOST_DIFFERENT: Final = 4
"""Number of frames that are averaged: half of those shown."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Shown:
    """Frames that a reader was shown of a person at a visit; ``pages`` are the frames of each standing answer.

    ``subject`` is the name of the case, see :mod:`vitau.schema.visits`.
    """

    reader: str
    stage: Stage
    subject: str
    frames: frozenset[str]
    pages: tuple[frozenset[str], ...]

    @property
    def name(self) -> str:
        """Digest of the frames, the same for all readers who were shown the same."""
        return _digest(self.frames)

    def lacks(self, clips: Iterable[str]) -> bool:
        """Return whether a clip has no shown frame; false for an imported answer, whose frames are unknown."""
        return bool(self.frames) and bool(set(clips) - {clip_of(frame) for frame in self.frames})


@dataclass(frozen=True, kw_only=True, slots=True)
class Stale:
    """A standing answer about a person who looks different in newer frames, and the difference."""

    reader: str
    stage: Stage
    subject: str
    difference: float


def clip_of(frame: str) -> str:
    """Return the clip of a frame named ``<clip>:<index>``."""
    return frame.rpartition(":")[0]


def material_name(frame_tables: Iterable[str]) -> str:
    """Return the name of a person's material, a digest of the names of their frame tables."""
    return _digest(frame_tables)


def difference(now_NM: Array, shown_KM: Array) -> float:
    """Compute how different new key frames are from the shown frames, in interocular distances; 0 is equal.

    It is the mean of the ``MOST_DIFFERENT`` largest distances of a new frame to its nearest shown frame: one or two may be
    errors of the landmarks. Distances are between displacements from rest (``landmark_shapes.from_rest``), on which light,
    camera and head pose have little effect. docs/studies.md has values for drawn people.

    Args:
        now_NM: the new key frames; rows that are not finite are ignored.
        shown_KM: the shown frames, at least one of them finite.

    Raises:
        ValueError: no shown frame is finite.
    """
    now_NM, shown_KM = (rows[np.isfinite(rows).all(axis=1)] for rows in (now_NM, shown_KM))
    if not len(shown_KM):
        raise ValueError("there is no shown frame to compare with; leave out people without shown frames")
    if not len(now_NM):
        return 0.0
    nearest_N = np.linalg.norm(now_NM[:, None] - shown_KM[None], axis=2).min(axis=1)
    return float(np.sort(nearest_N)[-MOST_DIFFERENT:].mean())


def shown_frames(rows: Iterable[LedgerRow]) -> list[Shown]:
    """Return the shown frames of each reader and person with a standing answer, from a ledger in its order."""
    answers: dict[tuple[str, Stage, str], dict[str, dict[AU, LedgerRow]]] = defaultdict(dict)
    for row in rows:
        standing = answers[row.reader, row.stage, row.case]
        regions = standing.pop(row.annotation, {})  # the last annotation becomes the last item, and so does the last region
        regions.pop(row.au, None)
        if not row.retracted:
            standing[row.annotation] = regions | {row.au: row}
    shown = []
    for (reader, stage, subject), standing in answers.items():
        if standing:
            pages = [frozenset(_newest(regions).frames_shown) for regions in standing.values()]
            last = _content(list(standing.values())[-1])
            equal = [page for page, regions in zip(pages, standing.values(), strict=True) if _content(regions) == last]
            shown.append(
                Shown(reader=reader, stage=stage, subject=subject, frames=frozenset().union(*equal), pages=tuple(pages))
            )
    return shown


def stale_answers(
    shown: Iterable[Shown], materials: Mapping[str, str], comparisons: Iterable[Comparison], *, threshold: float
) -> list[Stale]:
    """Return the answers about people who differ by more than ``threshold`` in frames that were not shown.

    Args:
        shown: the shown frames of all standing answers.
        materials: subject → the name of their material now.
        comparisons: the comparisons so far; an answer without one is not stale.
        threshold: largest value of ``difference`` that is not stale.
    """
    known = {(comparison.subject, comparison.material, comparison.shown): comparison for comparison in comparisons}
    stale = []
    for frames in shown:
        compared = known.get((person_of(frames.subject), materials.get(frames.subject, ""), frames.name))
        if compared is None or compared.difference is None or compared.difference <= threshold:
            continue
        if frozenset(compared.frames) not in frames.pages:  # a reader who restored an older answer has seen these too
            stale.append(
                Stale(reader=frames.reader, stage=frames.stage, subject=frames.subject, difference=compared.difference)
            )
    return sorted(stale, key=lambda answer: (answer.subject, answer.stage, answer.reader))


def _newest(regions: Mapping[AU, LedgerRow]) -> LedgerRow:
    return list(regions.values())[-1]


def _content(regions: Mapping[AU, LedgerRow]) -> tuple[Mapping[AU, bool | None], Side | None]:
    return {au: row.affected for au, row in regions.items()}, _newest(regions).side


def _digest(names: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()[:16]
