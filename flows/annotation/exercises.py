"""The exercises of a person's clips by the stored measures: the frame that shows rest, and the strongest of each exercise."""

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vitau.catalog.catalog import FrameTable
from vitau.data import layout
from vitau.errors import ChecksumError, ObjectNotFoundError
from vitau.measures.analysis import Analysis, analyze
from vitau.measures.exercises.segments import SMALLEST_MOVEMENT, asked_movement
from vitau.measures.geometry import SIDES, Floats
from vitau.measures.results import ASKED, Exercise, Series, Task
from vitau.measures.stored import join_series, measures_version, read_measures
from vitau.store import Store

FACIAL_TASKS: Final = (Task.BROW_RAISE, Task.EYE_CLOSURE, Task.SNARL, Task.SMILE, Task.LIP_PUCKER, Task.JAW_OPENING)
_OTHERS: Final = (Task.EYE_CLOSURE_TIGHT, Task.LOWER_TEETH)
_ORDER: Final = (Task.REST, *FACIAL_TASKS, *_OTHERS)
"""Rest and the facial tasks of the study, then the exercises for which a page may have no picture left."""
_TIGHT_FIRST: Final = (Task.REST, Task.BROW_RAISE, Task.EYE_CLOSURE_TIGHT, *FACIAL_TASKS[2:], Task.LOWER_TEETH)
_MEASURED: Final = frozenset(f"{measure}_{side}" for task in FACIAL_TASKS for measure in ASKED[task] for side in SIDES)


def exercise_frames(store: Store, tables: Iterable[FrameTable]) -> dict[str, Task]:
    """Return the frame that shows each performed exercise best → the exercise: rest first, then in the order of the study.

    Clips that were ingested before measures were stored, and damaged measures, are left out: their pictures are then chosen
    by landmarks alone.

    Args:
        store: the objects.
        tables: the frame tables of one person.
    """
    clips, series = [], []
    for table in tables:
        try:
            found = read_measures(store, layout.measures_key(table.key, measures_version()))
        except (ObjectNotFoundError, ChecksumError):
            continue
        if found is not None:
            clips.append(table.clip)
            series.append(found)
    return named_frames(clips, analyze(join_series("", series))) if series else {}


def named_frames(clips: Sequence[str], analysis: Analysis) -> dict[str, Task]:
    """Return frame name → exercise of an analysis of joined clips, in the order of the study."""
    series = analysis.series
    best = best_frames(analysis)
    return {layout.frame_name(clips[int(series.part[at])], int(series.frame_index[at])): task for task, at in best.items()}


def best_frames(analysis: Analysis) -> dict[Task, int]:
    """Return exercise → position in the series of the frame that shows it best, in the order of the study.

    Of several repetitions the longest and surest counts. A facial task that no name was found for is shown by the frame that
    moves most as it asks, among those without another name: half a second of closed eyes is named a blink. Rest is shown
    between two frames of rest, if there are such: the first frame of a movement looks like rest.
    """
    series = analysis.series
    named = {task: _peak(found, series) for task in Task if (found := _best(task, analysis.exercises)) is not None}
    free_N = series.usable & np.array([task in {None, Task.REST} for task in series.task])
    moved = {task: asked_movement(series.columns, _levels(series), task) for task in FACIAL_TASKS}
    if not free_N.any():
        return {task: named[task] for task in _ORDER if task in named}
    unrest_N = np.sum([_unrest(moved[task], series.usable, free_N) for task in FACIAL_TASKS], axis=0)
    inside_N = free_N & (_neighbors(free_N.astype(np.float64), series).min(axis=0) > 0)
    rest = int(np.where(inside_N if inside_N.any() else free_N, _neighborly(unrest_N, series), np.inf).argmin())
    named[Task.REST] = rest
    for task in FACIAL_TASKS:
        strongest = int(np.where(free_N, _lasting(moved[task], series), -np.inf).argmax())
        if (
            task not in named
            and moved[task][strongest] - moved[task][rest] > SMALLEST_MOVEMENT
            and strongest not in named.values()
        ):
            named[task] = strongest
    order = _ORDER if Task.EYE_CLOSURE in named else _TIGHT_FIRST
    return {task: named[task] for task in order if task in named}


def _best(task: Task, exercises: Iterable[Exercise]) -> Exercise | None:
    """Return the longest and surest repetition of an exercise: a single misnamed frame may have a high probability."""
    performed = [exercise for exercise in exercises if exercise.performed and exercise.task is task]
    return max(performed, key=lambda found: (found.last - found.first + 1) * found.confidence, default=None)


def _peak(found: Exercise, series: Series) -> int:
    """Return the frame that shows an exercise best; of a closure not a blink at its end, which closes the eyes more."""
    if found.task not in {Task.EYE_CLOSURE, Task.EYE_CLOSURE_TIGHT}:
        return found.peak
    lasting_N = _lasting(asked_movement(series.columns, _levels(series), found.task), series)
    return found.first + int(lasting_N[found.first : found.last + 1].argmax())


def _levels(series: Series) -> dict[str, float]:
    return {name: float(np.nanmedian(values[series.usable])) for name, values in series.columns.items() if name in _MEASURED}


def _unrest(moved_N: Floats, usable_N: NDArray[np.bool_], free_N: NDArray[np.bool_]) -> Floats:
    """Return how far a movement is from its lowest and from its median at rest, as shares of its range."""
    lowest, highest = moved_N[usable_N].min(), moved_N[usable_N].max()
    from_median_N = np.abs(moved_N - np.median(moved_N[free_N]))
    return (moved_N - lowest + from_median_N) / max(highest - lowest, SMALLEST_MOVEMENT)


def _neighbors(values_N: Floats, series: Series) -> Floats:
    """Return each value with those of the frames before and after in the same clip, (3, N); at an end one neighbor twice."""
    same_N = series.part[1:] == series.part[:-1]
    has_before_N, has_after_N = np.append(False, same_N), np.append(same_N, False)
    before_N, after_N = np.roll(values_N, 1), np.roll(values_N, -1)
    return np.stack(
        [
            np.where(has_before_N, before_N, np.where(has_after_N, after_N, values_N)),
            values_N,
            np.where(has_after_N, after_N, np.where(has_before_N, before_N, values_N)),
        ]
    )


def _neighborly(values_N: Floats, series: Series) -> Floats:
    """Return each value, or the mean with its neighbors where that is more: beside a movement nobody is at rest."""
    mean_N: Floats = _neighbors(values_N, series).mean(axis=0)
    return np.maximum(values_N, mean_N)


def _lasting(moved_N: Floats, series: Series) -> Floats:
    """Return the movement as far as a neighbor has it too: a blink lasts one frame."""
    return np.minimum(moved_N, np.median(_neighbors(moved_N, series), axis=0))
