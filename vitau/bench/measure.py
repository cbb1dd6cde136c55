"""Two ways to the same result, timed in turns in one process."""

import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
Watch = Callable[[str, int, int], None]
"""Told what is measured, and how many rounds of how many are done."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One measurement: ``ours`` and ``baseline`` in ``unit`` (more is better), ``ratio`` the median of the rounds' ratios.

    ``max_difference`` is the largest between the two results over all rounds, in what the bench's ``difference`` says;
    ``agreement`` holds what else compares them.
    """

    name: str
    ratio: float
    ours: float
    baseline: float
    unit: str
    rounds: int
    max_difference: float
    agreement: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """All cases of one bench, and in words what was compared and what ``max_difference`` is."""

    name: str
    compared: str
    difference: str
    cases: tuple[Case, ...]


def compare(
    name: str,
    ours: Callable[[], T],
    baseline: Callable[[], T],
    judge: Callable[[T, T], Mapping[str, float]],
    *,
    amount: float,
    unit: str,
    rounds: int,
    watch: Watch,
) -> Case:
    """Time two ways to one result: once each to warm up, then in turns, every other round in the other order.

    Args:
        name: of the case.
        ours: does the work once.
        baseline: does the same work.
        judge: compares their results, untimed; one entry is ``max_difference``.
        amount: how much work that is, in the unit's numerator.
        unit: of a rate.
        rounds: at least 1.
        watch: told of every finished round.
    """
    judged = [judge(ours(), baseline())]
    pairs: list[tuple[float, float]] = []
    for number in range(rounds):
        watch(name, number, rounds)
        if number % 2:
            slow_s, theirs = _timed(baseline)
            quick_s, mine = _timed(ours)
        else:
            quick_s, mine = _timed(ours)
            slow_s, theirs = _timed(baseline)
        pairs.append((quick_s, slow_s))
        judged.append(judge(mine, theirs))
    watch(name, rounds, rounds)
    return Case(
        name=name,
        ratio=statistics.median(slow_s / quick_s for quick_s, slow_s in pairs),
        ours=amount / statistics.median(quick_s for quick_s, _ in pairs),
        baseline=amount / statistics.median(slow_s for _, slow_s in pairs),
        unit=unit,
        rounds=rounds,
        max_difference=max(one["max_difference"] for one in judged),
        agreement={key: value for key, value in judged[-1].items() if key != "max_difference"},
    )


def as_record(result: Result) -> dict[str, Any]:
    """Lay a result out for JSON: the figures of its weakest case, the largest difference of all, the machine, every case."""
    weakest = min(result.cases, key=lambda case: case.ratio)
    return {
        "name": result.name,
        "compared": result.compared,
        **{key: value for key, value in asdict(weakest).items() if key not in {"name", "agreement"}},
        "case": weakest.name,
        "max_difference": max(case.max_difference for case in result.cases),
        "difference": result.difference,
        "machine": machine(),
        "cases": [asdict(case) for case in result.cases],
    }


def machine() -> dict[str, Any]:
    """What this was measured on, without its name; ``load`` is how many processes have wanted a core in the last minute."""
    import torch

    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "torch_threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 1),
    }


def _timed(work: Callable[[], T]) -> tuple[float, T]:
    started = time.perf_counter()
    result = work()
    return time.perf_counter() - started, result


def _cpu_model() -> str:
    listing = Path("/proc/cpuinfo")
    lines = listing.read_text(encoding="utf-8").splitlines() if listing.is_file() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()
