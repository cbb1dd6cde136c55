"""Timing of two implementations with the same result, in alternation in one process."""

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
"""Callback with the name of the case, and the number of rounds done and of all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One measurement: ``ours`` and ``baseline`` in ``unit`` (more is better), ``ratio`` the median of the rounds' ratios.

    ``max_difference`` is the largest between the two results over all rounds, as the benchmark's ``difference`` describes;
    ``agreement`` holds further comparisons. ``at_least`` is the smallest ratio that is wanted, ``None`` where it is only
    reported. ``floors`` are rates, in ``unit``, of parts that no implementation can leave out.
    """

    name: str
    ratio: float
    ours: float
    baseline: float
    unit: str
    rounds: int
    max_difference: float
    agreement: Mapping[str, float] = field(default_factory=dict)
    at_least: float | None = None
    floors: Mapping[str, float] = field(default_factory=dict)

    @property
    def missed(self) -> bool:
        """True where the ratio is smaller than the wanted one."""
        return self.at_least is not None and self.ratio < self.at_least


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """All cases of one benchmark; ``compared`` and ``difference`` describe the comparison and ``max_difference``."""

    name: str
    compared: str
    difference: str
    cases: tuple[Case, ...]


def compare(  # noqa: PLR0913 - two functions, their comparison, and what they are measured by
    name: str,
    ours: Callable[[], T],
    baseline: Callable[[], T],
    judge: Callable[[T, T], Mapping[str, float]],
    *,
    amount: float,
    unit: str,
    rounds: int,
    watch: Watch,
    at_least: float | None = None,
    floors: Mapping[str, float] | None = None,
    warm: bool = True,
) -> Case:
    """Time two implementations: once each to warm up, then in alternation, every other round in the reverse order.

    Args:
        name: name of the case.
        ours: our implementation, called once per round.
        baseline: the other implementation.
        judge: compares the two results, untimed; one entry is ``max_difference``.
        amount: amount of work in one call, in the unit's numerator.
        unit: unit of the rates.
        rounds: at least 1.
        watch: called after every round.
        at_least: smallest ratio that is wanted.
        floors: rates of parts that no implementation can leave out.
        warm: call each once before the first round; needless for new processes.
    """
    judged = [judge(ours(), baseline())] if warm else []
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
        at_least=at_least,
        floors=floors or {},
    )


def rate(work: Callable[[], object], amount: float, rounds: int = 3) -> float:
    """Return the amount of work per second of the fastest of some rounds."""
    return amount / min(_timed(work)[0] for _ in range(rounds))


def in_turn(*rates: float) -> float:
    """Return the rate of parts that are done one after another, from the rate of each."""
    return 1 / sum(1 / one for one in rates)


def as_record(result: Result) -> dict[str, Any]:
    """Return a result as JSON values: the weakest case, the largest difference, the machine, and every case."""
    weakest = min(result.cases, key=lambda case: case.ratio)
    return {
        "name": result.name,
        "compared": result.compared,
        **{key: value for key, value in asdict(weakest).items() if key not in {"name", "agreement", "floors"}},
        "case": weakest.name,
        "max_difference": max(case.max_difference for case in result.cases),
        "difference": result.difference,
        "machine": machine(),
        "cases": [asdict(case) for case in result.cases],
    }


def machine() -> dict[str, Any]:
    """Return the machine of a measurement, without its name; ``load`` is the load average of the last minute."""
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
