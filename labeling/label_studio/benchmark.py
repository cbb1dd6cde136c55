"""Benchmark of a real Label Studio: time per person of a push, a whole pull, a pull of ten changes, and an answer."""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import Any

from labeling.interface.answer import Answer, to_result
from labeling.label_studio.annotations import ReaderProject, create_annotation
from labeling.label_studio.client import readable_errors
from labeling.label_studio.pagination import OpenTask, open_tasks
from labeling.label_studio.projects import ensure_project
from labeling.label_studio.pull import OVERLAP, pull, write_pull_number
from labeling.label_studio.push import push
from labeling.sampling.tasks import build_task
from vitau.progress import stopwatch
from vitau.schema import AU, AUS, LedgerEntry, Side, Stage

NUM_CHANGES = 10
NUM_ANSWERS = 5
MAX_ANSWERS = 100
_ANSWER = Answer(affected={au: au is AU.AU12 for au in AUS}, side=Side.LEFT)
_CORRECTION = Answer(affected={au: au is AU.AU9 for au in AUS}, side=Side.RIGHT)


@readable_errors()
def measure(
    client: Any,
    sizes: Sequence[int],
    *,
    store_uri: str,
    report: Callable[[str], None],
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, Any]:
    """Measure a push, a whole pull and a pull of ten changes for each number of generated people; an answer for the first.

    The projects are deleted afterwards. ``ratio`` is the time per person at the last size divided by that at the first.

    Args:
        client: from ``labeling.label_studio.client.connect``.
        sizes: numbers of people.
        store_uri: a store that Label Studio may read; the pictures of the tasks need not exist.
        report: called with one line per step.
        sleep: waits until the imported answers are older than the overlap of two pulls.
    """
    measured = {size: _measure(client, size, store_uri, report, sleep, answer=size == sizes[0]) for size in sizes}
    costs = {
        size: {name: 1000 * seconds[f"{name}_s"] / size for name in ("push", "whole_pull")}
        for size, seconds in measured.items()
    }
    first, last = costs[sizes[0]], costs[sizes[-1]]
    return {
        "label_studio": client.versions.get().release,
        "seconds": {str(size): seconds for size, seconds in measured.items()},
        "ms_per_subject": {str(size): {name: round(ms, 2) for name, ms in cost.items()} for size, cost in costs.items()},
        "ratio": {name: round(last[name] / first[name], 3) for name in first},
    }


def _measure(
    client: Any, size: int, store_uri: str, report: Callable[[str], None], sleep: Callable[[float], None], *, answer: bool
) -> dict[str, float]:
    seconds: dict[str, float] = {}
    subjects = [f"{number:016x}" for number in range(size)]
    tasks = [_task(subject) for subject in subjects]
    with (
        _project(client, f"bench {size} answered", store_uri) as answered,
        _project(client, f"bench {size}", store_uri) as open_,
    ):
        report(f"{size} people: import answers")
        given = {"annotations": [{"result": to_result(_ANSWER), "lead_time": 15.0}]}
        push(client, answered, [task | given for task in tasks])
        imported = time.monotonic()
        report(f"{size} people: push tasks")
        with stopwatch(seconds, "push_s", digits=2):
            assert push(client, open_, tasks) == size
        sleep(max(0.0, imported + OVERLAP.total_seconds() - time.monotonic()))
        report(f"{size} people: pull answers")
        with stopwatch(seconds, "whole_pull_s", digits=2):
            pulled = pull(client, answered, set(subjects))
            write_pull_number(client, pulled.state)
        assert len(pulled.rows) == size * len(AUS)
        entries = [LedgerEntry(annotation=seen.annotation, subject=seen.subject, version=seen.version) for seen in pulled.seen]
        for seen in pulled.seen[:: size // NUM_CHANGES][:NUM_CHANGES]:
            client.annotations.update(int(seen.annotation), result=to_result(_CORRECTION))
        with stopwatch(seconds, "pull_of_10_changes_s", digits=2):
            changes = pull(client, answered, set(subjects), state=pulled.state, seen=pulled.seen, entries=entries)
        assert (len(changes.rows), changes.whole) == (NUM_CHANGES * len(AUS), False)
        if answer:
            report(f"{size} people: answer on an idle server, and during a whole pull")
            seconds |= _answers(client, open_, lambda: pull(client, answered, set(subjects)))
    return seconds


def _answers(client: Any, project: ReaderProject, concurrently: Callable[[], object]) -> dict[str, float]:
    """Measure an answer's request (s, median and slowest) on an idle server, and while ``concurrently`` runs."""
    waiting = iter(open_tasks(client, project))
    alone = [_answer(client, task) for task in islice(waiting, NUM_ANSWERS)]
    beside = []
    with ThreadPoolExecutor(1) as thread:
        pulling = thread.submit(concurrently)
        for task in islice(waiting, MAX_ANSWERS):
            if pulling.done():
                break
            beside.append(_answer(client, task))
            time.sleep(0.2)
        pulling.result()
    times = {"answer_alone": alone, "answer_beside_pull": beside}
    return {
        f"{name}_{word}_s": round(of(seconds), 3)
        for name, seconds in times.items()
        for word, of in (("median", statistics.median), ("slowest", max))
        if seconds
    }


def _answer(client: Any, task: OpenTask) -> float:
    start = time.monotonic()
    create_annotation(client, task.id, _ANSWER)
    return time.monotonic() - start


def _task(subject: str) -> dict[str, Any]:
    images = [f"/data/local-files/?d=subjects/{subject}/keyframes/{index:016x}-{index}.jpg" for index in range(6)]
    return build_task(subject, images, [f"{subject * 4}:{index}" for index in range(6)], synthetic=True)


@contextmanager
def _project(client: Any, title: str, store_uri: str) -> Iterator[ReaderProject]:
    project = ensure_project(client, f"{title} {time.time():.0f}", reader="bench", stage=Stage.READER, store_uri=store_uri)
    try:
        yield project
    finally:
        client.projects.delete(project.id)
