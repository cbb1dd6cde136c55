"""Splits are assigned once, stratified, and stay when people join."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitau.data.splits import NUM_CONTROL_FOLDS, assign, frames, lopo
from vitau.schema import Cohort, Split

PEOPLE = {f"p{i:03d}": (Cohort.PALSY if i % 2 else Cohort.CONTROL) for i in range(160)}
cohorts = st.dictionaries(st.text(min_size=1, max_size=6), st.sampled_from(list(Cohort)), min_size=1, max_size=80)


def test_160_people_become_110_20_and_30_half_of_each_palsied() -> None:
    splits = assign(PEOPLE, seed=7)
    for split, total in ((Split.TRAIN, 110), (Split.VAL, 20), (Split.TEST, 30)):
        cohort = Counter(PEOPLE[p] for p in splits if splits[p] == split)
        assert cohort == {Cohort.PALSY: total // 2, Cohort.CONTROL: total // 2}


@given(cohorts=cohorts, seed=st.integers(0, 5), data=st.data())
def test_every_person_has_one_split_and_keeps_it_when_people_join(
    cohorts: dict[str, Cohort], seed: int, data: st.DataObject
) -> None:
    early = data.draw(st.sets(st.sampled_from(sorted(cohorts))))
    first = assign({p: cohorts[p] for p in cohorts if p in early}, seed=seed)
    second = assign(cohorts, existing=first, seed=seed)
    assert set(second) == set(cohorts)
    assert {p: second[p] for p in first} == first
    assert assign(cohorts, existing=second, seed=seed + 1) == second


@given(cohorts=cohorts, seed=st.integers(0, 5))
def test_each_cohort_is_divided_to_the_nearest_person(cohorts: dict[str, Cohort], seed: int) -> None:
    splits = assign(cohorts, seed=seed)
    for cohort in set(cohorts.values()):
        people = [p for p in cohorts if cohorts[p] == cohort]
        for split, share in ((Split.TRAIN, 0.69), (Split.VAL, 0.12), (Split.TEST, 0.19)):
            assert abs(sum(splits[p] == split for p in people) - share * len(people)) < 1


@given(cohorts=cohorts, seed=st.integers(0, 5), data=st.data())
def test_the_order_of_the_people_does_not_matter(cohorts: dict[str, Cohort], seed: int, data: st.DataObject) -> None:
    shuffled = {p: cohorts[p] for p in data.draw(st.permutations(sorted(cohorts)))}
    assert assign(shuffled, seed=seed) == assign(cohorts, seed=seed)


def test_another_seed_assigns_other_splits() -> None:
    assert assign(PEOPLE, seed=0) != assign(PEOPLE, seed=1)


def test_every_split_covers_the_whole_range_of_the_balanced_number() -> None:
    number = {p: float(i % 8) for i, p in enumerate(PEOPLE)}
    splits = assign(PEOPLE, seed=3, spread=number)
    for cohort in (Cohort.PALSY, Cohort.CONTROL):
        mean_of_all = np.mean([number[p] for p in PEOPLE if PEOPLE[p] == cohort])
        tested = np.mean([number[p] for p in PEOPLE if PEOPLE[p] == cohort and splits[p] == Split.TEST])
        assert abs(tested - mean_of_all) < 0.25


def test_a_person_without_a_balanced_number_counts_as_zero() -> None:
    some = {p: 0.5 for i, p in enumerate(PEOPLE) if i % 3}
    assert assign(PEOPLE, spread=some) == assign(PEOPLE, spread=dict.fromkeys(PEOPLE, 0.0) | some)
    assert assign(PEOPLE, spread=some) != assign(PEOPLE, spread=dict.fromkeys(PEOPLE, 1.0) | some)


def test_fractions_that_do_not_add_up_are_refused() -> None:
    with pytest.raises(ValueError, match="must be at least 0 and add up to 1"):
        assign(PEOPLE, fractions={Split.TRAIN: 0.5, Split.VAL: 0.1, Split.TEST: 0.1})
    with pytest.raises(ValueError, match="the split fractions") as caught:
        assign(PEOPLE, fractions={Split.TRAIN: 1.5, Split.TEST: -0.5})
    shares = {Split.TRAIN: 1.5, Split.TEST: -0.5}
    assert str(caught.value) == f"the split fractions {shares} must be at least 0 and add up to 1"
    with pytest.raises(ValueError, match="add up to 1"):
        assign(PEOPLE, fractions={Split.TRAIN: 1.5, Split.TEST: 0.5})


def test_a_split_may_have_no_share() -> None:
    splits = assign(PEOPLE, fractions={Split.TRAIN: 0.5, Split.VAL: 0.0, Split.TEST: 0.5})
    assert Counter(splits.values()) == {Split.TRAIN: 80, Split.TEST: 80}
    assert set(assign(PEOPLE, fractions={Split.TEST: 1.0}).values()) == {Split.TEST}


def test_each_palsied_person_is_left_out_once_with_controls_that_are_not_trained_on() -> None:
    people = {p: PEOPLE[p] for p in list(PEOPLE)[:24]}
    folds = list(lopo(people, seed=1))
    left_out = [[p for p in fold.test if people[p] == Cohort.PALSY] for fold in folds]
    assert sorted(p for fold in left_out for p in fold) == [p for p in people if people[p] == Cohort.PALSY]
    assert all(len(fold) == 1 for fold in left_out)
    assert all(not fold.train & fold.test and fold.train | fold.test == set(people) for fold in folds)
    tested = Counter(p for fold in folds for p in fold.test)
    assert set(tested) == set(people)


def test_leave_one_person_out_needs_palsied_people() -> None:
    with pytest.raises(ValueError, match="leave-one-person-out") as caught:
        list(lopo({"a": Cohort.CONTROL, "b": Cohort.CONTROL}))
    assert str(caught.value) == "leave-one-person-out needs a palsied person and 5 controls, there are 0 and 2"
    controls = {f"c{number}": Cohort.CONTROL for number in range(5)}
    with pytest.raises(ValueError, match="there are 0 and 5"):
        list(lopo(controls))
    with pytest.raises(ValueError, match="needs a palsied person and 6 controls, there are 1 and 5"):
        list(lopo(controls | {"p": Cohort.PALSY}, num_control_folds=6))
    assert len(list(lopo(controls | {"p": Cohort.PALSY}))) == 1


def test_each_fold_tests_every_fifth_control_in_turn() -> None:
    people = {f"p{number}": Cohort.PALSY for number in range(7)} | {f"c{number}": Cohort.CONTROL for number in range(12)}
    folds = list(lopo(people))
    controls = [frozenset(person for person in fold.test if people[person] == Cohort.CONTROL) for fold in folds]
    assert [len(group) for group in controls] == [3, 3, 2, 2, 2, 3, 3]
    assert controls[5:] == controls[:2]
    assert frozenset().union(*controls[:NUM_CONTROL_FOLDS]) == {person for person in people if person.startswith("c")}
    assert folds == list(lopo(people, seed=0)) != list(lopo(people, seed=1))
    assert len(next(lopo(people, num_control_folds=12)).test) == 2


def test_assignments_and_folds_stay_those_of_published_runs() -> None:
    """Another order of the same people would move people between training and test."""
    people = {f"p{number}": (Cohort.PALSY if number % 2 else Cohort.CONTROL) for number in range(12)}
    names = {split: "".join(p[1:] + " " for p, s in assign(people).items() if s == split).strip() for split in Split}
    assert names == {Split.TRAIN: "1 10 2 5 6 7 8 9", Split.VAL: "0 3", Split.TEST: "11 4"}
    spread = {f"p{number}": float(number // 2) for number in range(11)}
    assert [split.value for split in assign(people, spread=spread).values()] == [
        "train",
        "train",
        "train",
        "train",
        "train",
        "test",
        "test",
        "val",
        "val",
        "train",
        "train",
        "train",
    ]
    assert [sorted(fold.test) for fold in lopo(people)] == [
        ["p2", "p6", "p7"],
        ["p10", "p5"],
        ["p11", "p4"],
        ["p0", "p3"],
        ["p1", "p8"],
        ["p2", "p6", "p9"],
    ]
    assert [test.tolist() for _, test in frames(7, num_folds=3)] == [[2, 3, 5], [1, 6], [0, 4]]
    assert [train.tolist() for train, _ in frames(7, num_folds=3)] == [[0, 1, 4, 6], [0, 2, 3, 4, 5], [1, 2, 3, 5, 6]]
    assert [len(test) for _, test in frames(10)] == [2] * 5


def test_a_split_with_more_people_than_its_share_takes_no_place_of_the_others() -> None:
    people = {f"p{number}": Cohort.PALSY for number in range(10)}
    existing = {f"p{number}": Split.TEST for number in range(6)}
    counts = Counter(assign(people, existing=existing, seed=2).values())
    assert counts == {Split.TEST: 6, Split.TRAIN: 3, Split.VAL: 1}


def test_one_person_too_many_in_a_split_costs_the_largest_split_one_place() -> None:
    people = {f"p{number}": Cohort.PALSY for number in range(10)}
    existing = {f"p{number}": Split.TEST for number in range(3)}
    counts = Counter(assign(people, existing=existing).values())
    assert counts == {Split.TEST: 3, Split.TRAIN: 6, Split.VAL: 1}


def test_each_frame_is_tested_once() -> None:
    folds = list(frames(23, seed=2, num_folds=4))
    assert sorted(np.concatenate([test for _, test in folds]).tolist()) == list(range(23))
    assert all(not set(train.tolist()) & set(test.tolist()) for train, test in folds)


def test_existing_splits_of_other_people_take_no_place() -> None:
    others = dict.fromkeys((f"gone-{i}" for i in range(50)), Split.TEST)
    assert assign(PEOPLE, existing=others, seed=7) == assign(PEOPLE, seed=7)
