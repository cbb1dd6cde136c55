"""An order is a permutation that hangs on nothing but what it is made of; chance hangs on names and seed alone."""

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
def test_everybody_comes_once_the_same_again_and_fewer_are_the_beginning_of_all(order, waiting, asked, count):
    whole = order(waiting, asked)
    assert sorted(whole) == list(range(len(waiting)))
    assert order(waiting, asked) == whole
    assert order(waiting, asked, count) == whole[:count]


@given(people(8, 2), people(4), st.randoms(use_true_random=False))
@pytest.mark.parametrize("order", [informative_order, varied_order])
def test_whoever_comes_first_has_numbers_that_come_first_however_people_are_listed(order, waiting, asked, random):
    moved = list(range(len(waiting)))
    random.shuffle(moved)
    first, again = order(waiting, asked, 1)[0], order(waiting[moved], asked, 1)[0]
    if order is varied_order and len(asked):
        nearest = [np.linalg.norm(asked - each, axis=1).min() for each in waiting]
        assert nearest[first] == max(nearest) == nearest[moved[again]]
    elif order is informative_order:
        worth = [worth_of(each, asked) for each in waiting]
        assert worth[first] == pytest.approx(max(worth))
        assert worth[moved[again]] == pytest.approx(max(worth))


def worth_of(person, asked) -> float:
    """The three reasons multiplied, written out for one person."""
    p = np.clip(person, 1e-12, 1 - 1e-12)
    bits = float(np.mean([-(x * np.log2(x) + (1 - x) * np.log2(1 - x)) for x in p]))
    same = sum(
        np.prod([x * y + (1 - x) * (1 - y) for x, y in zip(p, np.clip(q, 1e-12, 1 - 1e-12), strict=True)]) for q in asked
    )
    nearest = min((float(np.linalg.norm(person - q)) for q in asked), default=np.inf)
    return bits / np.sqrt(1 + same) * min(nearest / np.sqrt(len(person)), 1)


def test_who_is_told_apart_least_is_asked_about_first():
    waiting = np.array([[0.0, 1.0], [0.5, 0.5], [0.1, 0.9]])
    assert informative_order(waiting, np.zeros((0, 2)))[0] == 1
    assert uncertainty(waiting).tolist() == pytest.approx([0, 1, 0.469], abs=1e-3)


def test_a_pattern_that_many_have_is_asked_about_later():
    common, rare = [0.9, 0.1], [0.1, 0.9]
    asked = np.array([[0.8, 0.1]] * 5 + [[0.1, 0.6]])
    assert informative_order(np.array([common, rare]), asked)[0] == 1
    assert rarity(same_pattern(np.array([common, rare]), asked).sum(axis=1)).tolist() == pytest.approx([0.493, 0.765], abs=1e-3)


def test_two_who_are_alike_are_not_asked_about_one_after_the_other():
    waiting = np.array([[0.5, 0.5], [0.5, 0.5], [0.2, 0.3]])
    assert informative_order(waiting, np.zeros((0, 2))) == [0, 2, 1]
    assert varied_order(np.array([[0.0], [0.1], [5.0], [2.0]]), np.array([[0.0]])) == [2, 3, 1, 0]


def test_with_nobody_asked_the_one_amid_all_comes_first():
    assert varied_order(np.array([[0.0], [9.0], [4.0]]), np.zeros((0, 1))) == [2, 1, 0]


@given(st.lists(st.text(min_size=1), unique=True, max_size=20), st.integers(0, 3))
def test_chance_moves_nobody_when_others_come_or_go(names, seed):
    whole = [names[place] for place in random_order(names, seed=seed)]
    assert sorted(whole) == sorted(names)
    fewer = names[::2]
    assert [fewer[place] for place in random_order(fewer, seed=seed)] == [name for name in whole if name in set(fewer)]


def test_chance_differs_by_seed():
    names = [f"p{number}" for number in range(20)]
    assert len({tuple(random_order(names, seed=seed)) for seed in range(5)}) == 5


def test_a_person_without_numbers_is_refused():
    with pytest.raises(ValueError, match="a person without numbers cannot be put in order"):
        varied_order(np.array([[np.nan]]), np.zeros((0, 1)))
