"""A long clip that several processes track, each a part of it, with the results of one process.

A part is tracked on a guess: its tracker starts anew, with a fine search in the last frame of the part before. The guess is
right if both trackers agree after that frame. It holds until a face has to be compared with the reference face, which only the
parts before can give. What was not tracked on a right guess is tracked again, from the tracker at the end of what was.
"""

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from copy import copy, deepcopy
from dataclasses import dataclass, replace
from functools import partial
from hashlib import blake2b
from itertools import pairwise
from typing import Final, Generic, TypeVar

from vitau.errors import ClipError
from vitau.media.clips import DecodeCounts, Position, SampledFrame
from vitau.media.tracking.clip import ClipRange, ReadFrame, track_frames
from vitau.media.tracking.tracker import FINE_SEARCH_EVERY, FaceTracker, FoundFrame, Reference, UnknownPersonError, align_found
from vitau.media.videos import MAX_FRAMES

T = TypeVar("T")

LONG: Final = 360
"""Sampled frames from which a clip is split: a minute at 6 per second."""
LONGEST_PART: Final = 360
"""Most frames of a part, whose results wait in memory for those before them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Split:
    """The way in which processes share one clip.

    Attributes:
        num_processes: that track it; one tracks it alone. Of a clip that is too short for several, threads of this process
            decode and search the next frames.
        long: fewest sampled frames of a clip that is shared.
        longest_part: most frames of a part.
        start_method: of the processes. ``fork`` takes no time, and needs a process without threads.
    """

    num_processes: int = 1
    long: int = LONG
    longest_part: int = LONGEST_PART
    start_method: str = "spawn"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Part:
    """The frames after ``first`` up to the one with the index ``last``; ``None`` is the start or the end of the clip."""

    first: Position | None
    last: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Mark:
    """A frame that two processes must decode alike: its position, and a digest of its picture."""

    index: int
    number: int
    time_s: float
    digest: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class _Outcome(Generic[T]):
    """A tracked part.

    Attributes:
        first: the frame before the part, ``None`` at the start of the clip.
        guess: the tracker after that frame if it started anew there.
        values: read from the frames.
        last: the last tracked frame.
        tracker: after that frame.
        is_complete: False if the next frame needs the reference face.
        counts: of decoding, without the frames up to ``first``.
    """

    first: _Mark | None
    guess: FaceTracker | None
    values: Sequence[T]
    last: _Mark
    tracker: FaceTracker
    is_complete: bool
    counts: DecodeCounts


class _End:
    """The end of what was tracked so far."""

    def __init__(self, tracker: FaceTracker) -> None:
        self.tracker = tracker
        self.mark: _Mark | None = None
        self.num_decoded, self.truncated = 0, False

    def meets(self, outcome: _Outcome[T]) -> bool:
        """Return whether a part was decoded from this end on, as one process decodes it."""
        return outcome.first == self.mark and not outcome.counts.num_damaged

    def move(self, outcome: _Outcome[T]) -> None:
        """Take over the end of the next part."""
        reference, face = self.tracker.reference, outcome.tracker.reference.face
        self.tracker, self.mark = outcome.tracker, outcome.last
        if outcome.guess is not None:  # it knows the faces of its own part only
            if face is not None:
                reference.keep(*face)
            self.tracker.reference = reference
        self.num_decoded += outcome.counts.num_frames
        self.truncated = outcome.counts.truncated


def track_clip(clip: ClipRange, read: ReadFrame[T], counts: DecodeCounts, split: Split | None = None) -> Iterator[T]:
    """Yield what ``read`` returns for each sampled frame of a clip, in order; the number of processes changes nothing.

    Args:
        clip: its frames.
        read: called with each frame, in this process or in others. It can be pickled, and each part gets a copy.
        counts: updated while decoding.
        split: how a long video is shared among processes; by default this process does all.

    Raises:
        ClipError: the clip cannot be decoded.
    """
    split = split or Split()
    positions = _positions(clip, split)
    end = _End(clip.tracker())
    if positions and (yield from _track_parts(clip, read, positions, split, end)):
        counts.num_frames += end.num_decoded
        counts.truncated = end.truncated
        return
    after, ahead = end.mark.index if end.mark else -1, split.num_processes > 1
    yield from track_frames(clip, read, counts, tracker=end.tracker, after=after, ahead=ahead)


def _positions(clip: ClipRange, split: Split) -> list[Position]:
    """Return the expected positions of a clip's sampled frames; none if it is not to be split."""
    if split.num_processes < 2:
        return []
    try:
        positions = clip.positions()
    except ClipError:  # decoding reports it
        return []
    return positions if len(positions) >= split.long and positions[-1].number < MAX_FRAMES // 2 else []


