"""Peak memory of a function, each time in a fresh process so that earlier allocations do not count."""

import gc
import os
import statistics
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

from vitau.bench.measure import Case, Watch
from vitau.processes import init_worker

Prepare = Callable[..., Callable[[], float]]
"""Builds the function to measure, which returns a number to compare; a function of a module, because it is pickled."""

MB: Final = 1 << 20
UNIT: Final = "images/GB"


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
    pairs, differences = [], []
    for number in range(rounds):
        watch(name, number, rounds)
        (mine_mb, mine), (their_mb, theirs) = (peak_mb(prepare, *arguments) for prepare in (ours, baseline))
        pairs.append((mine_mb, their_mb))
        differences.append(abs(mine - theirs))
    watch(name, rounds, rounds)
    mine_mb, their_mb = (statistics.median(side) for side in zip(*pairs, strict=True))
    return Case(
        name=name,
        ratio=statistics.median(theirs / mine for mine, theirs in pairs),
        ours=amount / mine_mb * 1024,
        baseline=amount / their_mb * 1024,
        unit=UNIT,
        rounds=rounds,
        max_difference=max(differences),
        agreement={"our_peak_mb": mine_mb, "baseline_peak_mb": their_mb},
    )


def peak_mb(prepare: Prepare, *arguments: Any) -> tuple[float, float]:
    """Run a function twice in a fresh process; return how many MB the second run added at its peak, and its result."""
    with _memory_returned(), ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=init_worker) as pool:
        return pool.submit(_second_run, prepare, arguments).result()


def _second_run(prepare: Prepare, arguments: tuple[Any, ...]) -> tuple[float, float]:
    work = prepare(*arguments)
    work()  # libraries and optimizers allocate what they keep
    gc.collect()
    before = _resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak is what is held now (Linux)
    number = work()
    return (_resident("VmHWM") - before) / MB, number


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
