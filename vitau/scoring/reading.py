"""The faces of a recording as ingest reads them: the frame limits of gate 1, and crops encoded as in the store."""

import tempfile
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from vitau.errors import ClipError
from vitau.media.clips import RATE_FPS, DecodeCounts, SampledFrame
from vitau.media.crops import Image, from_jpeg, quality, to_jpeg
from vitau.media.faces import FaceCrop
from vitau.media.frames import find_faces
from vitau.media.inputs import RecordingOptions
from vitau.media.tracking.clip import ClipRange
from vitau.media.tracking.split import Split, track_clip
from vitau.schema import NUM_LANDMARKS, FrameLimits, QuarantineReason, failed_limits

FaceT = TypeVar("FaceT")

SPOOL_BYTES: Final = 16 << 20
"""Encoded crops and landmarks of a recording that stay in memory; more of them are written to a temporary file."""
_LANDMARK_BYTES: Final = NUM_LANDMARKS * 2 * 4

REASON_WORDS: Final[Mapping[QuarantineReason, str]] = {
    QuarantineReason.SMALL: "too small",
    QuarantineReason.LOW_CONFIDENCE: "uncertain",
    QuarantineReason.BLURRED: "blurred",
    QuarantineReason.DARK: "too dark",
    QuarantineReason.BRIGHT: "too bright",
    QuarantineReason.TURNED: "turned away",
}


@dataclass(kw_only=True, slots=True)
class ReadingCounts:
    """Counts of one recording, updated while it is read: sampled frames, faces, and faces left out by reason."""

    num_frames: int = 0
    num_faces: int = 0
    left_out: Counter[QuarantineReason] = field(default_factory=Counter)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class UsableFace:
    """A face within the limits: its frame, number in the frame, box in px, and the crop as the store keeps it, JPEG.

    ``landmarks_L2`` are dlib's (68, 2), px of the crop.
    """

    frame_index: int
    time_s: float
    face_index: int
    box: tuple[float, float, float, float]
    jpeg: bytes
    landmarks_L2: NDArray[np.float32]


def read_clip(
    path: Path,
    options: RecordingOptions,
    limits: FrameLimits,
    counts: ReadingCounts,
    *,
    rate_fps: float = RATE_FPS,
    decoded: DecodeCounts | None = None,
    split: Split | None = None,
) -> Iterator[UsableFace]:
    """Yield the usable faces of the tracked person in the sampled frames of a clip.

    Raises:
        ClipError: missing, empty, not a video, truncated, or without a frame in the range.
    """
    clip = ClipRange(
        path=path,
        rate_fps=rate_fps,
        start_s=options.start_s,
        end_s=options.end_s,
        fps=options.fps,
        mirrored=options.mirrored,
    )
    read = partial(_read_frame, limits, options.mirrored)
    for found in track_clip(clip, read, decoded or DecodeCounts(), split):
        counts.num_frames += 1
        if found is not None and (face := _counted(found, counts)) is not None:
            yield face


def read_photo(image: Image, options: RecordingOptions, limits: FrameLimits, counts: ReadingCounts) -> Iterator[UsableFace]:
    """Yield the usable faces of a photo (H, W, 3) uint8 RGB, numbered from the largest of all."""
    counts.num_frames += 1
    for index, face in enumerate(find_faces(image, mirrored=options.mirrored)):
        found = _read_face(face, image, limits, mirrored=options.mirrored, face_index=index)
        if (usable := _counted(found, counts)) is not None:
            yield usable


def _counted(found: UsableFace | QuarantineReason, counts: ReadingCounts) -> UsableFace | None:
    counts.num_faces += 1
    if isinstance(found, UsableFace):
        return found
    counts.left_out[found] += 1
    return None


def _read_frame(
    limits: FrameLimits,
    mirrored: bool,
    frame: SampledFrame,
    num_faces: int,  # noqa: ARG001 - the interface
    face: FaceCrop | None,
) -> UsableFace | QuarantineReason | None:
    """Read the tracked face of a frame of a clip."""
    if face is None:
        return None
    return _read_face(face, frame.image, limits, mirrored=mirrored, frame_index=frame.index, time_s=frame.time_s)


