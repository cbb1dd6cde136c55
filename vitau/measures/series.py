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
from vitau.measures.pixels import PIXEL_COLUMNS, measure_pixels, scale_of
from vitau.measures.results import Series, Task
from vitau.measures.sources import Part, Source
from vitau.media.clips import DecodeCounts, SampledFrame, kind_of, sample_frames
from vitau.media.crops import Quality, quality, renumbered
from vitau.media.faces import FaceCrop
from vitau.media.frames import main_faces
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


def read_series(source: Source, backend: LandmarkBackend, state: ReadingState, *, rate_fps: float = RATE_FPS) -> Series:
    """Read all parts of a source and measure the person in each frame; one frame is in memory at a time.

    A part that cannot be read is listed in ``state.problems``; the others are measured.

    Raises:
        ClipError: no part can be read, or no frame shows a face.
    """
    rows = SeriesBuilder(source.item)
    for part in source.parts:
        try:
            for frame, face in _faces(part, state, rate_fps):
                points = backend.points(frame.image, face, frame.number, part.path.stem)
                if points is None:
                    state.left_out["no landmarks"] += 1
                    continue
                reason = rows.add(frame, face, points, mirrored=part.options.mirrored, task=part.task)
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


def _faces(part: Part, state: ReadingState, rate_fps: float) -> Iterator[tuple[SampledFrame, FaceCrop]]:
    """Yield the frames of a part that show the person, with the face."""
    options, is_photo = part.options, kind_of(part.path) == "photo"
    sampled = sample_frames(part.path, rate_fps, options.start_s, options.end_s, options.fps, counts=state.decoded)
    for frame, num_faces, face in main_faces(part.path, sampled, mirrored=options.mirrored):
        state.num_frames += 1
        if is_photo:
            state.num_other_faces += max(num_faces - 1, 0)
        if face is None:
            state.left_out["no face"] += 1
            continue
        state.num_faces += 1
        yield frame, face


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

    def add(
        self,
        frame: SampledFrame,
        face: FaceCrop,
        points: NDArray[np.float32],
        *,
        mirrored: bool = False,
        task: Task | None = None,
        measured: Quality | None = None,
    ) -> QuarantineReason | None:
        """Measure a frame; return the reason if its pose or quality does not permit a measurement.

        Args:
            frame: as recorded.
            face: the tracked face.
            points: (68, 2) px of the frame, in dlib's order as seen in the picture.
            mirrored: left and right are swapped in the recording.
            task: the exercise, where it is known.
            measured: the quality of the crop, where it is known.
        """
        size = (frame.image.shape[1], frame.image.shape[0])
        if measured is None:
            measured = quality(face.crop, face.crop_landmarks, face.landmarks, size, mirrored=mirrored)
        qualities = asdict(measured) | {"detector_score": face.score}
        failed = failed_limits({name: np.float32(value) for name, value in qualities.items()}, MEASURE_LIMITS)
        reason = next((reason for reason in QuarantineReason if failed.get(reason)), None)
        self._index.append(self._first_index + frame.index)
        self._next_index = self._index[-1] + 1
        self._time.append(frame.time_s)
        self._part.append(self._num_parts)
        self._task.append(task)
        for name, values in self._quality.items():
            values.append(qualities[name])
        self._points.extend((renumbered(points) if mirrored else points).astype(np.float32).ravel().tolist())
        own = own_points(points, mirrored=mirrored)
        self._measured.extend(own.astype(np.float32).ravel().tolist())
        image = np.ascontiguousarray(frame.image[:, ::-1]) if mirrored else frame.image
        in_image = own + np.array([size[0] - 1, 0]) if mirrored else own
        with_iris = len(self) <= ALWAYS_IRISES or len(self) % IRIS_EVERY == 0
        for name, value in measure_pixels(image, in_image, with_iris=with_iris).items():
            self._pixels[name].append(value)
        self._usable.append(reason is None)
        self._frame_size, self._mirrored = size, mirrored
        return reason

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
