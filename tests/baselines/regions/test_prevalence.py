from dataclasses import replace

import numpy as np
import pytest

from vitau.baselines.method import Budget
from vitau.baselines.regions.prevalence import Prevalence, prevalences
from vitau.data.dataset import Crops
from vitau.errors import TrainingError

BUDGET = Budget(epochs=1)


def test_people_count_once_however_many_frames_they_have(palsied_people: Crops) -> None:
    people = palsied_people.where(np.isin(palsied_people.subject_N, np.unique(palsied_people.subject_N)[:3]))
    affected = people.affected_NA.copy()
    affected[:, 0] = [True, True, False, False, False, False]
    people = replace(people, affected_NA=affected)
    uneven = people.where(np.array([True, False, True, True, True, True]))  # one frame of the affected person is gone
    assert prevalences(people)[0] == prevalences(uneven)[0] == pytest.approx((1 + 1) / (3 + 2))


def test_controls_and_unknown_labels_do_not_count(drawn_people: Crops, palsied_people: Crops) -> None:
    assert np.array_equal(prevalences(drawn_people), prevalences(palsied_people))
    known = palsied_people.known_NA.copy()
    known[:, 2] = False
    assert prevalences(replace(palsied_people, known_NA=known))[2] == 0.5


def test_every_face_gets_the_training_peoples_shares(drawn_people: Crops, palsied_people: Crops) -> None:
    fitted = Prevalence().fit(palsied_people, palsied_people, BUDGET, seed=0)
    scores = fitted.predict(drawn_people)
    assert scores.shape == (len(drawn_people), 8)
    assert scores.dtype == np.float32
    affected = palsied_people.affected_NA[::2].sum(0)
    assert np.allclose(scores, (affected + 1) / 10)
    assert fitted.num_parameters == 8


def test_nobody_with_a_label_is_refused(drawn_people: Crops) -> None:
    controls = drawn_people.where(~drawn_people.palsied_N)
    with pytest.raises(TrainingError, match="no palsied person of the training people has a label of a region"):
        Prevalence().fit(controls, controls, BUDGET, seed=0)