def _read_face(
    face: FaceCrop,
    image: Image,
    limits: FrameLimits,
    *,
    mirrored: bool,
    frame_index: int = 0,
    time_s: float = 0.0,
    face_index: int = 0,
) -> UsableFace | QuarantineReason:
    reason = reason_of(face, image, limits, mirrored=mirrored)
    if reason is not None:
        return reason
    return UsableFace(
        frame_index=frame_index,
        time_s=time_s,
        face_index=face_index,
        box=face.box,
        jpeg=to_jpeg(face.crop),
        landmarks_L2=face.crop_landmarks.astype(np.float32),
    )


def reason_of(face: FaceCrop, image: Image, limits: FrameLimits, *, mirrored: bool) -> QuarantineReason | None:
    """Return the first reason why gate 1 rejects a face of an image, or ``None``; measures are float32, as in frame tables."""
    size = (image.shape[1], image.shape[0])
    measured = asdict(quality(face.crop, face.crop_landmarks, face.landmarks, size, mirrored=mirrored))
    measures: dict[str, Any] = {name: np.float32(value) for name, value in {**measured, "detector_score": face.score}.items()}
    failed = failed_limits(measures, limits)
    return next((reason for reason in QuarantineReason if failed.get(reason)), None)


def no_usable_face(counts: ReadingCounts, noun: str) -> ClipError:
    """Build the error for a recording without a face, or for a recording or photo whose faces are all outside the limits."""
    if not counts.num_faces:
        frames = f"any of its {counts.num_frames} sampled frames"
        return ClipError(f"the {noun} shows no face in {frames}; give a clip of a face")
    reasons = ", ".join(f"{count} {REASON_WORDS[reason]}" for reason, count in counts.left_out.most_common())
    faces = "face" if counts.num_faces == 1 else "faces"
    return ClipError(
        f"the {noun} shows {counts.num_faces} {faces}, but none within the limits of the model's training frames ({reasons}); "
        "give a sharp, well-lit face that looks at the camera"
    )


def some_usable(faces: list[FaceT], counts: ReadingCounts) -> list[FaceT]:
    """Return the scored faces of a photo; raise ClipError if there is none."""
    if not counts.num_faces:
        raise ClipError("the photo shows no face; give a photo of a face that looks at the camera")
    if not faces:
        raise no_usable_face(counts, "photo")
    return faces


def crops_of(faces: Sequence[UsableFace]) -> Image:
    """Return the decoded crops of some faces, (B, 256, 256, 3) uint8 RGB."""
    return np.stack([from_jpeg(face.jpeg) for face in faces])


class FaceSpool:
    """The usable faces of one person in order, to be read several times; those of a long recording are in a temporary file.

    In memory, a face takes 52 bytes. The file has no name and is readable by its owner only; closing the spool deletes it.
    """

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(SPOOL_BYTES, prefix="vitau-")  # noqa: SIM115 - closed by __exit__
        self._ends = array("q", [0])
        self._frames, self._faces, self._times, self._boxes = array("q"), array("i"), array("d"), array("d")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._file.close()

    def __len__(self) -> int:
        return len(self._frames)

    def add(self, face: UsableFace) -> None:
        """Append a face."""
        self._file.seek(self._ends[-1])
        self._file.write(face.landmarks_L2.astype(np.float32).tobytes())
        self._file.write(face.jpeg)
        self._ends.append(self._file.tell())
        self._frames.append(face.frame_index)
        self._faces.append(face.face_index)
        self._times.append(face.time_s)
        self._boxes.extend(face.box)

    def read(self, first: int, last: int) -> list[UsableFace]:
        """Return the faces ``first`` to ``last`` − 1."""
        starts = [end - self._ends[first] for end in self._ends[first : last + 1]]
        self._file.seek(self._ends[first])
        data = self._file.read(starts[-1])
        return [
            UsableFace(
                frame_index=self._frames[row],
                time_s=self._times[row],
                face_index=self._faces[row],
                box=(self._boxes[4 * row], self._boxes[4 * row + 1], self._boxes[4 * row + 2], self._boxes[4 * row + 3]),
                jpeg=data[start + _LANDMARK_BYTES : end],
                landmarks_L2=np.frombuffer(data, np.float32, 2 * NUM_LANDMARKS, start).reshape(NUM_LANDMARKS, 2).copy(),
            )
            for row, (start, end) in enumerate(pairwise(starts), first)
        ]

    def batches(self, size: int) -> Iterator[list[UsableFace]]:
        """Yield all faces in order, up to ``size`` at a time."""
        for first in range(0, len(self), size):
            yield self.read(first, min(first + size, len(self)))
