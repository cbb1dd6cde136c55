from dataclasses import replace

import numpy as np
import pytest

from vitau.baselines.method import Budget
from vitau.baselines.recognition.landmarks.autofpr import autofpr, autofpr_boosted, clip_features, head_pose, movement
from vitau.measures.geometry import upright


def test_movement_is_the_distance_from_the_median_place():
    face = np.zeros((3, 68, 2))
    face[2, 48] = (3.0, 4.0)
    face[:, 0] = [[0, 0], [5, 5], [9, 9]]  # the jaw is not among the landmarks
    moved = movement(face)
    assert moved.shape == (3, 51)
    assert moved[:, 48 - 17].tolist() == [0, 0, 5]
    assert moved.sum() == 5


def test_features_are_mean_deviation_and_range_over_a_recording(eight_people):
    first = eight_people.where(eight_people.subject_N == eight_people.subject_N[0])
    features = clip_features(first, Budget(epochs=1))[0]
    moved = movement(upright(first.landmarks_NL2))[:, 10]
    assert features.shape == (3 * 54,)
    assert features[[10, 54 + 10, 108 + 10]] == pytest.approx([moved.mean(), moved.std(), moved.max() - moved.min()])


def test_the_pose_follows_the_nose_and_the_line_of_the_eyes():
    points = np.zeros((1, 68, 2))
    points[0, 36:42], points[0, 42:48] = (0, 0), (10, 0)
    points[0, 27], points[0, 30], points[0, 33] = (5, 0), (6, 6), (5, 8)
    assert head_pose(points)[0] == pytest.approx([0, 0.1, 0.75])
    turned = points @ np.array([[0, 1], [-1, 0]])  # by 90 degrees
    assert head_pose(turned)[0] == pytest.approx([np.pi / 2, 0.1, 0.75])


def test_all_frames_of_a_recording_have_one_score(eight_people, other_people):
    scores = autofpr().fit(eight_people, other_people, Budget(epochs=1), seed=0).predict(other_people)
    assert all(len(set(scores[other_people.subject_N == name].tolist())) == 1 for name in np.unique(other_people.subject_N))
    assert len(set(scores.tolist())) > 1


@pytest.mark.parametrize("method", [autofpr(), autofpr_boosted()], ids=lambda method: method.name)
def test_it_learns_eight_people(method, check_learning):
    assert check_learning(method, epochs=1, at_least=0.6).num_parameters > 10


def test_recordings_of_single_frames_have_no_movement(eight_people, other_people):
    single = replace(eight_people, subject_N=np.array([f"s{row}" for row in range(len(eight_people))]))
    features = clip_features(single, Budget(epochs=1))
    assert (features[:, :51] == 0).all()
