"""Simulated readers are repeatable, and wrong as often as they are told to be."""

import numpy as np
import pytest

from labeling.label_studio.simulated_readers import NOTE, read
from vitau.schema import AUS, RegionLabels, Side

TRUTH = RegionLabels(subject="p1", affected={au: au in AUS[:3] for au in AUS}, side=Side.RIGHT)


def test_the_same_seed_person_and_reader_say_the_same():
    assert read(TRUTH, reader="A", seed=3, accuracy=0.5) == read(TRUTH, reader="A", seed=3, accuracy=0.5)
    assert read(TRUTH, reader="A", seed=3, accuracy=0.5) != read(TRUTH, reader="B", seed=3, accuracy=0.5)


def test_a_perfect_reader_tells_the_truth_and_says_that_it_is_simulated():
    answer = read(TRUTH, reader="A", seed=0, accuracy=1.0)
    assert (answer.affected, answer.side, answer.note) == (TRUTH.affected, TRUTH.side, NOTE)


def test_mistakes_come_at_the_rate_that_was_asked_for():
    right = [
        read(RegionLabels(subject=f"p{i}", affected=TRUTH.affected, side=Side.LEFT), reader="A", seed=0).affected[au]
        == TRUTH.affected[au]
        for i in range(1000)
        for au in AUS
    ]
    assert np.mean(right) == pytest.approx(0.95, abs=0.01)


def test_a_side_is_said_exactly_where_a_region_is():
    healthy = [RegionLabels(subject=f"p{i}", affected={}, side=None) for i in range(200)]
    answers = [read(truth, reader="A", seed=0) for truth in healthy]
    assert all((answer.side is not None) == any(answer.affected.values()) for answer in answers)
    assert {answer.side for answer in answers} == {None, Side.LEFT, Side.RIGHT}
