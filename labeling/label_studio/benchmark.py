"""What a person costs, measured on a real Label Studio: pushed, pulled whole, pulled when ten answers changed, answered."""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import Any

from labeling.interface.config import Answer, to_result
from labeling.label_studio import sync
from labeling.label_studio.annotations import ReaderProject
from labeling.sampling.tasks import build_task
from vitau.schema import AU, AUS, LedgerEntry, Side, Stage

NUM_CHANGES = 10
NUM_ANSWERS = 5
MOST_ANSWERS = 100
_SAID = Answer(affected={au: au is AU.AU12 for au in AUS}, side=Side.LEFT)
_CHANGED = Answer(affected={au: au is AU.AU9 for au in AUS}, side=Side.RIGHT)


@sync.one_sentence()
def measure(
    client: Any,
    sizes: Sequence[int],
    *,
    store_uri: str,
    tell: Callable[[str], None],
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, Any]:
    """Seconds of a push, a whole pull and a pull of ten changes, by the number of generated people; of an answer at the first.

    The projects are removed again. ``ratio`` is the cost per person of the last size in that of the first: 1 is flat.

    Args:
        client: from ``sync.connect``.
        sizes: how many people.
        store_uri: a store that Label Studio may read; the pictures of the tasks need not exist.
        tell: is told what goes on.
        sleep: waits until the imported answers are older than a pull looks back.
    """
    measured = {size: _measure(client, size, store_uri, tell, sleep, answer=size == sizes[0]) for size in sizes}
    costs = {
        size: {name: 1000 * seconds[f"{name}_s"] / size for name in ("push", "whole_pull")}
        for size, seconds in measured.items()
    }
    first, last = costs[sizes[0]], costs[sizes[-1]]
    return {
        "label_studio": client.versions.get().release,
        "seconds": {str(size): seconds for size, seconds in measured.items()},
        "ms_per_subject": {str(size): {name: round(ms, 2) for name, ms in each.items()} for size, each in costs.items()},
        "ratio": {name: round(last[name] / first[name], 3) for name in first},
    }


def _measure(
    client: Any, size: int, store_uri: str, tell: Callable[[str], None], sleep: Callable[[float], None], *, answer: bool
) -> dict[str, float]:
    seconds: dict[str, float] = {}
    subjects = [f"{number:016x}" for number in range(size)]
    tasks = [_task(subject) for subject in subjects]
    with (
        _project(client, f"bench {size} answered", store_uri) as answered,
        _project(client, f"bench {size}", store_uri) as open_,
    ):
        tell(f"{size} people: answered by import")
        given = {"annotations": [{"result": to_result(_SAID), "lead_time": 15.0}]}
        sync.push(client, answered, [task | given for task in tasks])
        imported = time.monotonic()
        tell(f"{size} people: pushed")
        with _stopwatch(seconds, "push_s"):
            assert sync.push(client, open_, tasks) == size
        sleep(max(0.0, imported + sync.OVERLAP.total_seconds() - time.monotonic()))
        tell(f"{size} people: pulled")
        with _stopwatch(seconds, "whole_pull_s"):
            pulled = sync.pull(client, answered, set(subjects))
            sync.mark(client, pulled.state)
        assert len(pulled.rows) == size * len(AUS)
        said = [LedgerEntry(annotation=seen.annotation, subject=seen.subject, version=seen.version) for seen in pulled.seen]
        for seen in pulled.seen[:: size // NUM_CHANGES][:NUM_CHANGES]:
            client.annotations.update(int(seen.annotation), result=to_result(_CHANGED))
        with _stopwatch(seconds, "pull_of_10_changes_s"):
            changes = sync.pull(client, answered, set(subjects), state=pulled.state, seen=pulled.seen, said=said)
        assert (len(changes.rows), changes.whole) == (NUM_CHANGES * len(AUS), False)
        if answer:
            tell(f"{size} people: answered while nothing else happens, and while everything is pulled")
            seconds |= _answers(client, open_, lambda: sync.pull(client, answered, set(subjects)))
    return seconds


def _answers(client: Any, project: ReaderProject, pull: Callable[[], object]) -> dict[str, float]:
    """How long a reader waits for Label Studio to take an answer (s, median and slowest): alone, and while ``pull`` goes on."""
    waiting = iter(sync.open_tasks(client, project))
    alone = [_answer(client, task) for task in islice(waiting, NUM_ANSWERS)]
    beside = []
    with ThreadPoolExecutor(1) as thread:
        pulling = thread.submit(pull)
        for task in islice(waiting, MOST_ANSWERS):
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


def _answer(client: Any, task: sync.OpenTask) -> float:
    start = time.monotonic()
    sync.answer(client, task, _SAID)
    return time.monotonic() - start


def _task(subject: str) -> dict[str, Any]:
    images = [f"/data/local-files/?d=subjects/{subject}/keyframes/{index:016x}-{index}.jpg" for index in range(6)]
    return build_task(subject, images, [f"{subject * 4}:{index}" for index in range(6)], synthetic=True)


@contextmanager
def _project(client: Any, title: str, store_uri: str) -> Iterator[ReaderProject]:
    project = sync.ensure_project(client, f"{title} {time.time():.0f}", reader="bench", stage=Stage.READER, store_uri=store_uri)
    try:
        yield project
    finally:
        client.projects.delete(project.id)


@contextmanager
def _stopwatch(seconds: dict[str, float], name: str) -> Iterator[None]:
    start = time.monotonic()
    yield
    seconds[name] = round(time.monotonic() - start, 2)
