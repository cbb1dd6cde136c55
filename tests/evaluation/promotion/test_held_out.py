"""Held-out people are sorted by pseudonym, and a champion is compared on those who can test both models."""

from dataclasses import replace

import numpy as np
import pytest

from vitau.evaluation.promotion.held_out import Answers, HeldOut, compare_on_common_people, sort_people

PEOPLE = HeldOut(
    subjects=("b", "a", "c"),
    palsied_S=np.array([True, False, True]),
    affected_SA=np.eye(3, 8, dtype=bool),
    known_SA=np.ones((3, 8), bool),
    groups={"source": ["x", None, "y"]},
)
ANSWERS = Answers(
    palsy_S=np.array([0.25, 0.5, 0.75]),
    region_SA=np.arange(24.0).reshape(3, 8),
    threshold=np.array([0.125, 0.25, 0.375]),
    num_parameters=1,
    face_flops=2,
    right_S=np.array([0.0, 0.5, 1.0]),
)


def test_a_comparison_has_the_people_who_can_test_both_models() -> None:
    champion = replace(ANSWERS, palsy_S=np.array([0.5, np.nan, 1.0]), threshold=0.5)
    found = compare_on_common_people(PEOPLE, ANSWERS, champion)
    assert found is not None
    assert found.common_S.tolist() == [True, False, True]
    assert found.people.subjects == ("b", "c")
    assert found.people.groups == {}, "groups are judged on all people of the challenger"
    assert found.people.palsied_S.tolist() == [True, True]
    assert np.flatnonzero(found.people.affected_SA.any(0)).tolist() == [0, 2]
    assert np.array_equal(found.challenger.threshold, [0.125, 0.375])
    assert found.champion.threshold == 0.5
    assert found.challenger.palsy_S.tolist() == [0.25, 0.75]
    assert found.challenger.region_SA is not None
    assert found.challenger.region_SA[:, 0].tolist() == [0.0, 16.0]
    assert found.challenger.right_S is not None
    assert found.challenger.right_S.tolist() == [0.0, 1.0]
    assert compare_on_common_people(PEOPLE, ANSWERS, None) is None


def test_everything_is_sorted_by_pseudonym() -> None:
    people, challenger, champion = sort_people(PEOPLE, ANSWERS, None)
    assert (people.subjects, people.groups, champion) == (("a", "b", "c"), {"source": [None, "x", "y"]}, None)
    assert people.palsied_S.tolist() == [False, True, True]
    assert challenger.palsy_S.tolist() == [0.5, 0.25, 0.75]
    assert np.array_equal(challenger.threshold, [0.25, 0.125, 0.375])


@pytest.mark.parametrize(
    ("field", "words"),
    [("palsy_S", "answers"), ("region_SA", "regions"), ("threshold", "thresholds"), ("right_S", "sides")],
)
def test_numbers_of_another_number_of_people_are_refused_by_name(field: str, words: str) -> None:
    short = replace(ANSWERS, **{field: getattr(ANSWERS, field)[:2]})
    for given, name in (((short, None), "challenger"), ((ANSWERS, short), "champion")):
        with pytest.raises(ValueError, match=f"^3 people and 2 of the {name}'s {words} must be equally many$"):
            sort_people(PEOPLE, *given)
