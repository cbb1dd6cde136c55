"""Key frames: the peak of each exercise as an upright picture with its landmarks."""

from collections.abc import Iterable, Iterator
from typing import Final

import cv2
import numpy as np

from vitau.measures.analysis import Analysis
from vitau.measures.results import KeyFrame, Task
from vitau.measures.sources import Part, Source
from vitau.media.clips import SampledFrame, sample_frames
from vitau.media.crops import Image, alignment, extract_crop, transform

SIZE: Final = 400
"""Side of a key frame, px."""
SHORT_S: Final = 30.0
"""A span between two key frames up to this is decoded through; a longer one is sought."""


def read_key_frames(source: Source, analysis: Analysis, *, rate_fps: float) -> tuple[KeyFrame, ...]:
    """Read the frames at the peaks of the exercises again, the surest repetition of each, in the order of the tasks.

    The recording is decoded a second time around these frames only, so that no picture waits in memory for the end.
    """
    chosen: dict[Task, int] = {}
    sure: dict[Task, float] = {}
    for exercise in analysis.exercises:
        if exercise.performed and exercise.confidence > sure.get(exercise.task, 0.0):
            chosen[exercise.task], sure[exercise.task] = exercise.peak, exercise.confidence
    images: dict[int, Image] = {}
    series = analysis.series
    for number in {int(series.part[position]) for position in chosen.values()}:
        positions = [position for position in chosen.values() if series.part[position] == number]
        times = {position: float(series.time_s[position]) for position in positions}
        for position, frame in _frames_at(source.parts[number], times, rate_fps):
            images[position] = frame.image
    return tuple(_key_frame(task, chosen[task], images[chosen[task]], analysis) for task in Task if chosen.get(task) in images)


def _frames_at(part: Part, times: dict[int, float], rate_fps: float) -> Iterator[tuple[int, SampledFrame]]:
    """Yield the frame at each time, by position."""
    options = part.options
    for group in _groups(times):
        start_s = min(times[position] for position in group)
        whole = start_s - (options.start_s or 0.0) <= SHORT_S
        sampled = sample_frames(part.path, rate_fps, options.start_s if whole else start_s, options.end_s, options.fps)
        waiting = {round(times[position], 6): position for position in group}
        for frame in sampled:
            position = waiting.pop(frame.time_s, None)
            if position is not None:
                yield position, frame
            if not waiting:
                break


def _groups(times: dict[int, float]) -> Iterable[list[int]]:
    groups: list[list[int]] = []
    for position in sorted(times, key=times.__getitem__):
        if groups and times[position] - times[groups[-1][-1]] <= SHORT_S:
            groups[-1].append(position)
        else:
            groups.append([position])
    return groups


def _key_frame(task: Task, position: int, image: Image, analysis: Analysis) -> KeyFrame:
    series = analysis.series
    points = series.points[position].astype(np.float64)
    if series.mirrored:
        points = points * (-1, 1) + (image.shape[1] - 1, 0)
        image = np.ascontiguousarray(image[:, ::-1])
    crop_to_frame = alignment(points, SIZE)
    crop = extract_crop(image, crop_to_frame, SIZE)
    _, encoded = cv2.imencode(".jpg", cv2.cvtColor(crop, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 88])
    return KeyFrame(
        task=task,
        frame_index=int(series.frame_index[position]),
        time_s=float(series.time_s[position]),
        jpeg=encoded.tobytes(),
        points=transform(cv2.invertAffineTransform(crop_to_frame), points).astype(np.float32),
    )
