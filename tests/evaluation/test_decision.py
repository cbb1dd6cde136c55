import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vitau.evaluation.decision import Calibration, DecisionRule, log_odds, mean_probability, sigmoid

PROBABILITIES = st.lists(st.floats(0, 1, width=32), min_size=1, max_size=30)


@settings(max_examples=50, deadline=None)
@given(PROBABILITIES)
def test_log_odds_of_probabilities_give_them_back_up_to_the_clipping(values):
    np.testing.assert_allclose(sigmoid(log_odds(values)), np.clip(np.float64(values), 1e-6, 1 - 1e-6), rtol=1e-9)


def test_a_calibration_scales_and_shifts_the_log_odds():
    odds = np.array([1 / 9, 1.0, 9.0])
    calibrated = Calibration(scale=2.0, bias=np.log(3.0)).apply(odds / (1 + odds))
    np.testing.assert_allclose(calibrated / (1 - calibrated), 3 * odds**2, rtol=1e-5)
    assert calibrated.dtype == np.float32


@settings(max_examples=50, deadline=None)
@given(PROBABILITIES, st.floats(0.1, 5), st.floats(-3, 3))
def test_a_calibration_keeps_the_order_of_scores(values, scale, bias):
    ordered = np.sort(np.float32(values))
    assert (np.diff(Calibration(scale=scale, bias=bias).apply(ordered)) >= 0).all()


def test_the_mean_of_log_odds_is_the_geometric_mean_of_the_odds():
    assert mean_probability(np.array([0.5, 0.9]), averages_log_odds=True) == pytest.approx(3 / 4)
    assert mean_probability(np.array([0.5, 0.9]), averages_log_odds=False) == pytest.approx(0.7)


def test_a_card_of_an_older_model_leaves_scores_as_they_are():
    rule, scores = DecisionRule.from_card({"threshold": 0.3}), np.array([0.1, 0.9], np.float32)
    assert rule == DecisionRule(threshold=0.3)
    assert rule.calibrate(scores) is scores
    assert rule.combine(scores) == pytest.approx(0.5)
    assert DecisionRule.from_card({}).threshold == DecisionRule.from_card({"threshold": None}).threshold == 0.5


def test_a_card_gives_the_rule_that_it_holds():
    card = {"threshold": 0.4, "calibration": {"scale": 2.0, "bias": 0.5}, "abstention": {"low": 0.2, "high": 0.6, "error": 0.1}}
    rule = DecisionRule.from_card(card)
    assert rule == DecisionRule(threshold=0.4, calibration=Calibration(scale=2.0, bias=0.5), abstention=(0.2, 0.6))
    assert rule.combine(np.array([0.5, 0.9])) == pytest.approx(0.75)


def test_a_decision_is_uncertain_in_the_band_or_where_the_interval_contains_the_threshold():
    rule = DecisionRule(threshold=0.5, abstention=(0.2, 0.6))
    assert [rule.is_uncertain(score, None, 9) for score in (0.19, 0.2, 0.6, 0.61)] == [False, True, True, False]
    assert rule.is_uncertain(0.8, (0.4, 0.9), 9)
    assert not rule.is_uncertain(0.8, (0.7, 0.9), 9)
    assert not DecisionRule(threshold=0.5).is_uncertain(0.5, None, 1)


def test_a_model_with_movement_is_uncertain_about_fewer_than_four_frames():
    fused, alone = DecisionRule.from_card({"fusion": {}}), DecisionRule.from_card({})
    assert [fused.is_uncertain(0.99, None, number) for number in (1, 3, 4)] == [True, True, False]
    assert not alone.is_uncertain(0.99, None, 1)
