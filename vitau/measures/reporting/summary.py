"""Findings of a measurement, in the order of importance: differences beyond their uncertainty, and what is not measurable."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

from vitau.measures.reporting.words import exceeds, measure_words
from vitau.measures.results import TASK_WORDS, Measure, Recording, Task

MOST_FINDINGS: Final = 6
PATTERN_CAVEAT: Final = (
    "The forehead moves evenly in a central palsy and also in many mild peripheral ones, and in people who cannot frown well. "
    "This flag never excludes a stroke."
)


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


def not_performed(recording: Recording) -> list[str]:
    """Return the exercises that were not found, in words."""
    shown = {exercise.task for exercise in recording.exercises if exercise.performed}
    return [TASK_WORDS[task] for task in Task if task not in shown]


def by_task(recording: Recording) -> Mapping[Task, Sequence[Measure]]:
    """Return the measures of each exercise, in the order of an examination; exercises without a measure are left out."""
    return {
        task: measures for task in Task if (measures := [measure for measure in recording.measures if measure.task is task])
    }


def _clearness(measure: Measure) -> float:
    return abs(measure.difference or 0.0) / max(measure.smallest_detectable_change or 0.0, 1e-9)
