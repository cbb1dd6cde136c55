"""Simulated readers are reproducible, and err at the given rate."""

import numpy as np
import pytest

from labeling.label_studio.simulated_readers import NOTE, simulated_answer
from vitau.schema import AUS, RegionLabels, Side

TRUTH = RegionLabels(subject="p1", affected={au: au in AUS[:3] for au in AUS}, side=Side.RIGHT)


def test_the_same_seed_subject_and_reader_give_the_same_answer():
    assert simulated_answer(TRUTH, reader="A", seed=3, accuracy=0.5) == simulated_answer(
        TRUTH, reader="A", seed=3, accuracy=0.5
    )
    assert simulated_answer(TRUTH, reader="A", seed=3, accuracy=0.5) != simulated_answer(
        TRUTH, reader="B", seed=3, accuracy=0.5
    )


def test_a_perfect_reader_gives_the_truth_and_is_marked_as_simulated():
    answer = simulated_answer(TRUTH, reader="A", seed=0, accuracy=1.0)
    assert (answer.affected, answer.side, answer.note) == (TRUTH.affected, TRUTH.side, NOTE)


def test_mistakes_come_at_the_given_rate():
    right = [
        simulated_answer(RegionLabels(subject=f"p{i}", affected=TRUTH.affected, side=Side.LEFT), reader="A", seed=0).affected[
            au
        ]
        == TRUTH.affected[au]
        for i in range(1000)
        for au in AUS
    ]
    assert np.mean(right) == pytest.approx(0.95, abs=0.01)


def test_an_answer_has_a_side_exactly_if_a_region_is_affected():
    healthy = [RegionLabels(subject=f"p{i}", affected={}, side=None) for i in range(200)]
    answers = [simulated_answer(truth, reader="A", seed=0) for truth in healthy]
    assert all((answer.side is not None) == any(answer.affected.values()) for answer in answers)
    assert {answer.side for answer in answers} == {None, Side.LEFT, Side.RIGHT}
