"""Checks of the readers: mix people without a palsy, and people to read again, into the next tasks of a reader."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from random import SystemRandom
from typing import Any, Final, TypeAlias

from flows.annotation.key_frames import materials
from flows.annotation.task_queue import Assignment, shuffle
from flows.workspace import Workspace
from labeling.label_studio.push import PushedTask
from vitau.schema import CheckKind, CheckQuestion, Cohort, person_of

Mixed: TypeAlias = list[tuple[str, CheckKind | None]]
"""A reader's next people in order, each with the kind of the check or ``None``."""

DRAW: Final = SystemRandom().random
"""Uniform random numbers that nobody can predict: a reader who knows the seed would know the checks."""


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """The people for checks of a reader, the next ones first: people without a palsy, and people to read again."""

    controls: Sequence[str]
    repeats: Sequence[str]


def mix_in_checks(
    workspace: Workspace,
    assigned: Mapping[str, Assignment],
    pushed: Mapping[str, Sequence[PushedTask]],
    num_answers: Mapping[tuple[str, str], int],
) -> dict[str, Mixed]:
    """Return every reader's new people with checks among them, by the share of the settings.

    Args:
        workspace: its settings have the share.
        assigned: reader → the people of the next tasks.
        pushed: reader → the tasks so far.
        num_answers: (reader, subject) → number of answers that stand.
    """
    share = workspace.settings.check_share
    if not share:
        return {reader: [(subject, None) for subject in assignment.new] for reader, assignment in assigned.items()}
    names = {subject: material.name for subject, material in materials(workspace).items()}
    controls = shuffle(sorted(materials(workspace, (Cohort.CONTROL,))))  # the same order for all readers
    mixed = {}
    for reader, assignment in assigned.items():
        candidates = check_candidates(
            pushed[reader],
            {subject for name, subject in num_answers if name == reader},
            names,
            controls=controls,
            repeated={check.subject for check in workspace.catalog.checks(reader) if check.kind is CheckKind.REPEAT},
        )
        mixed[reader] = mix_in(assignment.new, candidates, share=share, num_free=assignment.num_free)
    return mixed


def check_questions(reader: str, mixed: Mixed, tasks: Mapping[str, Mapping[str, Any]]) -> list[CheckQuestion]:
    """Return the questions among a reader's next people that check the reader, given their tasks by subject."""
    return [
        CheckQuestion(
            reader=reader,
            subject=person_of(subject),
            material=tasks[subject]["data"]["material"],
            after=tasks[subject]["data"]["after"],
            kind=kind,
        )
        for subject, kind in mixed
        if kind is not None and subject in tasks
    ]


def check_candidates(
    tasks: Sequence[PushedTask],
    answered: Collection[str],
    materials: Mapping[str, str],
    *,
    controls: Sequence[str],
    repeated: Collection[str],
) -> Candidates:
    """Return the people for checks of a reader.

    A control is new to the reader. A person is read again once, after the longest time, and only while the pictures are those
    of the first time.

    Args:
        tasks: the reader's tasks, oldest first.
        answered: the people about which an answer of the reader was pulled.
        materials: patient → the name of their material now.
        controls: people without a palsy, in the order in which they are shown.
        repeated: the people about which the reader was asked again as a check.
    """
    seen = {task.subject for task in tasks}
    still_open = {task.subject for task in tasks if not task.answered}
    same = [task.subject for task in tasks if task.answered and task.material == materials.get(task.subject, "")]
    return Candidates(
        controls=[subject for subject in controls if subject not in seen],
        repeats=[
            subject
            for subject in dict.fromkeys(same)
            if subject in answered and subject not in still_open and person_of(subject) not in repeated
        ],
    )


def mix_in(
    new: Sequence[str], candidates: Candidates, *, share: float, num_free: int, draw: Callable[[], float] = DRAW
) -> Mixed:
    """Return a reader's next people in order, each with the kind of the check or ``None``.

    Each place is a check with the probability ``share``, of either kind if there are candidates. Checks end with the new
    people: a reader who is done is not asked for ever.

    Args:
        new: people to label, in order.
        candidates: the people for checks.
        share: of the tasks that are checks, 0 to 1.
        num_free: largest number of people.
        draw: returns uniform random numbers.
    """
    waiting = list(new)
    mixed: Mixed = []
    checks = {CheckKind.CONTROL: list(candidates.controls), CheckKind.REPEAT: list(candidates.repeats)}
    while waiting and len(mixed) < num_free:
        kinds = [kind for kind, people in checks.items() if people] if draw() < share else []
        if kinds:
            kind = kinds[int(draw() * len(kinds))]
            mixed.append((checks[kind].pop(0), kind))
        else:
            mixed.append((waiting.pop(0), None))
    return mixed
