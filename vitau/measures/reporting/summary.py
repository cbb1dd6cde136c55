"""Findings of a measurement, in the order of importance: differences beyond their uncertainty, and what is not measurable."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

from vitau.measures.analysis import FEWEST_FOR_MOVEMENT
from vitau.measures.reporting.words import exceeds, measure_words, percent, span
from vitau.measures.results import TASK_WORDS, Exercise, Measure, Recording, Task

MOST_FINDINGS: Final = 6
MOST_TIMES: Final = 4
"""Repetitions whose times are shown."""


def findings(recording: Recording) -> list[Measure]:
    """Return the measures whose sides differ by more than the smallest detectable change, the clearest first.

    Levels at rest and movements that an exercise asks for are compared; synkinesis has its own list.
    """
    found = [measure for measure in recording.measures if measure.kind != "synkinesis" and exceeds(measure)]
    return sorted(found, key=_clearness, reverse=True)[:MOST_FINDINGS]


def synkinesis(recording: Recording) -> list[Measure]:
    """Return the movements of regions that the exercise does not ask for, where the sides differ detectably."""
    found = [measure for measure in recording.measures if measure.kind == "synkinesis" and exceeds(measure)]
    return sorted(found, key=_clearness, reverse=True)[:MOST_FINDINGS]


def larger_side(measure: Measure) -> str | None:
    """Return the side with the larger value, as a word."""
    if measure.right is None or measure.left is None:
        return None
    return "right" if measure.right > measure.left else "left"


def not_measurable(recording: Recording) -> Mapping[str, Sequence[str]]:
    """Return what could not be measured: reason → measures with their exercise."""
    reasons: dict[str, list[str]] = defaultdict(list)
    for measure in recording.measures:
        if measure.reason is not None:
            reasons[measure.reason].append(f"{measure_words(measure.measure)}, {TASK_WORDS[measure.task]}")
    return reasons


def performances(recording: Recording) -> Mapping[Task, str]:
    """Return when each exercise was performed, and how its name is known, in words; exercises that were not are left out."""
    found: dict[Task, list[Exercise]] = defaultdict(list)
    for exercise in recording.exercises:
        if exercise.performed:
            found[exercise.task].append(exercise)
    return {task: _performance(exercises, len(recording.series)) for task, exercises in found.items()}


def _performance(exercises: Sequence[Exercise], num_frames: int) -> str:
    times = ", ".join(span(exercise.start_s, exercise.end_s) for exercise in exercises[:MOST_TIMES])
    more = f" and {len(exercises) - MOST_TIMES} more times" if len(exercises) > MOST_TIMES else ""
    if num_frames < FEWEST_FOR_MOVEMENT:
        return f"{times}{more} · taken for rest unless the manifest names it: too few frames show no movement"
    if all(exercise.from_manifest for exercise in exercises):
        return f"{times}{more} · named by the manifest"
    sure = [exercise.confidence for exercise in exercises]
    low, high = percent(min(sure)), percent(max(sure))
    return f"{times}{more} · recognized, confidence {low if low == high else f'{low} to {high}'}"


def comparison_words(measure: Measure) -> str:
    """Return what the side with the larger value is, in words: a height at rest is higher, a movement is larger."""
    if measure.kind == "rest":
        return "higher" if measure.measure.endswith("_height") else "larger"
    return "more movement"


def by_task(recording: Recording) -> Mapping[Task, Sequence[Measure]]:
    """Return the measures of each exercise, in the order of an examination; exercises without a measure are left out."""
    return {
        task: measures for task in Task if (measures := [measure for measure in recording.measures if measure.task is task])
    }


def _clearness(measure: Measure) -> float:
    return abs(measure.difference or 0.0) / max(measure.smallest_detectable_change or 0.0, 1e-9)
