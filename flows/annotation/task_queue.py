"""The readers' queues: choose which people each reader is asked about next, and how many at once."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from flows.annotation.key_frames import Material, landmarks_of, materials, usable_frames
from flows.annotation.suggestions import ChampionScores, load_champion_scores
from flows.workspace import Workspace
from labeling.label_studio.push import PushedTask, due_subjects
from labeling.sampling.active_learning import Order, informative_order, random_order, varied_order
from labeling.sampling.landmark_shapes import movement
from vitau.progress import track

POOL: Final = 500
"""People, drawn at random, who are compared with each other in one round; the others follow in random order."""


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """The people of one reader's next tasks: those asked again or whose task is renewed, and new people in order."""

    again: list[str]
    new: list[str]


def assign_people(
    workspace: Workspace,
    pushed: Mapping[str, Sequence[PushedTask]],
    num_answers: Mapping[tuple[str, str], int],
    stale: Collection[tuple[str, str]],
) -> dict[str, Assignment]:
    """Choose the people of every reader's next tasks, up to the length of the queue.

    People that another reader has begun come first, then those with priority from monitoring.

    Args:
        workspace: its settings have the order and the length of a queue.
        pushed: reader → the tasks of the reader's project.
        num_answers: (reader, subject) → number of answers that stand.
        stale: (reader, subject) of stale answers.
    """
    people = materials(workspace)
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
    first = [subject for subject in workspace.catalog.priority_subjects() if subject in unseen]
    others = order_people(workspace, unseen - set(first), [*begun, *first], people)
    rank = {subject: index for index, subject in enumerate([*dict.fromkeys(begun), *first, *others])}
    return {
        reader: Assignment(
            again=again[reader],
            new=sorted(missing[reader], key=lambda subject: rank.get(subject, len(rank)))[: num_free[reader]],
        )
        for reader in pushed
    }


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
    if champion is not None and any(subject in champion.summaries for subject in pool):
        return [*order_by_scores(champion, pool, compared), *rest]
    return [*order_by_movement(workspace, pool, compared, people), *rest]


def order_by_scores(champion: ChampionScores, pool: Sequence[str], known: Sequence[str]) -> list[str]:
    """Return the pool with the people first whose labels help the champion most; people without a score come last."""
    scored = [subject for subject in pool if subject in champion.summaries]
    new_N8 = np.array([champion.probabilities(subject) for subject in scored])
    known_M8 = np.array([scores for subject in known if (scores := champion.probabilities(subject)) is not None])
    order = informative_order(new_N8, known_M8)
    return [scored[index] for index in order] + [subject for subject in pool if subject not in champion.summaries]


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
