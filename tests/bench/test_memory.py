from collections.abc import Callable

import numpy as np
import pytest

from vitau.bench.memory import compare_peaks, compare_whole_peaks, peak_of

MB = 1 << 20


def hold(mb: int) -> Callable[[], float]:
    """Work that holds so many MB at once, and gives their sum."""
    return lambda: float(np.ones(mb * MB, np.uint8).sum())


def hold_thrice(mb: int) -> Callable[[], float]:
    return lambda: float(np.ones((3, mb * MB), np.uint8)[0].sum())


@pytest.mark.parametrize("mb", [40, 160])
def test_the_peak_is_what_the_work_holds_at_once(mb):
    peak = peak_of(hold, mb)
    assert peak.added_mb == pytest.approx(mb, abs=8)
    assert peak.whole_mb > peak.added_mb
    assert peak.number == mb * MB


def test_a_way_that_holds_three_times_as_much_has_a_ratio_of_three():
    case = compare_peaks("blocks", hold, hold_thrice, 100, amount=10, rounds=1, watch=lambda *_: None)
    assert case.ratio == pytest.approx(3, abs=0.5)
    assert case.max_difference == 0
    assert case.ours == pytest.approx(10 / 100 * 1024, rel=0.15)


def test_memory_and_speed_are_of_the_same_runs():
    memory, speed = compare_whole_peaks(
        "blocks", hold, hold_thrice, 400, amount=10, rounds=1, watch=lambda *_: None, at_least=(1.5, 0.5)
    )
    assert 1.5 < memory.ratio < 3  # the process itself counts on both sides
    assert speed.ratio > 0
    assert (memory.at_least, speed.at_least, memory.missed) == (1.5, 0.5, False)
