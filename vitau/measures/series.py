"""Reading of a source: its frames one by one, the landmarks of the person, and the measures of each frame."""

from array import array
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vitau.errors import ClipError
from vitau.measures.geometry import SIDES, Floats, measure_points, own_points, with_pupils
from vitau.measures.landmarks.backend import LandmarkBackend
from vitau.measures.pixels import PIXEL_COLUMNS, FacePixels, measure_pixels, read_pixels, scale_of
from vitau.measures.results import Series, Task
from vitau.measures.sources import Part, Source
from vitau.media.clips import DecodeCounts, SampledFrame, kind_of
from vitau.media.crops import Quality, quality, renumbered
from vitau.media.faces import FaceCrop
from vitau.media.frames import main_faces
from vitau.media.tracking.clip import ClipRange
from vitau.media.tracking.split import Split
from vitau.schema import NUM_LANDMARKS, FrameLimits, QuarantineReason, Side, failed_limits

RATE_FPS: Final = 10.0
"""Measured frames per second of a clip: a voluntary movement of the face takes 0.3 s and more from onset to peak."""
MEASURE_LIMITS: Final = FrameLimits(yaw_deg_max=25.0, pitch_deg_max=25.0, sharpness_min=8.0)
"""Frames outside are listed, but not measured: a turned head looks asymmetric.

Dark skin in weak light has little contrast, and a sharpness of 10 to 15 where nothing is blurred. On drawn people the refined
points of such frames err no more than those of sharper ones; below 8 they err two to five times as much.
"""
ALWAYS_IRISES: Final = 40
"""Frames from the start in which irises are searched; after them only every ``IRIS_EVERY``-th frame."""
IRIS_EVERY: Final = 10
QUALITY_COLUMNS: Final = (
    "yaw_deg",
    "pitch_deg",
    "roll_deg",
    "face_px",
    "sharpness",
    "brightness",
    "clipped",
    "detector_score",
)


@dataclass(kw_only=True, slots=True)
class ReadingState:
    """Counts of one source while it is read: frames, frames with a face, frames left out by reason, and skipped parts."""

    num_frames: int = 0
    num_faces: int = 0
    num_other_faces: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    decoded: DecodeCounts = field(default_factory=DecodeCounts)
    problems: list[tuple[Part, str]] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class MeasuredFrame:
    """The measures of one frame.

    Attributes:
        index: among the sampled frames.
        time_s: in the recording.
        size: width and height, px.
        mirrored: left and right are swapped in the recording.
        qualities: by the names ``QUALITY_COLUMNS``.
        points: (68, 2) float32 px of the frame, in dlib's order as seen in the unmirrored picture.
        own: the same in the order of the person's own sides.
        pixels: of the eyes and the mouth.
        reason: why pose or quality does not permit a measurement.
    """

    index: int
    time_s: float
    size: tuple[int, int]
    mirrored: bool
    qualities: Mapping[str, float]
    points: NDArray[np.float32]
    own: NDArray[np.float32]
    pixels: FacePixels
    reason: QuarantineReason | None


@dataclass(frozen=True, kw_only=True, slots=True)
class _ReadFrame:
    """The content of a frame: the number of faces, whether one is the person, and its measures if there are landmarks."""

    num_faces: int
    shows_person: bool
    measured: MeasuredFrame | None


def read_series(
    source: Source, backend: LandmarkBackend, state: ReadingState, *, rate_fps: float = RATE_FPS, split: Split | None = None
) -> Series:
    """Read all parts of a source and measure the person in each frame; one frame is in memory at a time.

    A part that cannot be read is listed in ``state.problems``; the others are measured.

    Raises:
        ClipError: no part can be read, or no frame shows a face.
    """
    rows = SeriesBuilder(source.item)
    for part in source.parts:
        try:
            for read in _read_part(part, backend, state, rate_fps, split):
                if read.measured is None:
                    state.left_out["no landmarks"] += 1
                    continue
                reason = rows.add(read.measured, task=part.task)
                if reason is not None:
                    state.left_out[str(reason)] += 1
        except ClipError as error:
            state.problems.append((part, str(error)))
        rows.end_part()
    if not len(rows) and state.problems:
        raise ClipError(state.problems[0][1])
    if not len(rows) and state.num_faces:
        raise ClipError(
            f"the landmarks {backend.name} have no points of its {state.num_faces} faces; check their input and frame"
        )
    if not len(rows):
        noun = "frame" if state.num_frames == 1 else "frames"
        raise ClipError(f"no face was found in {state.num_frames} {noun}; give a face that looks at the camera")
    return rows.series()


def _read_part(
    part: Part, backend: LandmarkBackend, state: ReadingState, rate_fps: float, split: Split | None
) -> Iterator[_ReadFrame]:
    """Yield what was read of the frames of a part that show the person."""
    options = part.options
    clip = ClipRange(
        path=part.path,
        rate_fps=rate_fps,
        start_s=options.start_s,
        end_s=options.end_s,
        fps=options.fps,
        mirrored=options.mirrored,
    )
    is_photo = kind_of(part.path) == "photo"
    for read in main_faces(clip, _FrameReader(backend, part), state.decoded, split):
        state.num_frames += 1
        if is_photo:
            state.num_other_faces += max(read.num_faces - 1, 0)
        if not read.shows_person:
            state.left_out["no face"] += 1
            continue
        state.num_faces += 1
        yield read


