"""Simulated readers for the demo and the tests: they answer about drawn people, whose truth is known, with mistakes.

They answer through the real API. No answer of theirs is a human judgment; everything made from it must be marked as synthetic.
"""

import hashlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from labeling.interface.answer import Answer
from labeling.label_studio.annotations import ReaderProject, create_annotation
from labeling.label_studio.pagination import OpenTask, open_tasks
from vitau.schema import AUS, RegionLabels, Side

READER_ACCURACY = 0.95
ADJUDICATOR_ACCURACY = 0.99
NOTE = "simulated reader"


def simulated_answer(truth: RegionLabels, *, reader: str, seed: int, accuracy: float = READER_ACCURACY) -> Answer:
    """Draw the answer of a simulated ``reader``: each region, and the side, is right with probability ``accuracy``.

    The same ``seed``, subject and reader give the same answer. A false alarm about a healthy face gets a random side.
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
    """Answer every open task of ``project`` about a subject in ``truths``; return how many.

    ``on_answer`` is called after each answer, from several threads.
    """

    def answer(task: OpenTask) -> None:
        truth = truths[task.subject]
        create_annotation(client, task.id, simulated_answer(truth, reader=project.reader, seed=seed, accuracy=accuracy))
        on_answer()

    tasks = [task for task in open_tasks(client, project) if task.subject in truths]
    with ThreadPoolExecutor(num_threads) as threads:
        list(threads.map(answer, tasks))
    return len(tasks)
