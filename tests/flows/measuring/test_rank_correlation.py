"""Spearman's rank correlation against scipy, with ties, and its interval."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from flows.measuring.rank_correlation import rank_correlation


@pytest.mark.parametrize("seed", range(4))
def test_the_correlation_of_tied_values_is_that_of_scipy(seed):
    rng = np.random.default_rng(seed)
    grade = rng.integers(1, 7, 30).astype(float)
    value = grade * rng.uniform(0, 1) + rng.normal(0, 1, 30)
    found = rank_correlation(grade, value)
    assert found.rho == pytest.approx(spearmanr(grade, value).statistic, abs=1e-12)
    assert found.interval[0] < found.rho < found.interval[1]
    assert found.num_people == 30


def test_the_interval_covers_the_true_correlation_about_as_often_as_it_states():
    rng = np.random.default_rng(7)
    true = 6 / np.pi * np.arcsin(0.7 / 2)  # Spearman's of two normal values with Pearson's 0.7
    covered = 0
    for _ in range(200):
        x, noise = rng.normal(size=(2, 60))
        low, high = rank_correlation(x, 0.7 * x + np.sqrt(1 - 0.7**2) * noise, num_resamples=300).interval
        covered += low <= true <= high
    assert 0.88 <= covered / 200 <= 0.99


def test_a_value_that_is_the_same_for_everyone_has_no_correlation():
    found = rank_correlation([3, 3, 3], [1, 2, 3])
    assert (found.rho, found.interval, found.num_people) == (None, None, 3)
    with pytest.raises(ValueError, match=r"values of shapes \(3,\) and \(2,\)"):
        rank_correlation([1, 2, 3], [1, 2])
