"""Figures of a load: lost and duplicated pieces, time on the clock, and latencies."""

import math
import multiprocessing
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

HEAD: Final = f"{'load':34}{'pieces':>8}{'lost':>7}{'twice':>7}{'seconds':>9}{'p50 ms':>9}{'p95 ms':>9}  notes"


@dataclass(frozen=True, kw_only=True)
class Figures:
    """The result of one load.

    Attributes:
        name: of the load.
        pieces: answers, objects, requests or people that were sent.
        lost: pieces that are missing at the end.
        duplicated: pieces that are there twice, or were done twice.
        wall_s: time on the clock.
        latencies_s: of each piece, as its sender saw it.
        note: further counts.
    """

    name: str
    pieces: int
    lost: int
    duplicated: int
    wall_s: float
    latencies_s: Sequence[float] = field(repr=False)
    note: str = ""

    def line(self) -> str:
        """Return the row of the table."""
        counts = f"{self.name:34}{self.pieces:>8}{self.lost:>7}{self.duplicated:>7}{self.wall_s:>9.2f}"
        middle, high = (1000 * percentile(self.latencies_s, share) for share in (0.5, 0.95))
        return f"{counts}{middle:>9.0f}{high:>9.0f}  {self.note}".rstrip()


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which a share of the values lies (nearest rank)."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)] if values else math.nan


class Clock:
    """The latencies of calls in several threads."""

    def __init__(self) -> None:
        self.latencies_s: list[float] = []

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Measure the block."""
        began = time.monotonic()
        yield
        self.latencies_s.append(time.monotonic() - began)


def run_writers(write: Callable[[int, Clock], Any], *, processes: int, threads: int) -> tuple[float, list[float], list[Any]]:
    """Run ``write(number, clock)`` once per writer, all at the same moment, in threads of several processes.

    Returns:
        The time on the clock, the latencies, and what each writer returned.

    Raises:
        RuntimeError: a writer raised.
    """
    context = multiprocessing.get_context("fork")  # the children have loaded everything already
    together, results = context.Barrier(processes * threads + 1), context.Queue()
    children = [
        context.Process(target=_run_threads, args=(write, range(n * threads, (n + 1) * threads), together, results))
        for n in range(processes)
    ]
    for child in children:
        child.start()
    together.wait(timeout=300)
    began = time.monotonic()
    answers = [results.get(timeout=600) for _ in range(processes * threads)]
    wall_s = time.monotonic() - began
    for child in children:
        child.join()
    problems = [problem for _, _, problem in answers if problem]
    if problems:
        raise RuntimeError(f"{len(problems)} of {len(answers)} writers failed: {problems[0]}")
    return wall_s, [seconds for latencies, _, _ in answers for seconds in latencies], [result for _, result, _ in answers]


def _run_threads(write: Callable[[int, Clock], Any], numbers: range, together: Any, results: Any) -> None:
    def run(number: int) -> None:
        clock = Clock()
        together.wait(timeout=300)
        try:
            results.put((clock.latencies_s, write(number, clock), None))
        except Exception as error:  # noqa: BLE001 - the parent reports it
            results.put((clock.latencies_s, None, f"{type(error).__name__}: {error}"))

    writers = [threading.Thread(target=run, args=[number]) for number in numbers]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
