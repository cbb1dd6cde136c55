"""Resample weights, ratios, percentile intervals and their formatting."""

import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

from vitau.evaluation.bootstrap import (
    QUANTILES_99,
    cached_resampler,
    defined,
    format_estimate,
    format_interval,
    mean_of_defined,
    percentile_interval,
    ratio,
    resample_blocks,
    resample_indices,
    resample_weights,
    weighted_mean,
    with_point_estimate,
)


def test_every_resample_counts_as_many_people_as_there_are_and_each_equally_often():
    for weight_RS in (resample_weights(20, 4000, 1), cached_resampler(4000, 1)(20)):
        assert weight_RS.shape == (4000, 20)
        assert weight_RS.dtype == np.float64
        assert (weight_RS.sum(1) == 20).all()
        assert weight_RS.mean(0) == pytest.approx(np.ones(20), abs=0.08)


def test_a_seed_determines_the_resamples():
    for draw in (lambda seed: resample_weights(20, 50, seed), lambda seed: cached_resampler(50, seed)(20)):
        assert (draw(1) == draw(1)).all()
        assert (draw(1) != draw(2)).any()


def test_random_streams_do_not_change():
    """Stored metrics and published agreement intervals come from these streams."""
    assert resample_weights(6, 2, 0).tolist() == [[1.0, 0.0, 0.0, 0.0, 4.0, 1.0], [2.0, 1.0, 1.0, 1.0, 1.0, 0.0]]
    indices = resample_indices(6, 2, 0)
    assert indices.tolist() == [[5, 3, 3, 1, 1, 0], [0, 0, 1, 4, 3, 5]]
    assert cached_resampler(2, 0)(6).tolist() == [np.bincount(row, minlength=6).tolist() for row in indices]


def test_the_blocks_of_resamples_are_the_resamples_in_little_memory():
    tracemalloc.start()
    blocks = list(map(np.sum, resample_blocks(20_000, 300, seed=5)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (len(blocks), sum(blocks)) == (2, 300 * 20_000)
    assert peak < 40e6  # all weights at once are 48 MB, and as much again while they are converted
    one, two = resample_blocks(3_000_000, 2, seed=5)
    assert np.array_equal(np.concatenate([one, two]), resample_weights(3_000_000, 2, seed=5))


def test_the_first_row_is_the_point_estimate():
    value_S = np.array([0.0, 0.5, 1.0])
    value_R = weighted_mean(with_point_estimate(resample_weights(3, 10, 0)), value_S)
    assert value_R[0] == 0.5
    assert len(value_R) == 11


def test_a_ratio_over_nothing_is_not_a_number():
    assert ratio(np.array([1.0, 1.0]), np.array([2.0, 0.0])).tolist() == pytest.approx([0.5, np.nan], nan_ok=True)
    assert ratio(np.ones((2, 1)), np.array([1, 0, 4])).shape == (2, 3)
    assert np.isnan(weighted_mean(np.zeros((1, 2)), np.ones(2))).all()


def test_a_mean_of_defined_values_ignores_the_others():
    value_KR = np.array([[1.0, np.nan, np.nan], [2.0, 4.0, np.nan]])
    assert mean_of_defined(value_KR).tolist() == pytest.approx([1.5, 4.0, np.nan], nan_ok=True)
    assert (defined(np.nan), defined(np.float64(0.5))) == (None, 0.5)


def test_an_interval_ignores_undefined_resamples_and_is_absent_without_any():
    value_R = np.array([*np.linspace(0, 1, 101), np.nan])
    assert percentile_interval(value_R) == pytest.approx((0.025, 0.975))
    assert percentile_interval(value_R, QUANTILES_99) == pytest.approx((0.005, 0.995))
    assert percentile_interval(np.array([np.nan])) is None


def test_an_estimate_is_written_with_its_interval():
    assert format_estimate(0.5, (0.25, 0.75)) == "0.500 [0.250, 0.750]"
    assert format_estimate(2.0, [-1.0, 5.0], digits=1, sign="+") == "+2.0 [-1.0, +5.0]"
    assert format_estimate(0.5, None) == "0.500"
    assert format_estimate(None, None, undefined="undefined") == "undefined"
    assert format_interval(None) == ""


def test_importing_the_module_does_not_import_torch_or_scipy():
    code = "import sys, vitau.evaluation.bootstrap; print({'torch', 'scipy', 'sklearn', 'pyarrow'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"
