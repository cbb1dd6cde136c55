import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitau.data.protocols import PAPER_COUNTS, FrameCounts, available_counts, divide, everybody
from vitau.schema import Protocol, Split

PALSIED, CONTROLS, FRAMES = 6, 7, 4
PEOPLE = [f"p{number}" for number in range(PALSIED)] + [f"c{number}" for number in range(CONTROLS)]
SUBJECT_N = np.repeat(PEOPLE, FRAMES)
PALSIED_N = np.char.startswith(SUBJECT_N, "p")
SPLIT_N = np.repeat([("train", "train", "train", "val", "test")[number % 5] for number in range(len(PEOPLE))], FRAMES)


def folds(protocol, *, seed=0, counts=None, split_N=SPLIT_N):
    return list(divide(protocol, subject_N=SUBJECT_N, palsied_N=PALSIED_N, split_N=split_N, seed=seed, counts=counts))


def people(mask_N):
    return set(SUBJECT_N[mask_N].tolist())


@given(seed=st.integers(0, 1000), protocol=st.sampled_from([Protocol.SUBJECTS, Protocol.LOPO]))
def test_no_person_is_in_two_parts_of_a_fold_and_each_part_has_both_cohorts(seed, protocol):
    for fold in folds(protocol, seed=seed):
        train, val, test = people(fold.train_N), people(fold.val_N), people(fold.test_N)
        assert not train & val
        assert not (train | val) & test
        assert train | val | test == set(PEOPLE)
        assert {name[0] for name in train} == {name[0] for name in val} == {name[0] for name in test} == {"p", "c"}


@given(seed=st.integers(0, 1000))
def test_lopo_leaves_each_palsied_person_out_once_and_tests_every_control(seed):
    found = folds(Protocol.LOPO, seed=seed)
    left_out = [{name for name in people(fold.test_N) if name[0] == "p"} for fold in found]
    assert len(found) == PALSIED
    assert sorted(name for names in left_out for name in names) == sorted(name for name in PEOPLE if name[0] == "p")
    controls = [{name for name in people(fold.test_N) if name[0] == "c"} for fold in found]
    assert set().union(*controls) == {name for name in PEOPLE if name[0] == "c"}
    assert all(not first & second for place, first in enumerate(controls[:5]) for second in controls[:place])


def test_frames_tests_each_frame_once_among_people_seen_in_training():
    found = folds(Protocol.FRAMES)
    assert np.array_equal(sum(fold.test_N.astype(int) for fold in found), np.ones(len(SUBJECT_N)))
    for fold in found:
        assert people(fold.test_N) & people(fold.train_N)
        assert fold.val_N.any()
        assert not (fold.train_N & fold.val_N | fold.train_N & fold.test_N | fold.val_N & fold.test_N).any()


def test_subjects_is_the_recorded_splits():
    [fold] = folds(Protocol.SUBJECTS, seed=3)
    assert fold.splits().tolist() == SPLIT_N.tolist()


def test_subjects_needs_both_cohorts_in_each_split():
    with pytest.raises(ValueError, match="choose protocol lopo") as caught:
        folds(Protocol.SUBJECTS, split_N=np.where(PALSIED_N & (str(Split.VAL) == SPLIT_N), "train", SPLIT_N))
    assert str(caught.value) == (
        "protocol subjects uses the recorded splits, and val lacks palsied people or controls: "
        "label more people, or choose protocol lopo"
    )


def test_lopo_needs_three_palsied_people():
    few = np.isin(SUBJECT_N, ["p0", "p1", *PEOPLE[PALSIED:]])
    with pytest.raises(ValueError, match="it needs 3, there are 2"):
        list(divide(Protocol.LOPO, subject_N=SUBJECT_N[few], palsied_N=PALSIED_N[few], split_N=SPLIT_N[few], seed=0))


def test_the_order_of_the_seed_moves_people_and_frames():
    for protocol in (Protocol.LOPO, Protocol.FRAMES):
        first, again, other = (folds(protocol, seed=seed) for seed in (0, 0, 1))
        tests = [[fold.test_N.tolist() for fold in found] for found in (first, again, other)]
        assert tests[0] == tests[1] != tests[2]


def test_the_papers_counts_are_taken_where_the_data_has_them():
    palsied_N = np.arange(60_000) < 27_000
    assert available_counts(palsied_N, PAPER_COUNTS["palsy"]) == PAPER_COUNTS["palsy"]


def test_a_cohort_with_too_few_frames_is_divided_in_the_ratio_of_the_paper():
    palsied_N = np.arange(27_000 + 10_700) < 27_000
    taken = available_counts(palsied_N, PAPER_COUNTS["palsy"])
    assert (taken.train_palsied, taken.test_palsied) == (20_000, 6_100)
    assert (taken.train_control, taken.test_control) == (9_908, 792)
    assert taken.test_control / 10_700 == pytest.approx(2_000 / 27_000, rel=1e-3)


def test_counted_frames_are_taken_once_each_and_validation_comes_out_of_training():
    counts = FrameCounts(train_palsied=10, test_palsied=5, train_control=12, test_control=8)
    [fold] = folds(Protocol.FRAMES, counts=counts)
    used_N = fold.train_N | fold.val_N
    assert [int((used_N & of_N).sum()) for of_N in (PALSIED_N, ~PALSIED_N)] == [10, 12]
    assert [int((fold.test_N & of_N).sum()) for of_N in (PALSIED_N, ~PALSIED_N)] == [5, 8]
    assert not (used_N & fold.test_N).any()
    assert int(fold.val_N.sum()) == round(0.15 * 22)


def test_after_people_were_left_out_everybody_trains_or_validates_and_nobody_tests():
    subject_N = np.repeat([f"p{number}" for number in range(9)] + [f"c{number}" for number in range(12)], 3)
    palsied_N = np.char.startswith(subject_N, "p")
    fold = everybody(subject_N, palsied_N, 0)
    assert (fold.train_N ^ fold.val_N).all()
    assert not fold.test_N.any()
    assert not set(subject_N[fold.train_N]) & set(subject_N[fold.val_N])
    assert [len(set(subject_N[fold.val_N & own_N])) for own_N in (palsied_N, ~palsied_N)] == [1, 2]
    assert (everybody(subject_N, palsied_N, 0).val_N == fold.val_N).all()
