import json
from dataclasses import dataclass, replace

import numpy as np
import pytest

from vitau.baselines.fold import FACTS, fit_fold
from vitau.baselines.method import Budget
from vitau.baselines.recognition.landmarks.landmarks_alone import landmarks_alone
from vitau.baselines.regions.prevalence import Prevalence
from vitau.data.protocols import FrameFold
from vitau.errors import TrainingError
from vitau.schema import AUS

BUDGET = Budget(epochs=2)


@pytest.fixture
def fold(eight_people):
    """Four people train, two validate, two are tested; each part has a palsied person and a control."""
    number_N = np.unique(eight_people.subject_N, return_inverse=True)[1]
    return FrameFold(train_N=number_N < 4, val_N=(number_N >= 4) & (number_N < 6), test_N=number_N >= 6)


def test_predictions_are_of_the_test_frames_and_calibrated_on_the_validation_people(eight_people, fold):
    table = fit_fold(landmarks_alone(), eight_people, fold, BUDGET, seed=0)
    assert table["row"].to_pylist() == np.flatnonzero(fold.test_N).tolist()
    assert set(table["threshold"].to_pylist()) == {table["threshold"][0].as_py()}
    assert json.loads(table.schema.metadata[FACTS])["parameters"] == 136 * 3 + 1
    others = replace(eight_people, palsied_N=np.where(fold.test_N, ~eight_people.palsied_N, eight_people.palsied_N))
    assert table.equals(fit_fold(landmarks_alone(), others, fold, BUDGET, seed=0))  # nothing of the test people is used


def test_regions_are_tested_on_palsied_people_with_labels(eight_people, fold):
    table = fit_fold(Prevalence(), eight_people, fold, BUDGET, seed=0)
    assert table["row"].to_pylist() == np.flatnonzero(fold.test_N & eight_people.palsied_N).tolist()
    assert all(len(set(table[f"{au}_score"].to_pylist())) == 1 for au in AUS)
    unlabeled = replace(eight_people, known_NA=eight_people.known_NA & ~fold.test_N[:, None])
    with pytest.raises(TrainingError, match="no validation or no test frames for prevalence"):
        fit_fold(Prevalence(), unlabeled, fold, BUDGET, seed=0)


def test_a_score_that_is_not_finite_is_an_error(eight_people, fold):
    @dataclass(frozen=True)
    class Broken:
        name = title = "broken"
        task = "palsy"
        num_parameters = 0

        def fit(self, *_people, **_seed):
            return self

        def predict(self, crops):
            return np.full(len(crops), np.nan, np.float32)

    with pytest.raises(TrainingError, match="broken gives a score that is not finite"):
        fit_fold(Broken(), eight_people, fold, BUDGET, seed=0)
