"""Drift by person: no alarm without a change, an alarm with one."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitau.evaluation.drift import ALPHA, MIN_PEOPLE, People, compare, psi, surprisal

PERMUTATIONS = 2000


def people(num_people: int, seed: int, *, darker: float = 0.0, clinic: float = 0.5, other_faces: float = 0.0) -> People:
    rng = np.random.default_rng(seed)
    source = np.where(rng.random(num_people) < clinic, "clinic", "phone").tolist()
    return People(
        subjects=tuple(f"p{seed}-{person}" for person in range(num_people)),
        source=source,
        numbers={
            "brightness": rng.normal(120 - darker, 15, num_people),
            "sharpness": np.exp(rng.normal(5, 0.6, num_people)),
            "palsy score": rng.beta(0.5, 0.5, num_people),
        },
        vectors={"face": rng.normal(0, 1, (num_people, 12)) + other_faces},
        mixtures={"source": source},
    )


def drifted(before: People, now: People) -> set[tuple[str, str | None]]:
    return {(drift.measure, drift.source) for drift in compare(before, now, num_permutations=PERMUTATIONS) if drift.drifted}


def test_false_alarms_are_as_rare_as_alpha_says():
    alarms = sum(bool(drifted(people(40, seed), people(25, 10_000 + seed))) for seed in range(40))
    assert alarms <= 3  # at ALPHA = 0.01 there are 4 or more of 40 once in 1 500 sets of seeds


@pytest.mark.parametrize(
    ("changed", "measure"),
    [({"darker": 30.0}, "brightness"), ({"clinic": 0.05}, "source"), ({"other_faces": 0.8}, "face")],
)
def test_the_changed_measure_is_found_and_no_other(changed, measure):
    found = drifted(people(80, 1), people(40, 2, **changed))
    assert {name for name, _ in found} == {measure}
    assert (measure, None) in found


def test_one_source_that_drifts_is_named():
    before, now = people(120, 1), people(80, 2)
    clinic = np.array([source == "clinic" for source in now.source])
    dark = replace(now, numbers=dict(now.numbers) | {"brightness": now.numbers["brightness"] - 25 * clinic})
    found = drifted(before, dark)
    assert ("brightness", "clinic") in found
    assert ("brightness", "phone") not in found


def test_few_people_are_not_compared():
    assert compare(people(80, 1), people(MIN_PEOPLE - 1, 2, darker=90)) == []
    assert len(compare(people(80, 1), people(MIN_PEOPLE, 2), num_permutations=100)) >= 5


def test_a_significant_but_tiny_difference_is_no_drift():
    before, now = people(6000, 1), people(6000, 2, darker=3.0)
    (found,) = [
        drift for drift in compare(before, now, num_permutations=50) if (drift.measure, drift.source) == ("brightness", None)
    ]
    assert found.adjusted_p < ALPHA
    assert found.effect < 0.2
    assert not found.drifted


def test_people_without_a_value_or_a_face_are_left_out_of_that_measure():
    before, now = people(40, 1), people(40, 2)
    now.numbers["palsy score"][:10] = np.nan
    now.vectors["face"][:4] = np.nan
    found = {(drift.measure, drift.source): drift for drift in compare(before, now, num_permutations=100)}
    assert (found["palsy score", None].num_now, found["face", None].num_now) == (30, 36)


@given(seed=st.integers(0, 30))
def test_an_adjusted_p_value_is_at_least_the_p_value_and_keeps_the_order(seed):
    found = sorted(compare(people(20, seed), people(20, seed + 1), num_permutations=100), key=lambda drift: drift.p)
    assert all(drift.adjusted_p >= drift.p for drift in found)
    assert all(one.adjusted_p <= other.adjusted_p for one, other in itertools.pairwise(found))


def test_the_people_who_differ_most_have_the_highest_surprisal():
    before, now = people(80, 1), people(40, 2)
    now.numbers["brightness"][5:25] -= 90
    found = [drift for drift in compare(before, now, num_permutations=PERMUTATIONS) if drift.drifted]
    bits = surprisal(before, now, found)
    assert set(np.argsort(-bits)[:20]) == set(range(5, 25))
    assert surprisal(before, now, []).tolist() == [0.0] * 40


def test_a_face_far_from_all_others_has_a_higher_surprisal_than_one_among_them():
    before, now = people(80, 1), people(40, 2)
    now.vectors["face"][7] += 4
    now.vectors["face"][8] = before.vectors["face"][3]
    now.vectors["face"][9] = np.nan
    bits = surprisal(before, now, [drift for drift in compare(before, now, num_permutations=100) if drift.kind == "vector"])
    assert bits[7] == bits.max() > 6
    assert (bits[8], bits[9]) == (0, 0)


def test_the_stability_index_is_that_of_its_formula():
    before = np.arange(1000.0)
    assert psi(before, before) == pytest.approx(0)
    shares = np.array([0.5 + 100] * 10) / 1005
    moved = np.array([0.5] * 9 + [0.5 + 100]) / 105
    expected = ((moved - shares) * np.log(moved / shares)).sum()
    assert psi(before, np.full(100, 2000.0)) == pytest.approx(expected)
