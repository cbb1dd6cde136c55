"""The frames of a clip with the tracked person, one after the other."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias, TypeVar

from vitau.media.clips import (
    RATE_FPS,
    DecodeCounts,
    Position,
    SampledFrame,
    kind_of,
    sample_frames,
    sampled_positions,
)
from vitau.media.faces import FaceCrop
from vitau.media.tracking.tracker import FaceTracker, FoundFrame, Reduced, align_found, in_batches, reduce

T = TypeVar("T")

_BATCH: Final = 2  # frames, or MiB of frames, that a thread hands on at once
_AHEAD: Final = 8  # batches that wait for the next thread

ReadFrame: TypeAlias = Callable[[SampledFrame, int, FaceCrop | None], T]
"""Reads a frame, given the number of its faces and the face of the tracked person if it is there."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipRange:
    """The frames of a clip that are tracked; the attributes are those of :func:`vitau.media.clips.sample_frames`."""

    path: Path
    rate_fps: float = RATE_FPS
    start_s: float | None = None
    end_s: float | None = None
    fps: float | None = None
    mirrored: bool = False
    is_cut: bool = False

    def frames(self, counts: DecodeCounts, first: Position | None = None) -> Iterator[SampledFrame]:
        """Yield the sampled frames, all of them or those from ``first``."""
        return sample_frames(
            self.path, self.rate_fps, self.start_s, self.end_s, self.fps, counts=counts, is_cut=self.is_cut, first=first
        )

    def positions(self) -> list[Position]:
        """Return the positions of the sampled frames of a video by its timestamps; of another recording none."""
        if kind_of(self.path) != "video":
            return []
        return sampled_positions(self.path, self.rate_fps, self.start_s, self.end_s, is_cut=self.is_cut)

    def tracker(self) -> FaceTracker:
        """Return a tracker at the start of the clip."""
        return FaceTracker(mirrored=self.mirrored)


def track_frames(
    clip: ClipRange,
    read: ReadFrame[T],
    counts: DecodeCounts,
    *,
    tracker: FaceTracker | None = None,
    after: int = -1,
    ahead: bool = False,
) -> Iterator[T]:
    """Yield what ``read`` returns for each sampled frame of a clip, in order.

    Args:
        clip: its frames.
        read: called with each frame.
        counts: updated while decoding.
        tracker: continues after the frame with the index ``after``; frames up to it are decoded only.
        after: index of a sampled frame.
        ahead: threads decode and search the next frames, for a process that has more than one core for itself.

    Raises:
        ClipError: the clip cannot be decoded.
    """
    tracker = tracker or clip.tracker()
    frames: Iterable[tuple[SampledFrame, Reduced]] = (
        (frame, reduce(frame.image)) for frame in clip.frames(counts) if frame.index > after
    )
    if ahead:
        frames = _ahead(frames, lambda one: _size_of(one[0]))
    found: Iterable[FoundFrame] = ((frame, *tracker.find(frame.image, small)) for frame, small in frames)
    if ahead:
        found = _ahead(found, lambda one: _size_of(one[0]))
    for frame, num_faces, face in align_found(found, mirrored=clip.mirrored):
        yield read(frame, num_faces, face)


def _ahead(items: Iterable[T], num_bytes: Callable[[T], int]) -> Iterator[T]:
    from vitau.processes import read_ahead  # registered models ship this module without vitau.processes

    return itertools.chain.from_iterable(read_ahead(in_batches(items, num_bytes, _BATCH), _AHEAD))


def _size_of(frame: SampledFrame) -> int:
    return frame.image.nbytes
