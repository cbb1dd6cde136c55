from dataclasses import replace

import numpy as np
import pytest

from vitau.asymmetry.people import FeatureCache
from vitau.baselines.fitting import select
from vitau.baselines.method import Budget
from vitau.baselines.movement import Movement
from vitau.errors import TrainingError
from vitau.schema import AUS


@pytest.fixture(scope="module")
def features() -> FeatureCache:
    return FeatureCache()


@pytest.mark.parametrize("task", ["palsy", "regions"])
def test_it_learns_from_eight_people_and_scores_all_frames_of_a_person_alike(
    task, features, eight_people, other_people
) -> None:
    fitted = Movement(task=task, features=features).fit(eight_people, eight_people, Budget(epochs=1), seed=0)
    scores = fitted.predict(other_people)
    assert scores.shape == ((len(other_people),) if task == "palsy" else (len(other_people), len(AUS)))
    assert scores.dtype == np.float32
    assert ((scores >= 0) & (scores <= 1)).all()
    for subject in np.unique(other_people.subject_N):
        assert len(np.unique(scores[other_people.subject_N == subject], axis=0)) == 1
    assert fitted.num_parameters > 8
    own = fitted.predict(eight_people)
    assert select(own, eight_people, task) > (0.8 if task == "palsy" else 0.2)


def test_training_people_move_the_weights(features, eight_people) -> None:
    movement = Movement(task="palsy", features=features)
    nobody = eight_people.where(np.zeros(len(eight_people), bool))
    fitted = movement.fit(eight_people, nobody, Budget(epochs=1), seed=0)
    flipped = movement.fit(replace(eight_people, palsied_N=~eight_people.palsied_N), nobody, Budget(epochs=1), seed=0)
    assert select(fitted.predict(eight_people), eight_people, "palsy") > select(
        flipped.predict(eight_people), eight_people, "palsy"
    )


def test_people_of_one_cohort_are_refused(eight_people) -> None:
    with pytest.raises(TrainingError, match="only palsied people"):
        Movement(task="regions").fit(eight_people.where(eight_people.palsied_N), eight_people, Budget(epochs=1), seed=0)
