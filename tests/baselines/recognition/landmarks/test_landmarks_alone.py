import numpy as np

from vitau.baselines.method import Budget
from vitau.baselines.recognition.landmarks.landmarks_alone import coordinates, landmarks_alone


def test_coordinates_do_not_change_with_size_and_roll(eight_people):
    turn = np.array([[0.8, 0.6], [-0.6, 0.8]])
    turned = eight_people.where(np.ones(len(eight_people), bool))
    turned.landmarks_NL2[:] = turned.landmarks_NL2 @ turn * 0.7 + 20
    budget = Budget(epochs=1)
    assert np.allclose(coordinates(turned, budget), coordinates(eight_people, budget), atol=1e-4)


def test_it_learns_eight_people(check_learning):
    assert check_learning(landmarks_alone(), epochs=8).num_parameters == 136 * 3 + 1
