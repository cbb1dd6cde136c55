"""The readers' queues: choose which people each reader is asked about next, and how many at once."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

import numpy as np

from flows.annotation.key_frames import Material, landmarks_of, materials, usable_frames
from flows.annotation.suggestions import ChampionScores, load_champion_scores
from flows.workspace import Workspace
from labeling.label_studio.push import PushedTask, due_subjects
from labeling.sampling.active_learning import Order, informative_order, random_order, varied_order
from labeling.sampling.landmark_shapes import movement
from vitau.errors import LabelingError, quoted
from vitau.progress import track
from vitau.schema import person_of

POOL: Final = 500
"""People, drawn at random, who are compared with each other in one round; the others follow in random order."""


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """The people of one reader's next tasks: those asked again or whose task is renewed, and new people in order.

    ``num_free`` is the number of tasks that fit into the queue beside those asked again.
    """

    again: list[str]
    new: list[str]
    num_free: int


def assign_people(
    workspace: Workspace,
    pushed: Mapping[str, Sequence[PushedTask]],
    num_answers: Mapping[tuple[str, str], int],
    stale: Collection[tuple[str, str]],
) -> dict[str, Assignment]:
    """Choose the people of every reader's next tasks, up to the length of the queue.

    People that another reader has begun come first, then those with priority from monitoring. A person who has as many readers
    as the settings ask for gets no other one. A reader who is away gets nobody, and the open tasks there hold no place.

    Args:
        workspace: its settings have the order and the length of a queue.
        pushed: reader → the tasks of the reader's project.
        num_answers: (reader, subject) → number of answers that stand.
        stale: (reader, subject) of stale answers.
    """
    people, absent = materials(workspace), workspace.catalog.absent_readers()
    names = {subject: material.name for subject, material in people.items()}
    begun = list(dict.fromkeys(task.subject for tasks in pushed.values() for task in tasks))
    begun += sorted({subject for _, subject in num_answers})
    again, missing, num_free = {}, {}, {}
    for reader, tasks in pushed.items():
        answered = {subject: number for (name, subject), number in num_answers.items() if name == reader}
        stale_here = {subject for name, subject in stale if name == reader}
        again[reader], missing[reader] = due_subjects(tasks, names, answered=answered, stale=stale_here)
        still_open = {task.subject for task in tasks if not task.answered}
        num_free[reader] = max(workspace.settings.queue - len(still_open | set(again[reader])), 0)
    unseen = {subject for reader in missing if num_free[reader] for subject in missing[reader]} - set(begun)
    first = [case for person in workspace.catalog.priority_subjects() for case in sorted(unseen) if person_of(case) == person]
    others = order_people(workspace, unseen - set(first), [*begun, *first], people)
    rank = {subject: index for index, subject in enumerate([*dict.fromkeys(begun), *first, *others])}
    held = Counter(
        subject
        for reader, tasks in pushed.items()
        for subject in {task.subject for task in tasks if task.answered or reader not in absent}
        | {subject for name, subject in num_answers if name == reader}
    )
    present = {reader: missing[reader] for reader in pushed if reader not in absent}
    new = share_people(sorted(rank, key=rank.__getitem__), present, num_free, held, workspace.settings.num_readers)
    return {
        reader: Assignment(again=[] if reader in absent else again[reader], new=new.get(reader, []), num_free=num_free[reader])
        for reader in pushed
    }


def share_people(
    people: Iterable[str],
    missing: Mapping[str, Collection[str]],
    num_free: Mapping[str, int],
    held: Mapping[str, int],
    per_person: int,
) -> dict[str, list[str]]:
    """Divide people among readers, in their order; return the people of each reader.

    The readers with the shortest queues get a person. Among those with equal ones, chance decides, the same each time, so that
    every two readers share people whose answers can be compared.

    Args:
        people: in the order in which they are to be read.
        missing: reader → the people the reader was never asked about.
        num_free: reader → number of free places in the queue.
        held: person → number of readers who have answered, or have a task.
        per_person: number of readers of each person.
    """
    waiting, free = {reader: set(subjects) for reader, subjects in missing.items()}, dict(num_free)
    shared: dict[str, list[str]] = {reader: [] for reader in missing}
    for subject in people:
        able = [reader for reader in waiting if subject in waiting[reader] and free[reader]]
        able.sort(key=lambda reader: (-free[reader], sha256(f"{subject} {reader}".encode()).digest()))
        for reader in able[: max(per_person - held.get(subject, 0), 0)]:
            shared[reader].append(subject)
            free[reader] -= 1
    return shared


def set_absent(workspace: Workspace, reader: str, *, absent: bool) -> bool:
    """Record that a reader is away, or back; return whether that is new.

    Raises:
        LabelingError: there is no such reader, or fewer readers would be left than each person needs.
    """
    settings = workspace.settings
    if reader not in settings.readers:
        raise LabelingError(f"{quoted(reader)} is none of the readers {', '.join(settings.readers)} of VITAU_READERS")
    left = set(settings.readers) - workspace.catalog.absent_readers() - {reader}
    if absent and len(left) < settings.num_readers:
        raise LabelingError(
            f"{settings.num_readers} readers read each person, and without {reader} there are {len(left)}: name another reader "
            f"in VITAU_READERS first, with VITAU_READERS_PER_PERSON={settings.num_readers}"
        )
    return workspace.catalog.set_absent(reader, absent=absent)


def order_people(
    workspace: Workspace, new: Collection[str], known: Collection[str], people: Mapping[str, Material]
) -> list[str]:
    """Return new people in the order of the settings: at random, or the most informative first, given the ``known`` people."""
    at_random = shuffle(sorted(new))
    if workspace.settings.order is Order.RANDOM or not at_random:
        return at_random
    pool, rest = at_random[:POOL], at_random[POOL:]
    compared = shuffle(sorted(set(known) & people.keys()))[:POOL]
    champion = load_champion_scores(workspace)
    if champion is not None and any(champion.probabilities(subject) is not None for subject in pool):
        return [*order_by_scores(champion, pool, compared), *rest]
    return [*order_by_movement(workspace, pool, compared, people), *rest]


def order_by_scores(champion: ChampionScores, pool: Sequence[str], known: Sequence[str]) -> list[str]:
    """Return the pool with the people first whose labels help the champion most; people without a score come last."""
    scores = {subject: champion.probabilities(subject) for subject in pool}
    scored = [subject for subject in pool if scores[subject] is not None]
    new_N8 = np.array([scores[subject] for subject in scored])
    known_M8 = np.array([found for subject in known if (found := champion.probabilities(subject)) is not None])
    order = informative_order(new_N8, known_M8)
    return [scored[index] for index in order] + [subject for subject in pool if scores[subject] is None]


def order_by_movement(
    workspace: Workspace, pool: Sequence[str], known: Sequence[str], people: Mapping[str, Material]
) -> list[str]:
    """Return the pool with the people first who move least like all known people; it reads landmarks and needs no model."""
    compared, usable = [*pool, *known], usable_frames(workspace)
    moves = np.stack(
        [
            movement(landmarks_of(usable.read(people[subject].tables, ("frame_index", "crop_landmarks"))))
            for subject in track(compared, "comparing how people move", len(compared))
        ]
    )
    return [pool[index] for index in varied_order(moves[: len(pool)], moves[len(pool) :])]


def shuffle(people: Sequence[str]) -> list[str]:
    """Return people in a random order that stays the same when others join or leave."""
    return [people[index] for index in random_order(people)]
