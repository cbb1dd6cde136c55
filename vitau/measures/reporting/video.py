"""The overlay video: a clip with landmarks, measured lines, the curve of both sides, and the name of the exercise."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Final

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from vitau.errors import ClipError
from vitau.measures.geometry import Floats
from vitau.measures.reporting.curves import elapsed
from vitau.measures.reporting.pictures import draw_lines
from vitau.measures.reporting.words import LEFT_RGB, MAIN_MEASURES, RIGHT_RGB, STATEMENT, measure_words
from vitau.measures.results import TASK_WORDS, Recording, Series, Task
from vitau.measures.series import RATE_FPS
from vitau.measures.sources import Part, Source
from vitau.media.clips import SampledFrame, sample_frames
from vitau.media.crops import Image
from vitau.store.atomic import atomic_path

FOLDER: Final = "videos"
MOST_WIDTH: Final = 960
"""Wider pictures are made smaller."""
STRIP_HEIGHT: Final = 120
"""Height of the curve below the picture, px."""
_INK: Final = (232, 230, 224)
_PAPER: Final = (24, 26, 30)
_SHADE: Final = (46, 50, 56)
_CODEC: Final = {"crf": "21", "preset": "veryfast", "threads": "1"}
_TIME_BASE: Final = Fraction(1, 1000)


def write_video(out: Path, name: str, source: Source, recording: Recording, rate_fps: float = RATE_FPS) -> None:
    """Write the overlay video of a recording as ``videos/<name>.mp4`` of a folder, by decoding its files a second time.

    With fewer than two measured frames, as of a single photo, there is no video.
    """
    if len(recording.series) < 2:
        return
    folder = out / FOLDER
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    frames = measured_again(recording, source.parts, rate_fps)
    write_overlay(recording, frames, folder / f"{name}.mp4")


def measured_again(recording: Recording, parts: Sequence[Part], rate_fps: float = RATE_FPS) -> Iterator[SampledFrame]:
    """Yield the sampled frames of a recording once more, with the numbers that its series has; one is in memory at a time.

    A part that cannot be read any more is left out.
    """
    first = 0
    for part in parts:
        options, last = part.options, first
        try:
            for frame in sample_frames(part.path, rate_fps, options.start_s, options.end_s, options.fps):
                last = first + frame.index
                yield replace(frame, index=last)
        except ClipError:
            continue
        measured_N = recording.series.frame_index
        here_N = measured_N[(measured_N >= first) & (measured_N <= last)]
        first = int(here_N.max()) + 1 if len(here_N) else first


def write_overlay(recording: Recording, frames: Iterable[SampledFrame], path: Path) -> int:
    """Write the overlay video of a recording as H.264 in MP4, atomically, and return the number of its frames.

    One frame is in memory at a time. Frames without a measured face are shown as they are, and say so.

    Args:
        recording: with its series.
        frames: the sampled frames of the recording, numbered as ``series.frame_index``.
        path: the video; its folder exists.
    """
    overlay, count = _Overlay(recording), 0
    with atomic_path(path) as partial, av.open(partial, "w") as container:
        container.metadata["comment"] = f"ViTAU measurement. {STATEMENT}"
        stream = None
        clock = _Clock()
        for frame in frames:
            image = overlay.draw(frame)
            if stream is None:
                stream = container.add_stream("libx264", rate=Fraction(25), options=_CODEC)
                stream.width, stream.height, stream.pix_fmt = image.shape[1], image.shape[0], "yuv420p"
                stream.codec_context.time_base = _TIME_BASE
            picture = av.VideoFrame.from_ndarray(_sized(image, stream.width, stream.height), format="rgb24")
            picture.pts, picture.time_base = clock.at(frame.time_s), _TIME_BASE
            container.mux(stream.encode(picture))
            count += 1
        if stream is not None:
            container.mux(stream.encode())
    return count


class _Clock:
    """Times of the video's frames, ms: increasing, also where another part of an input begins."""

    def __init__(self) -> None:
        self._before: float | None = None
        self._now = 0
        self._step = 100

    def at(self, time_s: float) -> int:
        if self._before is not None:
            step = round(1000 * (time_s - self._before))
            self._step = step if step > 0 else self._step
            self._now += self._step
        self._before = time_s
        return self._now