@dataclass(frozen=True, slots=True)
class _FrameReader:
    """Reads the measures of a frame, in this process or in another one."""

    backend: LandmarkBackend
    part: Part

    def __call__(self, frame: SampledFrame, num_faces: int, face: FaceCrop | None) -> _ReadFrame:
        points = None if face is None else self.backend.points(frame.image, face, frame.number, self.part.path.stem)
        mirrored = self.part.options.mirrored
        measured = None if face is None or points is None else measure_frame(frame, face, points, mirrored=mirrored)
        return _ReadFrame(num_faces=num_faces, shows_person=face is not None, measured=measured)


def measure_frame(
    frame: SampledFrame,
    face: FaceCrop,
    points: NDArray[np.float32],
    *,
    mirrored: bool = False,
    measured: Quality | None = None,
) -> MeasuredFrame:
    """Measure a frame.

    Args:
        frame: as recorded.
        face: the tracked face.
        points: (68, 2) px of the frame, in dlib's order as seen in the picture.
        mirrored: left and right are swapped in the recording.
        measured: the quality of the crop, where it is known.
    """
    size = (frame.image.shape[1], frame.image.shape[0])
    if measured is None:
        measured = quality(face.crop, face.crop_landmarks, face.landmarks, size, mirrored=mirrored)
    qualities = asdict(measured) | {"detector_score": face.score}
    failed = failed_limits({name: np.float32(value) for name, value in qualities.items()}, MEASURE_LIMITS)
    own = own_points(points, mirrored=mirrored)
    image = np.ascontiguousarray(frame.image[:, ::-1]) if mirrored else frame.image
    return MeasuredFrame(
        index=frame.index,
        time_s=frame.time_s,
        size=size,
        mirrored=mirrored,
        qualities=qualities,
        points=(renumbered(points) if mirrored else points).astype(np.float32),
        own=own.astype(np.float32),
        pixels=read_pixels(image, own + np.array([size[0] - 1, 0]) if mirrored else own),
        reason=next((reason for reason in QuarantineReason if failed.get(reason)), None),
    )


class SeriesBuilder:
    """Measured frames of one source, as compact columns; a frame is not kept after it was added."""

    def __init__(self, item: str) -> None:
        self._item = item
        self._index, self._time, self._part = array("q"), array("d"), array("i")
        self._num_parts = 0
        self._task: list[Task | None] = []
        self._quality = {name: array("d") for name in QUALITY_COLUMNS}
        self._pixels = {name: array("d") for name in PIXEL_COLUMNS}
        self._points, self._measured = array("f"), array("f")
        self._usable = array("b")
        self._frame_size, self._mirrored = (0, 0), False
        self._first_index = self._next_index = 0

    def __len__(self) -> int:
        return len(self._index)

    def add(self, measured: MeasuredFrame, *, task: Task | None = None) -> QuarantineReason | None:
        """Add a frame; return the reason if its pose or quality does not permit a measurement.

        Args:
            measured: the frame.
            task: the exercise, where it is known.
        """
        self._index.append(self._first_index + measured.index)
        self._next_index = self._index[-1] + 1
        self._time.append(measured.time_s)
        self._part.append(self._num_parts)
        self._task.append(task)
        for name, values in self._quality.items():
            values.append(measured.qualities[name])
        self._points.extend(measured.points.ravel().tolist())
        self._measured.extend(measured.own.ravel().tolist())
        with_iris = len(self) <= ALWAYS_IRISES or len(self) % IRIS_EVERY == 0
        for name, value in measure_pixels(measured.pixels, with_iris=with_iris).items():
            self._pixels[name].append(value)
        self._usable.append(measured.reason is None)
        self._frame_size, self._mirrored = measured.size, measured.mirrored
        return measured.reason

    def end_part(self) -> None:
        """Count the next frames as those of another file, or range of one."""
        self._first_index = self._next_index
        self._num_parts += 1

    def series(self) -> Series:
        """Return the series of the added frames; there must be one at least."""
        shape = (len(self), NUM_LANDMARKS, 2)
        columns = measure_points(np.frombuffer(self._measured, np.float32).reshape(shape))
        pixels = {name: np.array(values) for name, values in self._pixels.items()}
        columns = with_pupils(columns, _pupil_heights(pixels))
        return Series(
            item=self._item,
            frame_index=np.array(self._index, dtype=np.int64),
            time_s=np.array(self._time),
            part=np.array(self._part, dtype=np.int64),
            task=tuple(self._task),
            columns={**columns, **pixels, **{name: np.array(values) for name, values in self._quality.items()}},
            points=np.frombuffer(self._points, np.float32).reshape(shape),
            usable=np.array(self._usable, dtype=bool),
            frame_size=self._frame_size,
            mirrored=self._mirrored,
            eye_distance_mm=scale_of(np.concatenate([pixels[f"iris_diameter_{side}"] for side in SIDES])),
        )


def _pupil_heights(pixels: Mapping[str, Floats]) -> dict[Side, float]:
    """Return per side the median height of the pupil: the gaze moves it from frame to frame, and a closed eye hides it."""
    heights = {side: pixels[f"pupil_height_{side}"] for side in SIDES}
    known = {side: values[np.isfinite(values)] for side, values in heights.items()}
    return {side: float(np.median(values)) for side, values in known.items() if len(values)}
