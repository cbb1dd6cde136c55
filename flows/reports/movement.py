"""Movement of people for the scoring report: from the stored measures to words and numbers."""

import os
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

from flows.measuring.people import PersonMeasures, measure_keys, measured_clips, read_person
from flows.workspace import Workspace
from vitau.measures.analysis import NO_USABLE_FRAME, Analysis
from vitau.measures.landmarks.backend import FLATTENED
from vitau.measures.landmarks.stated import stated_flattening
from vitau.measures.movement.pattern import ASYMMETRIC_FROM, CAVEAT
from vitau.measures.reporting.words import exceeds, measure_words
from vitau.measures.results import ASKED, TASK_WORDS, Task
from vitau.measures.stored import BACKEND
from vitau.preloading import is_preloading
from vitau.processes import parallel_map, single_threaded
from vitau.schema import Clip
from vitau.scoring.movement import MeasuredExercise, MeasuredSides, MeasuredVisit, MeasuringMethod
from vitau.scoring.report import ReportedSubject
from vitau.store import Store, open_store

PATTERN_WORDS: Final[Mapping[str, str]] = {
    "central": "central, the forehead is spared",
    "peripheral": "peripheral, the forehead is affected",
}
"""Patterns that a report names; the others say nothing more than the asymmetry does."""
AT_REST: Final = ("brow_height", "lid_gap", "nasal_wing_height", "lip_corner_height", "lip_corner_lateral")
"""Measures that a report shows at rest; the tables of `python -m flows measures` have them all."""
NO_VISIT: Final = "no recording of this visit has measures"
TOO_FEW_FRAMES: Final = "too few frames show movement"


def add_movement(workspace: Workspace, subjects: Sequence[ReportedSubject]) -> list[ReportedSubject]:
    """Return the people of a report with their movement."""
    measured = measured_movement(workspace, {subject.name for subject in subjects})
    return [replace(subject, measured=measured.get(subject.name, [])) for subject in subjects]


def measured_movement(workspace: Workspace, subjects: Collection[str]) -> dict[str, list[MeasuredVisit]]:
    """Return the movement of people: of all recordings, then of each visit if there are several; the withdrawn are missing."""
    keys = measure_keys(workspace)
    clips = measured_clips(workspace, keys, subjects)
    people = [(subject, own, {clip.sha256: keys[clip.sha256] for clip in own}) for subject, own in clips.items()]
    work = _MovementWork(store_uri=workspace.settings.store)
    num_processes = min(workspace.settings.num_processes or os.cpu_count() or 1, len(people)) if is_preloading() else 1
    return dict(zip(clips, parallel_map(work, people, num_processes, here=work), strict=True))


@dataclass(frozen=True, kw_only=True)
class _MovementWork:
    """The work on a person, to be sent to a process: analyze the measures of the clips."""

    store_uri: str

    @cached_property
    def store(self) -> Store:
        """The object store, opened on first use."""
        return open_store(self.store_uri)

    def __call__(self, person: tuple[str, Sequence[Clip], Mapping[str, str]]) -> list[MeasuredVisit]:
        """Return the movement of a person, given by pseudonym, clips, and the key of the measures of each clip."""
        with single_threaded():
            return movement_by_visit(read_person(self.store, *person))


def movement_by_visit(person: PersonMeasures) -> list[MeasuredVisit]:
    """Return the movement of a person: of all recordings, then of each visit in the order of time if there are several."""
    notes = person.notes if person.analysis is not None else ()
    together = replace(movement_in(person.analysis, person.reason), notes=notes)
    if len(person.visits) == 1:
        return [replace(together, notes=(*_unmeasurable(person.analysis), *notes))]
    visits = [
        replace(movement_in(own.analysis, NO_VISIT), visit=own.visit, notes=_unmeasurable(own.analysis))
        for own in person.visits
    ]
    return [together, *visits]


def movement_in(analysis: Analysis | None, reason: str | None) -> MeasuredVisit:
    """Return the movement in an analysis; without one, the reason why there is none."""
    if analysis is None:
        return MeasuredVisit(reason=reason)
    result = analysis.person
    num_frames = int(analysis.series.usable.sum())
    unmeasured = TOO_FEW_FRAMES if num_frames else NO_USABLE_FRAME
    return MeasuredVisit(
        asymmetry=result.asymmetry,
        side=result.side,
        side_probability=result.side_probability,
        pattern=PATTERN_WORDS.get(result.pattern or ""),
        exercises=measured_exercises(analysis),
        rest=_measured(analysis, Task.REST, "rest", AT_REST),
        not_performed=not_performed(analysis),
        num_frames=num_frames,
        reason=unmeasured if result.asymmetry is None else None,
    )


def measured_exercises(analysis: Analysis) -> list[MeasuredExercise]:
    """Return the exercises that were performed, in the order of an examination, with what they ask for."""
    confidences = defaultdict(list)
    for exercise in analysis.exercises:
        if exercise.performed:
            confidences[exercise.task].append(exercise.confidence)
    found = {task: _measured(analysis, task, "excursion", ASKED[task]) for task in ASKED}
    return [
        MeasuredExercise(name=TASK_WORDS[task], confidence=min(confidences[task]), sides=sides)
        for task, sides in found.items()
        if sides
    ]


def not_performed(analysis: Analysis) -> list[str]:
    """Return the exercises that were not found, in words."""
    performed = {exercise.task for exercise in analysis.exercises if exercise.performed}
    return [TASK_WORDS[task] for task in Task if task not in performed]


def measuring_method() -> MeasuringMethod:
    """Return how the ingest measures, with what its landmarks keep of a difference between the sides."""
    flattening = stated_flattening(BACKEND)
    assert flattening is not None, "it is stored beside the weights"
    return MeasuringMethod(
        landmarks=BACKEND,
        kept={measure_words(name): flattening.kept[name].slope for name in FLATTENED},
        num_people=flattening.num_people,
        asymmetric_from=ASYMMETRIC_FROM,
        caveat=CAVEAT,
    )


def _measured(analysis: Analysis, task: Task, kind: str, names: Collection[str]) -> list[MeasuredSides]:
    """Return some measures of one kind of an exercise by side; those that are not measurable are left out."""
    return [
        MeasuredSides(
            measure=measure_words(measure.measure),
            right=measure.right,
            left=measure.left,
            ratio=measure.ratio,
            detectable=exceeds(measure),
        )
        for measure in analysis.measures
        if (measure.task, measure.kind) == (task, kind) and measure.measure in names
        if measure.right is not None and measure.left is not None
    ]


def _unmeasurable(analysis: Analysis | None) -> list[str]:
    """Return sentences about the exercises that could not be measured, with the reasons."""
    tasks: dict[str, set[Task]] = defaultdict(set)
    for measure in () if analysis is None else analysis.measures:
        if measure.reason is not None and measure.reason != NO_USABLE_FRAME and measure.kind != "synkinesis":
            tasks[measure.reason].add(measure.task)
    return [
        f"Not measurable, because there is {reason}: {', '.join(TASK_WORDS[task] for task in Task if task in own)}."
        for reason, own in tasks.items()
    ]
