"""Simulated readers for the demo and the tests: they know the truth of drawn people and tell it, with mistakes.

They answer through the real API. Nothing that they say is a human judgement, and whatever is made from it must say so.
"""

import hashlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from labeling.interface.config import Answer
from labeling.label_studio import sync
from labeling.label_studio.annotations import ReaderProject
from vitau.schema import AUS, RegionLabels, Side

READER_ACCURACY = 0.95
ADJUDICATOR_ACCURACY = 0.99
NOTE = "simulated reader"


def read(truth: RegionLabels, *, reader: str, seed: int, accuracy: float = READER_ACCURACY) -> Answer:
    """What the simulated ``reader`` says about a person: each region, and the side, is right with probability ``accuracy``.

    The same ``seed``, person and reader give the same answer. A side where the truth has none (a false alarm) is drawn.
    """
    digest = hashlib.sha256(f"{seed}/{truth.subject}/{reader}".encode()).digest()
    rng = np.random.default_rng(np.frombuffer(digest, dtype=np.uint32))
    wrong = rng.random(len(AUS)) >= accuracy
    side_wrong, guess = rng.random() >= accuracy, rng.choice([Side.LEFT, Side.RIGHT])
    affected = {au: truth.affected.get(au, False) != bool(flip) for au, flip in zip(AUS, wrong, strict=True)}
    side = truth.side or Side(guess)
    if side_wrong and side is not Side.BOTH:
        side = Side.LEFT if side is Side.RIGHT else Side.RIGHT
    return Answer(affected=affected, side=side if any(affected.values()) else None, note=NOTE)


def answer_open_tasks(
    client: Any,
    project: ReaderProject,
    truths: Mapping[str, RegionLabels],
    *,
    seed: int,
    accuracy: float = READER_ACCURACY,
    num_threads: int = 2,
    on_answer: Callable[[], object] = lambda: None,
) -> int:
    """Answers every open task of ``project`` about a person in ``truths``; how many those were.

    ``on_answer`` is called after each answer, from several threads.
    """

    def answer(task: sync.OpenTask) -> None:
        sync.answer(client, task, read(truths[task.subject], reader=project.reader, seed=seed, accuracy=accuracy))
        on_answer()

    tasks = [task for task in sync.open_tasks(client, project) if task.subject in truths]
    with ThreadPoolExecutor(num_threads) as threads:
        list(threads.map(answer, tasks))
    return len(tasks)