def _parts(positions: Sequence[Position], split: Split) -> Iterator[_Part]:
    """Yield parts that begin at fine searches, equally many and equally long ones for each process."""
    rounds = -(-len(positions) // (split.num_processes * split.longest_part))
    length = -(-len(positions) // (split.num_processes * rounds * FINE_SEARCH_EVERY)) * FINE_SEARCH_EVERY
    for first, after in pairwise([None, *positions[length:-1:length], None]):
        yield _Part(first=first, last=None if after is None else after.index)


def _track_parts(
    clip: ClipRange, read: ReadFrame[T], positions: Sequence[Position], split: Split, end: _End
) -> Generator[T, None, bool]:
    """Yield the values of all parts in order; return False after the last that can be joined."""
    from vitau.processes import parallel_map  # registered models ship this module without vitau.processes

    parts = list(_parts(positions, split))
    work = partial(_attempt, clip, read)
    with closing(parallel_map(work, parts, split.num_processes, start_method=split.start_method)) as outcomes:
        for part in parts:
            outcome = _next(outcomes)
            while True:
                if outcome is not None and end.meets(outcome) and outcome.guess and not outcome.guess.agrees(end.tracker):
                    outcome = _attempt(clip, read, part, end.tracker)
                if outcome is None or not end.meets(outcome):
                    return False
                yield from outcome.values
                end.move(outcome)
                if outcome.is_complete:
                    break
                if outcome.last.index >= len(positions):  # more frames than expected
                    return False
                rest = replace(part, first=positions[outcome.last.index])
                outcome = _attempt(clip, read, rest, end.tracker)
    return True


def _next(outcomes: Iterator[_Outcome[T] | None]) -> _Outcome[T] | None:
    try:
        return next(outcomes)
    except (OSError, RuntimeError):  # a process was killed, or cannot be started
        return None


def _attempt(clip: ClipRange, read: ReadFrame[T], part: _Part, tracker: FaceTracker | None = None) -> _Outcome[T] | None:
    """Track a part; return ``None`` if that fails, because then one process decodes the clip and reports what is wrong."""
    from vitau.processes import single_threaded

    try:
        with single_threaded():
            return _track(clip, copy(read), part, tracker)
    except Exception:  # noqa: BLE001 - see above
        return None


def _track(clip: ClipRange, read: ReadFrame[T], part: _Part, tracker: FaceTracker | None) -> _Outcome[T]:
    """Track a part with a tracker that ended at its first frame, or with a new one."""
    search = _Search(clip, part, tracker)
    values = [read(*tracked) for tracked in align_found(search.frames(), mirrored=clip.mirrored)]
    assert search.last is not None, "a clip without a frame raises an error"
    return _Outcome(
        first=search.first,
        guess=search.guess,
        values=values,
        last=_mark(search.last),
        tracker=search.tracker,
        is_complete=search.is_complete,
        counts=replace(search.counts, num_frames=search.num_decoded - search.num_before),
    )


class _Search:
    """The search of the person in the frames of a part, and the state at its end."""

    def __init__(self, clip: ClipRange, part: _Part, tracker: FaceTracker | None) -> None:
        self.counts = DecodeCounts()
        self.first: _Mark | None = None
        self.guess: FaceTracker | None = None
        self.last: SampledFrame | None = None
        self.num_before = self.num_decoded = 0
        self.is_complete = True
        self._part = part
        self._frames = clip.frames(self.counts, part.first)
        self.tracker = clip.tracker() if tracker is None else deepcopy(tracker)
        if part.first is not None:
            self.last = next(self._frames)
            self.first = _mark(self.last)
            self.num_before = self.num_decoded = self.counts.num_frames
            if tracker is None:
                self._start_anew(self.last)

    def _start_anew(self, frame: SampledFrame) -> None:
        self.tracker.starts_at(frame.index)
        self.tracker.find(frame.image)
        self.tracker.reference = Reference(known=False)
        self.guess = copy(self.tracker)

    def frames(self) -> Iterator[FoundFrame]:
        """Yield the frames with the number of faces and the person, up to the first that needs the reference face."""
        for frame in self._frames:
            before = copy(self.tracker)
            try:
                found = self.tracker.find(frame.image)
            except UnknownPersonError:
                self.tracker, self.is_complete = before, False
                return
            self.last, self.num_decoded = frame, self.counts.num_frames
            yield frame, *found
            if frame.index == self._part.last:
                return
        self.num_decoded = self.counts.num_frames


def _mark(frame: SampledFrame) -> _Mark:
    digest = blake2b(frame.image.tobytes(), digest_size=16).digest()
    return _Mark(index=frame.index, number=frame.number, time_s=frame.time_s, digest=digest)
