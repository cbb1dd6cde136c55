"""Whom each reader is asked about next, and how many at once."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from flows.annotation.key_frames import Material, landmarks_of, materials, usable_frames
from flows.annotation.suggestions import Champion, scored_champion
from flows.workspace import Workspace, progress
from labeling.label_studio.push import PushedTask, due_subjects
from labeling.sampling.active_learning import Order, informative_order, random_order, varied_order
from labeling.sampling.landmark_shapes import movement

POOL: Final = 500
"""So many people, drawn by chance, are weighed against each other in one round; the others come by chance after them."""


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """For one reader: people whose tasks are renewed or asked again, and people to be asked for the first time, in order."""

    again: list[str]
    new: list[str]


def whom_to_ask(
    workspace: Workspace,
    asked: Mapping[str, Sequence[PushedTask]],
    heard: Mapping[tuple[str, str], int],
    stale: Collection[tuple[str, str]],
) -> dict[str, Assignment]:
    """Choose for every reader who is asked about, up to the length of the queue.

    Whom another reader has begun comes first, then those whom the monitoring wants to be asked about.

    Args:
        workspace: its settings say in which order, and how long a queue is.
        asked: reader → the tasks of the reader's project.
        heard: (reader, person), where answers stand, and how many.
        stale: those of them who look different in newer frames.
    """
    there = materials(workspace)
    names = {person: material.name for person, material in there.items()}
    begun = list(dict.fromkeys(task.subject for tasks in asked.values() for task in tasks)) + sorted({who for _, who in heard})
    again, lacking, room = {}, {}, {}
    for reader, tasks in asked.items():
        ours = {who: num for (name, who), num in heard.items() if name == reader}
        due_again = {who for name, who in stale if name == reader}
        again[reader], lacking[reader] = due_subjects(tasks, names, answered=ours, stale=due_again)
        still_open = {task.subject for task in tasks if not task.answered}
        room[reader] = max(workspace.settings.queue - len(still_open | set(again[reader])), 0)
    unseen = {who for reader, people in lacking.items() if room[reader] for who in people} - set(begun)
    first = [who for who in workspace.catalog.priority_subjects() if who in unseen]
    others = in_order(workspace, unseen - set(first), [*begun, *first], there)
    order = {who: place for place, who in enumerate([*dict.fromkeys(begun), *first, *others])}
    last = len(order)
    return {
        reader: Assignment(
            again=again[reader],
            new=sorted(lacking[reader], key=lambda who: order.get(who, last))[: room[reader]],
        )
        for reader in asked
    }


def in_order(workspace: Workspace, people: Collection[str], asked: Sequence[str], there: Mapping[str, Material]) -> list[str]:
    """Put people who were never asked about in the order of the settings, each as different as can be from those ``asked``."""
    by_chance = shuffled(sorted(people))
    if workspace.settings.order is Order.RANDOM or not by_chance:
        return by_chance
    pool, rest = by_chance[:POOL], by_chance[POOL:]
    known = shuffled(sorted(set(asked) & there.keys()))[:POOL]
    champion = scored_champion(workspace)
    if champion is not None and any(who in champion.summaries for who in pool):
        return [*informed(champion, pool, known), *rest]
    return [*varied(workspace, pool, known, there), *rest]


def informed(champion: Champion, pool: Sequence[str], known: Sequence[str]) -> list[str]:
    """Put those first of whom the champion's scores say that they help most; whom it has not scored comes after, by chance."""
    scored = [who for who in pool if who in champion.summaries]
    said = [champion.probabilities(who) for who in scored]
    asked = [scores for who in known if (scores := champion.probabilities(who)) is not None]
    order = informative_order(np.array(said), np.array(asked))
    return [scored[place] for place in order] + [who for who in pool if who not in champion.summaries]


def varied(workspace: Workspace, pool: Sequence[str], known: Sequence[str], there: Mapping[str, Material]) -> list[str]:
    """Put those first who move most unlike everybody asked; no model is needed, but the landmarks of all are read."""
    people, usable = [*pool, *known], usable_frames(workspace)
    moves = np.stack(
        [
            movement(landmarks_of(usable.read(there[who].tables, ("frame_index", "crop_landmarks"))))
            for who in progress(people, "comparing how people move", len(people))
        ]
    )
    return [pool[place] for place in varied_order(moves[: len(pool)], moves[len(pool) :])]


def shuffled(people: Sequence[str]) -> list[str]:
    """Put people in an order of chance that stays the same when others come or go."""
    return [people[place] for place in random_order(people)]
