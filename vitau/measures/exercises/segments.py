"""Segments of a recording: runs of frames of one exercise, their peaks, and the exercises that were not performed."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vitau.measures.exercises.naming import NamedFrames
from vitau.measures.geometry import SIDES, Floats
from vitau.measures.results import ASKED, Exercise, Task

SMALLEST_MOVEMENT: Final = 0.012
"""Movement of the side that moves more, in distances between the eyes, below which a run is rest."""

_CLOSURES: Final = frozenset({Task.EYE_CLOSURE, Task.EYE_CLOSURE_TIGHT})


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class UsableFrames:
    """The usable frames of a series: their positions in it, measures, times, parts, and stated exercises, (N,) each.

    ``stated`` is the exercise that a manifest states, ``None`` without a statement.
    """

    positions: NDArray[np.int64]
    columns: Mapping[str, Floats]
    time_s: Floats
    part: NDArray[np.int64]
    stated: tuple[Task | None, ...]

    @property
    def period_s(self) -> float:
        """Time between two frames, s; 0 for one frame."""
        steps = np.diff(self.time_s)
        steps = steps[steps > 0]
        return float(np.median(steps)) if len(steps) else 0.0


def find_exercises(frames: UsableFrames, named: NamedFrames) -> tuple[list[Task | None], list[Exercise]]:
    """Find the exercises of a recording; a manifest's statement goes before the name by movement.

    Returns:
        The exercise of each usable frame (N,), and the exercises in order of time, then those that were not performed.
    """
    tasks = [stated or _task(name) for stated, name in zip(frames.stated, named.names, strict=True)]
    _unite_closures(tasks, frames, named)
    _demote(tasks, frames, named)
    exercises = [_exercise(task, first, last, frames, named) for task, first, last in _runs(tasks, frames) if task is not None]
    performed = {exercise.task for exercise in exercises}
    missing = [Exercise(task=task, performed=False, confidence=1.0) for task in Task if task not in performed]
    return tasks, [*exercises, *missing]


def asked_movement(columns: Mapping[str, Floats], levels: Mapping[str, float], task: Task) -> Floats:
    """Return how far the side that moves more has moved as an exercise asks, (N,), in distances between the eyes."""
    moved: Floats = np.zeros(len(next(iter(columns.values()))))
    for measure, direction in ASKED[task].items():
        sides = [direction * (columns[f"{measure}_{side}"] - levels[f"{measure}_{side}"]) for side in SIDES]
        moved = moved + np.maximum(*sides)
    return moved


def _task(name: str) -> Task | None:
    return Task(name) if name in tuple(Task) else None


def _exercise(task: Task, first: int, last: int, frames: UsableFrames, named: NamedFrames) -> Exercise:
    is_stated = frames.stated[first] is not None
    own = slice(first, last + 1)
    peak = (first + last) // 2
    if task in ASKED:
        own_columns = {name: values[own] for name, values in frames.columns.items()}
        peak = first + int(asked_movement(own_columns, named.levels, task).argmax())
    return Exercise(
        task=task,
        performed=True,
        confidence=1.0 if is_stated else float(named.probabilities[own].mean()),
        first=int(frames.positions[first]),
        last=int(frames.positions[last]),
        peak=int(frames.positions[peak]),
        start_s=float(frames.time_s[first]),
        end_s=float(frames.time_s[last]),
        from_manifest=is_stated,
    )


def _unite_closures(tasks: list[Task | None], frames: UsableFrames, named: NamedFrames) -> None:
    """Call a run of gentle and tight closure by the more probable of the two names: no closure is half tight."""
    first = 0
    pairs = zip(tasks, frames.stated, strict=True)
    for is_closure, members in groupby([task in _CLOSURES and stated is None for task, stated in pairs]):
        last = first + len(list(members))
        if is_closure:
            tight_N = np.array([task is Task.EYE_CLOSURE_TIGHT for task in tasks[first:last]])
            signed = np.where(tight_N, 1, -1) @ named.probabilities[first:last]
            tasks[first:last] = [Task.EYE_CLOSURE_TIGHT if signed > 0 else Task.EYE_CLOSURE] * (last - first)
        first = last


def _demote(tasks: list[Task | None], frames: UsableFrames, named: NamedFrames) -> None:
    """Count movements within the noise as rest, unless a manifest states the exercise."""
    for task, first, last in list(_runs(tasks, frames)):
        if task is None or task not in ASKED or frames.stated[first] is not None:
            continue
        own = slice(first, last + 1)
        if asked_movement(frames.columns, named.levels, task)[own].max() < SMALLEST_MOVEMENT:
            tasks[own] = [Task.REST] * (last + 1 - first)


def _runs(tasks: list[Task | None], frames: UsableFrames) -> Iterator[tuple[Task | None, int, int]]:
    """Yield the exercise, the first and the last frame of each run within a part."""
    first = 0
    for (task, _, _), members in groupby(
        zip(tasks, [stated is not None for stated in frames.stated], frames.part.tolist(), strict=True)
    ):
        last = first + len(list(members)) - 1
        yield task, first, last
        first = last + 1
