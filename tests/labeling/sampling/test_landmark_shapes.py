"""Landmark shapes do not depend on position, size and the face at rest, but on movement and its side."""

import numpy as np
import pytest

from labeling.sampling.landmark_shapes import REST_FRAMES, from_rest, movement, unit_shapes, upright
from vitau.media.synthetic.drawing import draw_landmarks
from vitau.media.synthetic.people import TASKS, draw_person


def clip(index: int = 0, *, palsied: bool = True, tasks: tuple[str, ...] = TASKS) -> np.ndarray:
    """Draw a person's landmarks (N, 136), each facial task twice after a rest."""
    person, rng = draw_person(3, index, palsied), np.random.default_rng(index)
    acts = [act for task in tasks for act in (("rest", 0.0), (task, 0.5), (task, 1.0))]
    return np.stack([draw_landmarks(person, task, amount, rng).ravel() for task, amount in acts])


def moved(landmarks: np.ndarray, turn: float, size: float, place: tuple[float, float]) -> np.ndarray:
    axes = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    return (landmarks.reshape(-1, 68, 2) @ axes * size + place).reshape(-1, 136)


def test_upright_shapes_do_not_depend_on_position_size_and_tilt():
    landmarks = clip()
    assert np.allclose(upright(moved(landmarks, 0.2, 40, (120, 90))), upright(landmarks))
    assert np.allclose(unit_shapes(moved(landmarks, 0, 40, (120, 90))), unit_shapes(landmarks))


def test_the_eyes_are_at_distance_one_and_y_increases_downwards():
    points = upright(clip())
    assert np.allclose(points[:, [42, 45]].mean(axis=1) - points[:, [36, 39]].mean(axis=1), (1, 0))
    assert (points[:, 8, 1] > 0).all()


def test_displacements_do_not_depend_on_how_a_clip_was_filmed():
    landmarks = clip()
    both = np.concatenate([landmarks, moved(landmarks, 0.1, 3, (5, 5))])
    measured = from_rest(both, ["a"] * len(landmarks) + ["b"] * len(landmarks))
    assert np.allclose(measured[: len(landmarks)], measured[len(landmarks) :])
    assert np.allclose(np.median(measured, axis=0), 0)


def test_photos_share_one_rest_and_therefore_differ():
    landmarks = clip()[: REST_FRAMES - 1]
    one_each = from_rest(landmarks, [str(number) for number in range(len(landmarks))])
    assert np.allclose(one_each, from_rest(landmarks, ["a"] * len(landmarks)))
    assert np.abs(one_each).max() > 0.02


def test_a_frame_without_a_face_stays_missing():
    landmarks = clip()
    whole = from_rest(landmarks[1:], ["a"] * (len(landmarks) - 1))
    landmarks[0] = np.nan
    measured = from_rest(landmarks, ["a"] * len(landmarks))
    assert np.isnan(measured[0]).all()
    assert np.allclose(measured[1:], whole)
    assert np.isfinite(movement(landmarks)).all()
    assert movement(landmarks[:1]).tolist() == [0.0] * 68


@pytest.mark.parametrize(("task", "most"), [("brow_raise", range(17, 27)), ("jaw_opening", range(4, 13))])
def test_movement_is_largest_at_the_landmarks_that_move(task, most):
    distance = movement(clip(2, palsied=False, tasks=(task,)))
    assert distance[list(most)].max() > 2 * distance[27:31].max()
