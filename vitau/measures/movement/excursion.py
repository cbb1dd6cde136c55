"""Movement per exercise: excursion by side, side ratio, symmetry index, speed, and correlation of the two sides' curves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vitau.measures.geometry import SIDED_MEASURES, SIDES, Floats
from vitau.measures.movement.uncertainty import (
    excursion_error,
    frame_noise,
    median_error,
    pooled,
    repetition_error,
    smallest_detectable_change,
)
from vitau.measures.results import ASKED, Exercise, Measure, Task

UNIT: Final = "eye distance"
AREA_UNIT: Final = "eye distance squared"
PEAK_SHARE: Final = 0.2
"""Share of the frames of an exercise, those with the largest movement, over which its excursion is averaged."""
SMALLEST_FOR_RATIO: Final = 0.02
"""Excursion of the side that moves more, in distances between the eyes, below which a ratio is not stated."""
FEWEST_FOR_CURVES: Final = 4

_NO_REST: Final = "no frame at rest"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Frames:
    """The usable frames of a recording: measures (N,) each, times (N,), and the frames at rest with their levels."""

    columns: Mapping[str, Floats]
    time_s: Floats
    levels: Mapping[str, float]
    is_rest: NDArray[np.bool_]
    eye_distance_mm: float | None = None

    @property
    def num_at_rest(self) -> int:
        """Number of frames at rest."""
        return int(self.is_rest.sum())

    def noise(self, column: str) -> float | None:
        """Return the noise of single frames of a measure, from the frames at rest."""
        return frame_noise(self.columns[column][self.is_rest])


@dataclass(frozen=True, kw_only=True, slots=True)
class Excursion:
    """One repetition: excursion, largest speed per s of both sides, correlation of their curves, and number of peak frames."""

    sides: tuple[float, float]
    speeds: tuple[float, float] | None
    correlation: float | None
    num_peak_frames: int


def rest_measures(frames: Frames) -> list[Measure]:
    """Return the level at rest of each measure, by side, with the asymmetry at rest as its difference (right − left)."""
    return [_rest_measure(frames, name) for name in SIDED_MEASURES]


def excursion_of(frames: Frames, measure: str, direction: int, first: int, last: int) -> Excursion:
    """Return the excursion of a measure in one repetition.

    The frames of the peak are those in which the side that moves more has moved farthest, so that both sides are read at the
    same time.

    Args:
        frames: usable frames.
        measure: name without side.
        direction: 1 for a rise, −1 for a fall, 0 for either: that of the largest movement.
        first: first frame of the repetition.
        last: last frame of the repetition.
    """
    moved_2N = np.stack([frames.columns[f"{measure}_{side}"] - frames.levels[f"{measure}_{side}"] for side in SIDES])
    own_2N = moved_2N[:, first : last + 1]
    if direction == 0:
        direction = 1 if own_2N.ravel()[np.abs(own_2N).argmax()] >= 0 else -1
    own_2N = direction * own_2N
    num_peak = max(1, round(PEAK_SHARE * own_2N.shape[1]))
    peak = np.argsort(own_2N.max(axis=0))[-num_peak:]
    right, left = own_2N[:, peak].mean(axis=1)
    # the curves start one frame before the exercise, where it has one, because the onset is a part of the movement
    start = max(first - 1, 0) if first and frames.time_s[first] > frames.time_s[first - 1] else first
    curve_2N, time_N = direction * moved_2N[:, start : last + 1], frames.time_s[start : last + 1]
    speeds = None
    if len(time_N) > 1 and (np.diff(time_N) > 0).all():
        per_s_2N = np.abs(np.diff(curve_2N, axis=1)) / np.diff(time_N)
        speeds = float(per_s_2N[0].max()), float(per_s_2N[1].max())
    correlation = None
    if len(time_N) >= FEWEST_FOR_CURVES and (curve_2N.std(axis=1) > 0).all():
        correlation = float(np.corrcoef(curve_2N)[0, 1])
    return Excursion(sides=(float(right), float(left)), speeds=speeds, correlation=correlation, num_peak_frames=num_peak)


def movement_measures(frames: Frames, task: Task, runs: Sequence[tuple[int, int]]) -> list[Measure]:
    """Return the measures that an exercise asks for, from its repetitions."""
    measures = [
        sided_measure(frames, task, name, runs, kind="excursion", direction=direction)
        for name, direction in ASKED[task].items()
    ]
    if task in (Task.SMILE, Task.LOWER_TEETH) and "dental_show_right" in frames.columns:
        measures.append(sided_measure(frames, task, "dental_show", runs, kind="excursion", direction=1, unit=AREA_UNIT))
    return measures


def sided_measure(
    frames: Frames,
    task: Task,
    measure: str,
    runs: Sequence[tuple[int, int]],
    *,
    kind: str,
    direction: int,
    unit: str = UNIT,
) -> Measure:
    """Return the mean excursion of a measure over the repetitions of an exercise, with its uncertainty.

    ``difference`` is right − left, ``ratio`` the smaller excursion over the larger one, ``symmetry_index``
    (right − left) / (right + left): 0 is even, 1 means that only the right side moves, −1 only the left one. Excursions against
    the direction of the exercise count as 0 in the ratio and in the index.
    """
    if frames.num_at_rest == 0:
        return Measure(task=task, measure=measure, kind=kind, unit=unit, reason=_NO_REST)
    found = [excursion_of(frames, measure, direction, first, last) for first, last in runs]
    right, left = (float(np.mean([excursion.sides[number] for excursion in found])) for number in (0, 1))
    larger, smaller = max(right, left, 0.0), max(min(right, left), 0.0)
    stated = larger >= SMALLEST_FOR_RATIO
    total = max(right, 0.0) + max(left, 0.0)
    speeds = [excursion.speeds for excursion in found if excursion.speeds is not None]
    correlations = [excursion.correlation for excursion in found if excursion.correlation is not None]
    error = _error(frames, measure, found)
    scale = frames.eye_distance_mm if unit == UNIT else None
    return Measure(
        task=task,
        measure=measure,
        kind=kind,
        unit=unit,
        right=right,
        left=left,
        right_mm=None if scale is None else right * scale,
        left_mm=None if scale is None else left * scale,
        difference=right - left,
        ratio=smaller / larger if stated else None,
        symmetry_index=(max(right, 0.0) - max(left, 0.0)) / total if stated else None,
        speed_right=float(np.mean([pair[0] for pair in speeds])) if speeds else None,
        speed_left=float(np.mean([pair[1] for pair in speeds])) if speeds else None,
        correlation=float(np.mean(correlations)) if correlations else None,
        standard_error=error,
        smallest_detectable_change=None if error is None else smallest_detectable_change(error),
        num_frames=sum(last + 1 - first for first, last in runs),
        num_repetitions=len(runs),
    )


def runs_of(exercises: Sequence[Exercise], task: Task, position: Mapping[int, int]) -> list[tuple[int, int]]:
    """Return the repetitions of an exercise as first and last frame among the usable ones."""
    return [
        (position[exercise.first], position[exercise.last])
        for exercise in exercises
        if exercise.performed and exercise.task == task
    ]


def _error(frames: Frames, measure: str, found: Sequence[Excursion]) -> float | None:
    """Return the standard error of an excursion: that of repetitions if there are any, else that of single frames.

    Repetitions contain the noise of frames, so that the larger of the two is taken.
    """
    by_noise = [frames.noise(f"{measure}_{side}") for side in SIDES]
    num_peak = min(excursion.num_peak_frames for excursion in found)
    from_frames = pooled(
        [None if noise is None else excursion_error(noise, num_peak, frames.num_at_rest) for noise in by_noise]
    )
    by_side = [repetition_error([excursion.sides[number] for excursion in found]) for number in (0, 1)]
    errors = [error for error in (from_frames, pooled(by_side)) if error is not None]
    return max(errors) / float(np.sqrt(len(found))) if errors else None


def _rest_measure(frames: Frames, name: str) -> Measure:
    if frames.num_at_rest == 0:
        return Measure(task=Task.REST, measure=name, kind="rest", unit=UNIT, reason=_NO_REST)
    right, left = (frames.levels[f"{name}_{side}"] for side in SIDES)
    noise = pooled([frames.noise(f"{name}_{side}") for side in SIDES])
    error = None if noise is None else median_error(noise, frames.num_at_rest)
    scale = frames.eye_distance_mm
    return Measure(
        task=Task.REST,
        measure=name,
        kind="rest",
        unit=UNIT,
        right=right,
        left=left,
        right_mm=None if scale is None else right * scale,
        left_mm=None if scale is None else left * scale,
        difference=right - left,
        standard_error=error,
        smallest_detectable_change=None if error is None else smallest_detectable_change(error),
        num_frames=frames.num_at_rest,
        num_repetitions=1,
    )
