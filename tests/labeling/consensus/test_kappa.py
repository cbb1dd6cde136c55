"""Cohen's κ compared with scikit-learn's, and its intervals with resampled people."""

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from labeling.consensus.kappa import pair_kappas
from vitau.evaluation.bootstrap import cached_resampler


def ratings(num_people: int = 40, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth_SA = rng.random((num_people, 8)) < 0.4
    found = {}
    for name, error in (("a", 0.1), ("b", 0.2), ("the model", 0.3)):
        found[name] = (truth_SA ^ (rng.random((num_people, 8)) < error)).astype(float)
        found[name][rng.random((num_people, 8)) < 0.1] = np.nan
    found["the model"][:5] = np.nan
    return found


def directly(one: np.ndarray, other: np.ndarray) -> float:
    both = np.isfinite(one + other)
    return cohen_kappa_score(one[both], other[both])


def test_kappa_equals_that_of_scikit_learn_over_the_cells_that_both_rated():
    by_rater = ratings()
    found = pair_kappas(by_rater, num_resamples=20)
    assert [(pair.one, pair.other) for pair in found] == [("a", "b"), ("a", "the model"), ("b", "the model")]
    for pair in found:
        one, other = by_rater[pair.one], by_rater[pair.other]
        assert pair.kappa == pytest.approx(directly(one, other))
        assert pair.num_cells == np.isfinite(one + other).sum()
    assert [pair.num_subjects for pair in found] == [40, 35, 35]


def test_the_interval_is_that_of_people_resampled_with_all_their_regions():
    by_rater = {name: rating for name, rating in ratings(25).items() if name != "the model"}
    (found,) = pair_kappas(by_rater, num_resamples=200, seed=3)
    weights = cached_resampler(200, 3)(25).astype(int)
    values = [directly(*(np.repeat(rating, weight, axis=0) for rating in by_rater.values())) for weight in weights]
    assert found.interval == pytest.approx(tuple(np.quantile(values, [0.025, 0.975])))


def test_kappa_is_undefined_where_chance_explains_everything_or_nothing_was_rated_by_both():
    always = np.ones((6, 8))
    nothing = np.full((6, 8), np.nan)
    constant, empty, _ = pair_kappas({"a": always, "b": always, "c": nothing}, num_resamples=10)
    assert (constant.kappa, constant.interval, constant.num_cells) == (None, None, 48)
    assert (empty.kappa, empty.interval, empty.num_cells, empty.num_subjects) == (None, None, 0, 0)
