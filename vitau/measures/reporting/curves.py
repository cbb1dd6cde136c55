"""Curves of the two sides over time, as points of small plots with the exercises shaded."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vitau.measures.geometry import Floats
from vitau.measures.reporting.words import SHORT_TASKS, measure_words
from vitau.measures.results import TASK_WORDS, Recording, Series

SHOWN: Final = (
    "brow_height",
    "lid_gap",
    "nasal_wing_height",
    "lip_corner_height",
    "lip_corner_lateral",
    "lower_lip_height",
)
"""Measures with a curve, from the forehead to the chin."""
WIDTH: Final = 440.0
HEIGHT: Final = 150.0
"""Size of the plot inside its axes, in units of the SVG."""
MOST_POINTS: Final = 400
"""Longer curves show the lowest and the highest point of each of half as many spans."""
_LEAST_SPAN: Final = 0.06  # of an axis, in eye distances: so that noise at rest does not fill the plot
_STEPS: Final = (1.0, 2.0, 5.0, 10.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Band:
    """The time range of an exercise in a plot: left edge and width, with its short and its long name."""

    x: float
    width: float
    short: str
    long: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Curve:
    """One measure over time.

    ``right`` and ``left`` are the person's own sides: points of polylines, ``"x,y x,y"``, one for each stretch without a gap.
    ``ticks`` are (position, text) of the value axis.
    """

    measure: str
    title: str
    right: tuple[str, ...]
    left: tuple[str, ...]
    ticks: tuple[tuple[float, str], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Curves:
    """The curves of one recording on one time axis; ``times`` are (position, text) of its ticks."""

    curves: tuple[Curve, ...]
    bands: tuple[Band, ...]
    times: tuple[tuple[float, str], ...]


def draw_curves(recording: Recording, measures: tuple[str, ...] = SHOWN) -> Curves | None:
    """Return the curves of a recording, or ``None`` if fewer than two frames at different times were measured."""
    series = recording.series
    used_N = series.usable
    if used_N.sum() < 2:
        return None
    time_N = elapsed(series.time_s)
    start_s, end_s = float(time_N[0]), float(time_N[-1])
    per_s = WIDTH / (end_s - start_s)
    bands = tuple(
        Band(
            x=(time_N[exercise.first] - start_s) * per_s,
            width=max((time_N[exercise.last] - time_N[exercise.first]) * per_s, 1.0),
            short=SHORT_TASKS[exercise.task],
            long=TASK_WORDS[exercise.task],
        )
        for exercise in recording.exercises
        if exercise.performed
    )
    curves = tuple(
        _curve(series, measure, time_N)
        for measure in measures
        if f"{measure}_right" in series.columns and np.isfinite(series.columns[f"{measure}_right"][used_N]).any()
    )
    times = tuple(((time_s - start_s) * per_s, f"{time_s:g} s") for time_s in nice_ticks(start_s, end_s, 5))
    return Curves(curves=curves, bands=bands, times=times)


def elapsed(time_s: Floats) -> Floats:
    """Return increasing times (N,) in s: those of the parts of an input, such as its photos, follow one another."""
    steps = np.diff(time_s, prepend=time_s[:1])
    usual = float(np.median(steps[1:][steps[1:] > 0])) if (steps[1:] > 0).any() else 1.0
    steps[1:] = np.where(steps[1:] > 0, steps[1:], usual)
    return time_s[0] + np.cumsum(steps)


def _curve(series: Series, measure: str, time_N: Floats) -> Curve:
    right_N, left_N = (np.where(series.usable, series.columns[f"{measure}_{side}"], np.nan) for side in ("right", "left"))
    finite = np.concatenate([right_N, left_N])
    finite = finite[np.isfinite(finite)]
    low, high = float(finite.min()), float(finite.max())
    spare = max(_LEAST_SPAN - (high - low), 0.1 * (high - low)) / 2
    low, high = low - spare, high + spare
    x_N = (time_N - time_N[0]) * (WIDTH / (time_N[-1] - time_N[0]))
    breaks_N = _gaps(series.time_s)

    def line(values_N: Floats) -> tuple[str, ...]:
        return polylines(x_N, HEIGHT * (high - values_N) / (high - low), breaks_N)

    ticks = tuple(
        (HEIGHT * (high - value) / (high - low), f"{value:.2f}".replace("-", "−")) for value in nice_ticks(low, high, 3)
    )
    return Curve(measure=measure, title=measure_words(measure), right=line(right_N), left=line(left_N), ticks=ticks)


def _gaps(time_s: Floats) -> NDArray[np.bool_]:
    """Return before which frames (N,) a curve is interrupted: frames are missing, or another part of the input begins."""
    steps = np.diff(time_s)
    return np.concatenate([[True], (steps > 2.5 * np.median(np.abs(steps))) | (steps <= 0)])


def polylines(x_N: Floats, y_N: Floats, breaks_N: NDArray[np.bool_]) -> tuple[str, ...]:
    """Return the points of a curve as text, one for each stretch; NaN and breaks interrupt it.

    A stretch of one point has it twice, so that a round line cap shows it.
    """
    known_N = np.isfinite(y_N)
    starts_N = known_N & (breaks_N | ~np.concatenate([[False], known_N[:-1]]))
    stretches = np.split(np.arange(len(x_N))[known_N], np.flatnonzero(starts_N[known_N])[1:])
    texts = []
    for stretch in stretches:
        if len(stretch):
            kept = _thinned(y_N, stretch)
            points = [f"{x_N[i]:.1f},{y_N[i]:.1f}" for i in kept]
            texts.append(" ".join(points if len(points) > 1 else points * 2))
    return tuple(texts)


def _thinned(y_N: Floats, stretch: NDArray[np.int64]) -> list[int]:
    if len(stretch) <= MOST_POINTS:
        return stretch.tolist()
    kept: list[int] = []
    for part in np.array_split(stretch, MOST_POINTS // 2):
        ends = {int(part[np.argmin(y_N[part])]), int(part[np.argmax(y_N[part])])}
        kept += sorted(ends)
    return kept


def nice_ticks(low: float, high: float, wanted: int) -> list[float]:
    """Return round numbers from ``low`` to ``high``, about ``wanted`` of them."""
    rough = (high - low) / wanted
    power = 10.0 ** np.floor(np.log10(rough))
    step = float(next(factor for factor in _STEPS if factor * power >= rough * 0.999) * power)
    first = int(np.ceil(low / step - 1e-9))
    last = int(np.floor(high / step + 1e-9))
    return [round(number * step, 10) for number in range(first, last + 1)]
