"""The studies on drawn people: orders of labeling, and the threshold of changed material."""

import numpy as np
import pytest

from flows.studies import active_learning, change_threshold
from labeling.sampling.simulation import ORDERS


def test_a_population_is_drawn_the_same_again_and_its_held_out_people_are_others():
    one, again = (active_learning.draw_population(3, 12, 6) for _ in range(2))
    assert np.array_equal(one.feature_SD, again.feature_SD)
    assert (len(one.truth_SA), len(one.held_out_truth_TA)) == (12, 6)
    assert not np.array_equal(one.truth_SA[:6], one.held_out_truth_TA)
    more = active_learning.draw_population(3, 12, 8)
    assert np.array_equal(more.held_out_truth_TA[:6], one.held_out_truth_TA)


def test_a_small_replay_comes_to_a_number_for_every_order():
    found = active_learning.run([0.55], populations=2, people=40, held_out=20, seed=5, num_processes=1)
    assert [saving.order for saving in found.savings] == list(ORDERS)
    assert all(10 <= saving.needed <= 40 for saving in found.savings)


def test_all_the_labels_teach_the_same_in_every_order_and_better_than_chance():
    curves = active_learning.replay_population(5, people=120, held_out=80)
    ends = [curve.auroc[-1] for curve in curves]
    assert ends == pytest.approx([ends[0]] * len(ORDERS), abs=1e-3)
    assert 0.65 < ends[0] < 1  # about 0.80, with every arithmetic


def test_halves_that_move_alike_have_no_asymmetry_wherever_the_head_is():
    rng = np.random.default_rng(0)
    even = rng.normal(size=(3, 68, 2))
    one, other = active_learning.MIRRORED.T
    even[:, other] = even[:, one] * (-1, 1)
    assert np.allclose(active_learning.movement_asymmetry(even), 0)
    uneven = rng.normal(size=(3, 68, 2))
    assert np.allclose(active_learning.movement_asymmetry(uneven * 7 + 30), active_learning.movement_asymmetry(uneven))
    assert active_learning.movement_asymmetry(uneven).max() > 0.1


@pytest.mark.slow
def test_the_calibration_measures_each_kind_of_new_frames(monkeypatch):
    monkeypatch.setattr(change_threshold, "FRAMES_PER_TASK", 1)
    (found,) = [change_threshold.run(1, threshold=0.12, seed=0, num_processes=1)]
    assert [statistics.kind for statistics in found] == [
        "nothing new",
        "another light and camera",
        "four tasks not shown before",
        "most of the palsy gone",
    ]
    assert all(one.asked_again in {0, 1} and one.quantiles[0] == one.quantiles[2] > 0 for one in found)