class _Overlay:
    """Draws the frames of one recording; it knows the whole curve."""

    def __init__(self, recording: Recording) -> None:
        self._series = recording.series
        self._row = {int(index): row for row, index in enumerate(recording.series.frame_index)}
        self._time_N = elapsed(recording.series.time_s)
        self._strip = lru_cache(maxsize=len(MAIN_MEASURES))(self._draw_strip)
        self._measure = MAIN_MEASURES[Task.REST]

    def draw(self, frame: SampledFrame) -> Image:
        """Return the frame with its overlay, (H, W, 3) uint8 RGB, with even height and width."""
        series = self._series
        image = np.ascontiguousarray(frame.image[:, ::-1]) if series.mirrored else frame.image.copy()
        scale = min(1.0, MOST_WIDTH / image.shape[1])
        if scale < 1:
            image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        image = np.ascontiguousarray(image[: image.shape[0] // 2 * 2, : image.shape[1] // 2 * 2])
        row = self._row.get(frame.index)
        if row is None:
            self._title(image, "not measured: no face was found", None)
            return self._joined(image, None)
        self._draw_face(image, self._points(row, frame.image.shape[1], scale), usable=bool(series.usable[row]))
        task = series.task[row]
        if task is not None:
            self._measure = MAIN_MEASURES[task]
        words = TASK_WORDS[task] if task is not None else ""
        self._title(image, words if series.usable[row] else "not measured: turned, or poor quality", frame.time_s)
        return self._joined(image, row)

    def _points(self, row: int, width: int, scale: float) -> Floats:
        points = self._series.points[row].astype(np.float64)
        if self._series.mirrored:
            points[:, 0] = width - 1 - points[:, 0]
        return points * scale

    def _draw_face(self, image: Image, points: Floats, *, usable: bool) -> None:
        draw_lines(image, points, measured=usable, thickness=max(1, round(image.shape[1] / 400)))

    def _title(self, image: Image, words: str, time_s: float | None) -> None:
        size = max(0.45, image.shape[1] / 1200)
        texts = [(words, (10, round(34 * size + 8)), size * 1.15), (STATEMENT, (10, image.shape[0] - 10), size * 0.8)]
        if time_s is not None:
            texts.append((f"{time_s:.1f} s", (image.shape[1] - round(130 * size), round(34 * size + 8)), size))
        for text, place, height in texts:
            cv2.putText(image, text, place, cv2.FONT_HERSHEY_SIMPLEX, height, _PAPER, 4, cv2.LINE_AA)
            cv2.putText(image, text, place, cv2.FONT_HERSHEY_SIMPLEX, height, _INK, 1, cv2.LINE_AA)

    def _joined(self, image: Image, row: int | None) -> Image:
        strip = self._strip(self._measure, image.shape[1]).copy()
        if row is not None:
            x = round(float(self._x(image.shape[1])[row]))
            cv2.line(strip, (x, 18), (x, STRIP_HEIGHT - 4), _INK, 1, cv2.LINE_AA)
        return np.concatenate([image, strip])

    def _x(self, width: int) -> Floats:
        return 8 + (self._time_N - self._time_N[0]) * ((width - 16) / max(self._time_N[-1] - self._time_N[0], 1e-9))

    def _draw_strip(self, measure: str, width: int) -> Image:
        """Draw the curves of both sides over the whole recording, with the exercises shaded."""
        strip = np.full((STRIP_HEIGHT, width, 3), _PAPER, dtype=np.uint8)
        x_N = self._x(width)
        for first, last in _runs(self._series):
            cv2.rectangle(strip, (round(float(x_N[first])), 18), (round(float(x_N[last])), STRIP_HEIGHT - 4), _SHADE, -1)
        values = [
            np.where(self._series.usable, self._series.columns[f"{measure}_{side}"], np.nan) for side in ("right", "left")
        ]
        known = np.concatenate(values)
        known = known[np.isfinite(known)]
        if len(known):
            low, high = float(known.min()), float(known.max())
            spare = max(0.06 - (high - low), 0.1 * (high - low)) / 2
            for values_N, color in zip(values, (RIGHT_RGB, LEFT_RGB), strict=True):
                y_N = 22 + (STRIP_HEIGHT - 30) * (high + spare - values_N) / (high - low + 2 * spare)
                _polyline(strip, x_N, y_N, color)
        x = 8
        for text, color in ((measure_words(measure), _INK), ("right", RIGHT_RGB), ("left", LEFT_RGB)):
            cv2.putText(strip, text, (x, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.42, color, 1, cv2.LINE_AA)
            x += cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.42, 1)[0][0] + 12
        return strip


def _runs(series: Series) -> Iterator[tuple[int, int]]:
    """Yield the first and the last row of each stretch of frames of one exercise."""
    first = 0
    for row in range(1, len(series) + 1):
        if row == len(series) or series.task[row] is not series.task[first]:
            if series.task[first] is not None:
                yield first, row - 1
            first = row


def _polyline(image: NDArray[np.uint8], x_N: Floats, y_N: Floats, color: tuple[int, int, int]) -> None:
    for row in range(1, len(x_N)):
        if np.isfinite(y_N[row - 1 : row + 1]).all():
            ends = [(round(16 * float(x_N[i])), round(16 * float(y_N[i]))) for i in (row - 1, row)]
            cv2.line(image, ends[0], ends[1], color, 2, cv2.LINE_AA, shift=4)


def _sized(image: Image, width: int, height: int) -> Image:
    """Return a picture in the size of the first one; parts of an input may differ."""
    return image if image.shape[:2] == (height, width) else cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
