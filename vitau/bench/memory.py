"""Peak memory of a function, each time in a fresh process so that earlier allocations do not count."""

import gc
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing import get_context
from operator import attrgetter
from pathlib import Path
from typing import Any, Final

from vitau.bench.measure import Case, Watch
from vitau.processes import init_worker

Prepare = Callable[..., Callable[[], float]]
"""Builds the function to measure, which returns a number to compare; a function of a module, because it is pickled."""

MB: Final = 1 << 20
UNIT: Final = "images/GB"


@dataclass(frozen=True, kw_only=True, slots=True)
class Peak:
    """One run: MB that it added at its peak, MB of the whole process then, seconds, and its result."""

    added_mb: float
    whole_mb: float
    duration_s: float
    number: float


def compare_peaks(
    name: str, ours: Prepare, baseline: Prepare, *arguments: Any, amount: float, rounds: int, watch: Watch
) -> Case:
    """Measure two implementations in alternation; the rates are images per GB (2³⁰ bytes) of peak memory.

    Args:
        name: of the case.
        ours: prepares our work from ``arguments``.
        baseline: prepares the same work, done the other way.
        arguments: of both.
        amount: images in that work.
        rounds: at least 1.
        watch: called after every round.
    """
    pairs = _measure_pairs(name, ours, baseline, arguments, rounds, watch, warm=True)
    return _memory_case(name, pairs, attrgetter("added_mb"), amount)


def compare_whole_peaks(
    name: str,
    ours: Prepare,
    baseline: Prepare,
    *arguments: Any,
    amount: float,
    rounds: int,
    watch: Watch,
    at_least: tuple[float, float],
) -> tuple[Case, Case]:
    """Measure as :func:`compare_peaks` does, without a first run; return the peaks of the whole processes, and the speed.

    ``at_least`` has the smallest ratios of memory and speed that are wanted.
    """
    pairs = _measure_pairs(name, ours, baseline, arguments, rounds, watch, warm=False)
    memory = _memory_case(f"{name}, peak memory", pairs, attrgetter("whole_mb"), amount)
    speed = Case(
        name=f"{name}, speed",
        ratio=statistics.median(theirs.duration_s / mine.duration_s for mine, theirs in pairs),
        ours=amount / statistics.median(mine.duration_s for mine, _ in pairs),
        baseline=amount / statistics.median(theirs.duration_s for _, theirs in pairs),
        unit="images/s",
        rounds=rounds,
        max_difference=memory.max_difference,
        at_least=at_least[1],
    )
    return replace(memory, at_least=at_least[0]), speed


def _measure_pairs(
    name: str, ours: Prepare, baseline: Prepare, arguments: tuple[Any, ...], rounds: int, watch: Watch, *, warm: bool
) -> list[tuple[Peak, Peak]]:
    pairs = []
    for number in range(rounds):
        watch(name, number, rounds)
        pairs.append((peak_of(ours, *arguments, warm=warm), peak_of(baseline, *arguments, warm=warm)))
    watch(name, rounds, rounds)
    return pairs


def _memory_case(name: str, pairs: Sequence[tuple[Peak, Peak]], mb_of: Callable[[Peak], float], amount: float) -> Case:
    sizes = [(mb_of(mine), mb_of(theirs)) for mine, theirs in pairs]
    mine_mb, their_mb = (statistics.median(side) for side in zip(*sizes, strict=True))
    return Case(
        name=name,
        ratio=statistics.median(theirs / mine for mine, theirs in sizes),
        ours=amount / mine_mb * 1024,
        baseline=amount / their_mb * 1024,
        unit=UNIT,
        rounds=len(pairs),
        max_difference=max(abs(mine.number - theirs.number) for mine, theirs in pairs),
        agreement={"our_peak_mb": mine_mb, "baseline_peak_mb": their_mb},
    )


def peak_of(prepare: Prepare, *arguments: Any, warm: bool = True) -> Peak:
    """Run a function in a fresh process and measure it; with ``warm`` after another run, which is not measured."""
    with _memory_returned(), ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=init_worker) as pool:
        return pool.submit(_measured, prepare, arguments, warm).result()


def _measured(prepare: Prepare, arguments: tuple[Any, ...], warm: bool) -> Peak:
    work = prepare(*arguments)
    if warm:
        work()  # libraries and optimizers allocate what they keep
    gc.collect()
    before = _resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak is what is held now (Linux)
    started = time.perf_counter()
    number = work()
    duration_s = time.perf_counter() - started
    peak = _resident("VmHWM")
    return Peak(added_mb=(peak - before) / MB, whole_mb=peak / MB, duration_s=duration_s, number=number)


def _resident(field: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


@contextmanager
def _memory_returned() -> Iterator[None]:
    """Make processes started in this block return large freed memory blocks at once; the second run would reuse them."""
    before = os.environ.get("MALLOC_MMAP_THRESHOLD_")
    os.environ["MALLOC_MMAP_THRESHOLD_"] = "65536"
    try:
        yield
    finally:
        if before is None:
            del os.environ["MALLOC_MMAP_THRESHOLD_"]
        else:
            os.environ["MALLOC_MMAP_THRESHOLD_"] = before
