"""Orders are deterministic permutations of their inputs; the random order depends only on names and seed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from labeling.sampling.active_learning import informative_order, random_order, rarity, same_pattern, uncertainty, varied_order

SHARES = st.floats(0, 1, allow_subnormal=False)


def people(most: int, least: int = 0, width: int = 3):
    return st.integers(least, most).flatmap(lambda num: arrays(np.float64, (num, width), elements=SHARES))


@given(people(12), people(5), st.integers(0, 14))
@pytest.mark.parametrize("order", [informative_order, varied_order])
def test_an_order_is_a_deterministic_permutation_and_fewer_are_a_prefix(order, waiting, asked, count):
    whole = order(waiting, asked)
    assert sorted(whole) == list(range(len(waiting)))
    assert order(waiting, asked) == whole
    assert order(waiting, asked, count) == whole[:count]


@given(people(8, 2), people(4), st.randoms(use_true_random=False))
@pytest.mark.parametrize("order", [informative_order, varied_order])
def test_the_first_person_does_not_depend_on_the_order_of_the_rows(order, waiting, asked, random):
    moved = list(range(len(waiting)))
    random.shuffle(moved)
    first, again = order(waiting, asked, 1)[0], order(waiting[moved], asked, 1)[0]
    if order is varied_order and len(asked):
        nearest = [np.linalg.norm(asked - person, axis=1).min() for person in waiting]
        assert nearest[first] == max(nearest) == nearest[moved[again]]
    elif order is informative_order:
        scores = [score_of(person, asked) for person in waiting]
        assert scores[first] == pytest.approx(max(scores))
        assert scores[moved[again]] == pytest.approx(max(scores))


def score_of(person, asked) -> float:
    """Compute the product of the three scores for one person."""
    p = np.clip(person, 1e-12, 1 - 1e-12)
    bits = float(np.mean([-(x * np.log2(x) + (1 - x) * np.log2(1 - x)) for x in p]))
    same = sum(
        np.prod([x * y + (1 - x) * (1 - y) for x, y in zip(p, np.clip(q, 1e-12, 1 - 1e-12), strict=True)]) for q in asked
    )
    nearest = min((float(np.linalg.norm(person - q)) for q in asked), default=np.inf)
    return bits / np.sqrt(1 + same) * min(nearest / np.sqrt(len(person)), 1)


def test_the_most_uncertain_person_is_first():
    waiting = np.array([[0.0, 1.0], [0.5, 0.5], [0.1, 0.9]])
    assert informative_order(waiting, np.zeros((0, 2)))[0] == 1
    assert uncertainty(waiting).tolist() == pytest.approx([0, 1, 0.469], abs=1e-3)


def test_a_frequent_pattern_comes_later():
    common, rare = [0.9, 0.1], [0.1, 0.9]
    asked = np.array([[0.8, 0.1]] * 5 + [[0.1, 0.6]])
    assert informative_order(np.array([common, rare]), asked)[0] == 1
    assert rarity(same_pattern(np.array([common, rare]), asked).sum(axis=1)).tolist() == pytest.approx([0.493, 0.765], abs=1e-3)


def test_two_similar_people_do_not_follow_each_other():
    waiting = np.array([[0.5, 0.5], [0.5, 0.5], [0.2, 0.3]])
    assert informative_order(waiting, np.zeros((0, 2))) == [0, 2, 1]
    assert varied_order(np.array([[0.0], [0.1], [5.0], [2.0]]), np.array([[0.0]])) == [2, 3, 1, 0]


def test_without_labels_the_most_central_person_is_first():
    assert varied_order(np.array([[0.0], [9.0], [4.0]]), np.zeros((0, 1))) == [2, 1, 0]


@given(st.lists(st.text(min_size=1), unique=True, max_size=20), st.integers(0, 3))
def test_a_random_order_stays_when_names_come_or_go(names, seed):
    whole = [names[place] for place in random_order(names, seed=seed)]
    assert sorted(whole) == sorted(names)
    fewer = names[::2]
    assert [fewer[place] for place in random_order(fewer, seed=seed)] == [name for name in whole if name in set(fewer)]


def test_a_random_order_depends_on_the_seed():
    names = [f"p{number}" for number in range(20)]
    assert len({tuple(random_order(names, seed=seed)) for seed in range(5)}) == 5


def test_a_person_without_finite_features_is_refused():
    with pytest.raises(ValueError, match="a person without finite values cannot be ordered"):
        varied_order(np.array([[np.nan]]), np.zeros((0, 1)))
