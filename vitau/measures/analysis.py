"""Analysis of a series: exercises, measures per exercise, and what they say about the person."""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vitau.measures.asymmetry import movement_asymmetry
from vitau.measures.exercises.naming import name_frames
from vitau.measures.exercises.segments import UsableFrames, find_exercises
from vitau.measures.geometry import SIDES, column_names, working_names
from vitau.measures.movement.excursion import Frames, movement_measures, rest_measures, runs_of
from vitau.measures.movement.pattern import forehead_pattern
from vitau.measures.movement.synkinesis import synkinesis_measures
from vitau.measures.results import ASKED, Exercise, Measure, PersonResult, Series, Task
from vitau.measures.weakness.model import weakness_model
from vitau.measures.weakness.signs import measure_signs

FEWEST_FOR_MOVEMENT: Final = 4
"""Usable frames from which movement is measured; with fewer, frames without a stated exercise count as rest."""
NO_USABLE_FRAME: Final = "no usable frame: the head is turned, or the picture is too small, dark, bright or blurred"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Analysis:
    """The series with the exercise of each frame, the exercises, their measures, and the person."""

    series: Series
    exercises: tuple[Exercise, ...]
    measures: tuple[Measure, ...]
    person: PersonResult


def analyze(series: Series) -> Analysis:
    """Analyze a series; its ``task`` holds what a manifest states."""
    positions = np.flatnonzero(series.usable)
    if not len(positions):
        missing = tuple(Exercise(task=task, performed=False, confidence=1.0) for task in Task)
        person = PersonResult(asymmetry=None, side=None, side_probability=None)
        reason = Measure(task=Task.REST, measure="brow_height", kind="rest", unit="eye distance", reason=NO_USABLE_FRAME)
        return Analysis(series=series, exercises=missing, measures=(reason,), person=person)
    usable = _usable_frames(series, positions)
    known_rest = np.array([task is Task.REST for task in usable.stated])
    named = name_frames(usable.columns, known_rest, usable.time_s)
    tasks, exercises = find_exercises(usable, named)
    frames = Frames(
        columns=usable.columns,
        time_s=usable.time_s,
        levels=named.levels,
        is_rest=np.array([task is Task.REST for task in tasks]),
        eye_distance_mm=series.eye_distance_mm,
    )
    numbers = {int(position): number for number, position in enumerate(positions)}
    by_position = dict(zip(positions.tolist(), tasks, strict=True))
    return Analysis(
        series=replace(series, task=tuple(by_position.get(number, series.task[number]) for number in range(len(series)))),
        exercises=tuple(exercises),
        measures=tuple(_measures(frames, exercises, numbers)),
        person=_person(frames, brows_raised=bool(runs_of(exercises, Task.BROW_RAISE, numbers))),
    )


def _usable_frames(series: Series, positions: NDArray[np.int64]) -> UsableFrames:
    stated = [series.task[position] for position in positions]
    if len(positions) < FEWEST_FOR_MOVEMENT:
        stated = [task or Task.REST for task in stated]
    names = (*column_names(), *working_names(), *_dental_columns(series))
    return UsableFrames(
        positions=positions,
        columns={name: series.columns[name][positions] for name in names},
        time_s=series.time_s[positions],
        part=series.part[positions],
        stated=tuple(stated),
    )


def _dental_columns(series: Series) -> list[str]:
    """Return the columns of the teeth, unless a frame is too small to show them."""
    names = [f"dental_show_{side}" for side in SIDES]
    return names if all(name in series.columns and np.isfinite(series.columns[name]).all() for name in names) else []


def _measures(frames: Frames, exercises: list[Exercise], position: dict[int, int]) -> list[Measure]:
    measures = rest_measures(frames)
    for task in ASKED:
        runs = runs_of(exercises, task, position)
        if runs:
            measures += movement_measures(frames, task, runs)
            measures += synkinesis_measures(frames, task, runs)
    return measures


def _person(frames: Frames, *, brows_raised: bool) -> PersonResult:
    asymmetry, signs = movement_asymmetry(frames.columns, frames.time_s), measure_signs(frames.columns, frames.time_s)
    if asymmetry is None or signs is None:
        return PersonResult(asymmetry=None, side=None, side_probability=None)
    weakness = weakness_model().judge(signs)
    pattern = forehead_pattern(weakness, asymmetry, brows_raised=brows_raised)
    return PersonResult(
        asymmetry=asymmetry,
        side=weakness.side,
        side_probability=weakness.side_probability,
        forehead_spared=pattern.forehead_spared,
        pattern=pattern.name,
    )
