import numpy as np
import pytest
from sklearn import metrics

from vitau.evaluation.bootstrap import resample_weights
from vitau.evaluation.crossvalidation.clusters import auroc, calibration, cluster, decision_rates
from vitau.evaluation.measure import calibration as calibration_of_people
from vitau.evaluation.rates import average_precision

RNG = np.random.default_rng(4)
PEOPLE = 12
PERSON_U = RNG.integers(0, PEOPLE, 90)
TRUTH_S = np.arange(PEOPLE) % 3 == 0
TRUTH_U = TRUTH_S[PERSON_U]
SCORE_U = np.round(np.clip(RNG.normal(0.4 + 0.25 * TRUTH_U, 0.2), 0, 1), 1)  # with ties
CALLED_U = SCORE_U >= 0.5
ONCE = np.ones((1, PEOPLE))


def clusters():
    return cluster(PERSON_U, PEOPLE, TRUTH_U, CALLED_U, SCORE_U, probabilities=True)


def test_metrics_of_units_are_those_of_scikit_learn():
    found = {name: value_R[0] for name, value_R in decision_rates(clusters(), ONCE).items()}
    expected = {
        "accuracy": metrics.accuracy_score(TRUTH_U, CALLED_U),
        "balanced_accuracy": metrics.balanced_accuracy_score(TRUTH_U, CALLED_U),
        "sensitivity": metrics.recall_score(TRUTH_U, CALLED_U),
        "specificity": metrics.recall_score(~TRUTH_U, ~CALLED_U),
        "ppv": metrics.precision_score(TRUTH_U, CALLED_U),
        "npv": metrics.precision_score(~TRUTH_U, ~CALLED_U),
        "f1": metrics.f1_score(TRUTH_U, CALLED_U),
        "mcc": metrics.matthews_corrcoef(TRUTH_U, CALLED_U),
        "kappa": metrics.cohen_kappa_score(TRUTH_U, CALLED_U),
    }
    assert found == pytest.approx(expected)
    assert auroc(clusters(), ONCE)[0] == pytest.approx(metrics.roc_auc_score(TRUTH_U, SCORE_U))
    assert calibration(clusters(), ONCE)["brier"][0] == pytest.approx(metrics.brier_score_loss(TRUTH_U, SCORE_U))
    assert calibration(clusters(), ONCE)["ece"][0] == pytest.approx(
        calibration_of_people(TRUTH_U, SCORE_U, np.ones((1, 90)))["ece"][0]
    )


def test_a_resample_of_people_weighs_all_units_of_a_person_together():
    weight_RS = resample_weights(PEOPLE, 20, seed=1)
    weight_RU = weight_RS[:, PERSON_U]
    expected = [metrics.roc_auc_score(TRUTH_U, SCORE_U, sample_weight=weight_U) for weight_U in weight_RU]
    assert auroc(clusters(), weight_RS) == pytest.approx(np.array(expected))
    accuracy = [metrics.accuracy_score(TRUTH_U, CALLED_U, sample_weight=weight_U) for weight_U in weight_RU]
    assert decision_rates(clusters(), weight_RS)["accuracy"] == pytest.approx(np.array(accuracy))


def test_average_precision_is_that_of_scikit_learn_with_ties_and_weights():
    score_S = np.round(RNG.random(PEOPLE), 1)
    weight_RS = np.vstack([ONCE, resample_weights(PEOPLE, 20, seed=2)])
    weight_RS = weight_RS[(weight_RS @ TRUTH_S) > 0]
    expected = [metrics.average_precision_score(TRUTH_S, score_S, sample_weight=weight_S) for weight_S in weight_RS]
    assert average_precision(TRUTH_S, score_S, weight_RS) == pytest.approx(np.array(expected))


def test_a_metric_without_a_positive_person_is_undefined():
    only = np.zeros((1, PEOPLE))
    only[0, np.flatnonzero(~TRUTH_S)] = 1
    found = decision_rates(clusters(), only)
    assert np.isnan([found["sensitivity"][0], found["balanced_accuracy"][0], auroc(clusters(), only)[0]]).all()
    assert np.isnan(average_precision(TRUTH_S, np.arange(PEOPLE) / PEOPLE, only)).all()
    assert found["specificity"][0] == pytest.approx(metrics.recall_score(~TRUTH_U[~TRUTH_U], ~CALLED_U[~TRUTH_U]))
