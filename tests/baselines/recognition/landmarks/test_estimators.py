from dataclasses import replace

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from vitau.baselines.method import Budget
from vitau.baselines.recognition.landmarks.estimators import FeatureMethod, count_fitted, probability
from vitau.errors import TrainingError


class _Spy(LogisticRegression):
    """Remembers what it was fitted on."""

    def fit(self, feature_UF, palsied_U):
        self.seen = feature_UF
        return super().fit(feature_UF, palsied_U)


def _index(crops, _budget):
    return np.stack([crops.row_N, crops.palsied_N, np.ones(len(crops))], 1).astype(float)


INDEX = FeatureMethod(name="index", title="Index", features=_index, unit="frame", candidates=[lambda _f, _s: _Spy()])


def test_every_person_gives_the_same_number_of_frames_and_constant_features_are_left_out(eight_people, other_people):
    fitted = INDEX.fit(eight_people, other_people, Budget(epochs=2, frames_per_person=2), seed=0)
    rows = fitted.estimator.seen[:, 0].astype(int)
    assert fitted.column_F.tolist() == [0, 1]
    assert sorted(np.unique(eight_people.subject_N[rows], return_counts=True)[1].tolist()) == [4] * 8
    assert (fitted.estimator.seen[:, 1] == eight_people.palsied_N[rows]).all()


def test_the_validation_people_choose_the_estimator(eight_people, other_people):
    candidates = [
        lambda _f, _s: DummyClassifier(strategy="prior"),
        lambda _f, _s: LogisticRegression(),
        lambda _f, _s: LogisticRegression(),
    ]
    fitted = replace(INDEX, features=lambda crops, _: _index(crops, _)[:, 1:], candidates=candidates).fit(
        eight_people, other_people, Budget(epochs=1), seed=0
    )
    assert isinstance(fitted.estimator, LogisticRegression)
    nobody = other_people.where(np.zeros(len(other_people), bool))
    assert isinstance(
        replace(INDEX, candidates=candidates).fit(eight_people, nobody, Budget(epochs=1), seed=0).estimator, DummyClassifier
    )
    assert fitted.predict(nobody).shape == (0,)


def test_features_that_are_the_same_for_everybody_are_refused(eight_people, other_people):
    constant = replace(INDEX, features=lambda crops, _: np.ones((len(crops), 2)))
    with pytest.raises(TrainingError, match=r"^no feature of index differs between the training people: give recordings of"):
        constant.fit(eight_people, other_people, Budget(epochs=1), seed=0)


def test_a_machine_without_probabilities_gets_the_logistic_curve():
    values, labels = np.array([[-1.0], [1.0], [-2.0], [2.0]]), np.array([False, True, False, True])
    machine = SVC().fit(values, labels)
    assert np.allclose(probability(machine, values), 1 / (1 + np.exp(-machine.decision_function(values))))
    regression = LogisticRegression().fit(values, labels)
    assert np.array_equal(probability(regression, values), regression.predict_proba(values)[:, 1])


def test_fitted_numbers_are_counted_through_a_pipeline_and_in_trees():
    values, labels = np.random.default_rng(0).normal(size=(20, 3)), np.arange(20) % 2 == 0
    assert count_fitted(make_pipeline(StandardScaler(), LogisticRegression()).fit(values, labels)) == 3 + 3 + 3 + 1
    boosted = GradientBoostingClassifier(n_estimators=5, max_depth=1).fit(values, labels)
    assert count_fitted(boosted) == 5 * 3
