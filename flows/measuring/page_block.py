"""The measures that the labeling page shows about a person, in words and numbers."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from typing import Final

from flows.measuring.people import PersonMeasures, people_measures
from flows.workspace import Workspace
from labeling.interface.measure_block import MeasureBlock, MeasureSection
from vitau.measures.analysis import Analysis
from vitau.measures.landmarks.stated import stated_flattening
from vitau.measures.reporting.words import exceeds, measure_words, number, percent, signed
from vitau.measures.results import ASKED, TASK_WORDS, Exercise, Measure, PersonResult, Task
from vitau.measures.stored import BACKEND, measures_version
from vitau.schema import case_name, person_of

COLUMNS: Final = ("", "Right", "Left", "Ratio")
AT_REST: Final = ("brow_height", "lid_gap", "nasal_wing_height", "lip_corner_height", "lip_corner_lateral")
"""Levels at rest that the page shows."""
DETECTABLE: Final = "*"
"""Marks a measure whose sides differ by more than the smallest detectable change."""


def measure_blocks(workspace: Workspace, subjects: Collection[str]) -> dict[str, MeasureBlock]:
    """Return what the page shows about each case, the measures of that visit; cases without stored measures are left out.

    Args:
        workspace: the rows and the objects.
        subjects: names of cases, see :mod:`vitau.schema.visits`.

    Raises:
        StoreError: the measures cannot be read.
    """
    measured = people_measures(workspace, set(map(person_of, subjects))) if subjects else {}
    blocks = {
        case: measure_block(at_visit(measured[person_of(case)], case)) for case in subjects if person_of(case) in measured
    }
    return {case: block for case, block in sorted(blocks.items()) if block.sections}


def at_visit(person: PersonMeasures, case: str) -> PersonMeasures:
    """Return the measures of a person at the visit of a case."""
    visits = tuple(own for own in person.visits if case_name(person.subject, own.visit.name) == case)
    return replace(person, visits=visits)


def measure_block(person: PersonMeasures) -> MeasureBlock:
    """Return the measures of a person as text, by visit; the page counts visits, and names none."""
    analyses = [visit.analysis for visit in person.visits if visit.analysis is not None]
    return MeasureBlock(
        version=measures_version(),
        sections=tuple(map(measure_section, analyses)),
        notes=(*person.notes, *_caveats()),
    )


def measure_section(analysis: Analysis) -> MeasureSection:
    """Return the measures of a visit as text: side, performed exercises, levels at rest, and what is missing."""
    return MeasureSection(
        summary=tuple(_summary(analysis.person)),
        columns=COLUMNS,
        groups=tuple(_groups(analysis.measures)),
        notes=(*_absent(analysis.exercises), *_not_measurable(analysis.measures)),
    )


def _summary(person: PersonResult) -> Iterator[str]:
    if person.asymmetry is None or person.side is None:
        yield "Asymmetry of movement and the weaker side are not measurable here."
        return
    yield f"Asymmetry of movement: {number(person.asymmetry, 2)} (0 is equal movement)."
    yield f"Weaker: the person’s {person.side} side, with a probability of {percent(person.side_probability)}."


def _groups(measures: Sequence[Measure]) -> Iterator[tuple[str, tuple[tuple[str, ...], ...]]]:
    """Yield the exercises with their excursions, then the levels at rest; what is not measurable is left out."""
    for task in ASKED:
        asked = [measure for measure in measures if _is_asked(measure) and measure.task is task and measure.measurable]
        if asked:
            yield TASK_WORDS[task].capitalize(), tuple(_moved(measure) for measure in asked)
    rest = {measure.measure: measure for measure in measures if measure.kind == "rest" and measure.measurable}
    levels = [rest[name] for name in AT_REST if name in rest]
    if levels:
        yield "At rest", tuple(_level(measure) for measure in levels)


def _is_asked(measure: Measure) -> bool:
    """Return whether a measure is a movement that its exercise asks for; dental show, in another unit, is not."""
    return measure.kind == "excursion" and measure.measure in ASKED.get(measure.task, {})


def _named(measure: Measure) -> str:
    """Return the name of a measure, marked if its sides differ by more than their uncertainty."""
    return measure_words(measure.measure) + (f" {DETECTABLE}" if exceeds(measure) else "")


def _moved(measure: Measure) -> tuple[str, ...]:
    return _named(measure), signed(measure.right), signed(measure.left), number(measure.ratio, 2)


def _level(measure: Measure) -> tuple[str, ...]:
    return _named(measure), number(measure.right), number(measure.left), ""


def _absent(exercises: Sequence[Exercise]) -> Iterator[str]:
    """Yield the exercises that were not found as one sentence."""
    absent = [TASK_WORDS[exercise.task] for exercise in exercises if not exercise.performed]
    if absent:
        yield f"Not found in the recordings: {', '.join(absent)}."


def _not_measurable(measures: Sequence[Measure]) -> Iterator[str]:
    """Yield a sentence per reason; where nothing of an exercise is measurable, the exercise alone is named."""
    shown = [measure for measure in measures if _is_asked(measure) or (measure.kind == "rest" and measure.measure in AT_REST)]
    missing: dict[str, dict[Task, list[str]]] = defaultdict(lambda: defaultdict(list))
    for measure in shown:
        if measure.reason is not None:
            missing[measure.reason][measure.task].append(measure_words(measure.measure))
    measured = {measure.task for measure in shown if measure.measurable}
    for reason, by_task in missing.items():
        names = (TASK_WORDS[task] + (f" ({', '.join(parts)})" if task in measured else "") for task, parts in by_task.items())
        yield f"Not measurable, {reason}: {', '.join(names)}."


def _caveats() -> Iterator[str]:
    yield (
        "Numbers are distances between the eyes. A movement is the change from rest to the peak; its ratio is the smaller side "
        f"over the larger. {DETECTABLE} marks sides that differ by more than the smallest detectable change."
    )
    yield "Everybody has a weaker side: it does not say that a palsy is there."
    yield "Measures come from landmarks and may be wrong: believe the pictures."
    flattening = stated_flattening(BACKEND)
    if flattening is not None:
        kept = ", ".join(f"{percent(share.slope)} ({measure_words(name)})" for name, share in flattening.kept.items())
        yield f"Of a true difference between the sides of drawn people they keep {kept}. With patients it may be less."
