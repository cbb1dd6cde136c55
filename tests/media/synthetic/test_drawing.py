"""Synthetic people are reproducible, their palsies show in the right place, and dlib sees their landmarks."""

import dataclasses

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vitau.media import faces
from vitau.media.crops import alignment
from vitau.media.synthetic.drawing import draw_crop, draw_frame, draw_landmarks
from vitau.media.synthetic.people import TASKS, act, draw_person
from vitau.media.synthetic.shape import shape_face
from vitau.media.synthetic.values import Expression
from vitau.schema import AU, AUS, Side

AT = {AU.AU1: 22, AU.AU2: 25, AU.AU4: 24, AU.AU6: 46, AU.AU9: 35, AU.AU12: 54, AU.AU25: 52, AU.AU26: 10}
"""A landmark of the person's left side in each region."""


def weakened(person, *aus, side=1, loss=0.9):
    weak = np.zeros((len(AUS), 2))
    for au in aus:
        weak[AUS.index(au), side] = loss
    return dataclasses.replace(person, weak=weak)


def crop(person, task="rest", amount=0.0, size=128):
    return draw_crop(person, task, amount, np.random.default_rng([5, person.index]), size)


def difference(person, au):
    """Return the change of a small frame (240, 320) by an affected region of the left side, and the landmarks without it."""
    plain, changed = (draw_frame(p, "rest", 0.0, np.random.default_rng(5), (320, 240)) for p in (person, weakened(person, au)))
    change = (changed.image.astype(float) - plain.image).sum(axis=2)
    return np.where(np.abs(change) > 12, change, 0), plain.landmarks


def test_landmarks_without_an_image_equal_those_of_the_image():
    frame = draw_frame(draw_person(3, 7), "smile", 0.8, np.random.default_rng(1)).landmarks
    bare = draw_landmarks(draw_person(3, 7), "smile", 0.8, np.random.default_rng(1))
    frame, bare = ((points - points.mean(0)) / np.linalg.norm(points - points.mean(0)) for points in (frame, bare))
    assert np.allclose(frame, bare)


def test_a_seed_draws_the_same_person_in_any_order():
    first = draw_frame(draw_person(3, 7), "smile", 0.8)
    draw_person(3, 6)
    again = draw_frame(draw_person(3, 7), "smile", 0.8)
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.landmarks, again.landmarks)
    assert not np.array_equal(first.image, draw_frame(draw_person(4, 7), "smile", 0.8).image)


def test_a_forced_palsy_does_not_change_the_looks():
    palsied, control = draw_person(3, 7, palsied=True), draw_person(3, 7, palsied=False)
    assert palsied.look.age == control.look.age
    assert palsied.camera == control.camera
    assert palsied.weak.any()
    assert not control.weak.any()


def test_exactly_half_of_the_people_are_palsied_and_on_one_side():
    people = [draw_person(11, index) for index in range(400)]
    assert sum(person.palsied for person in people) == 200
    for person in people:
        if person.palsied:
            assert person.affected
            assert 0.4 <= person.severity <= 1
            other = 0 if person.side is Side.LEFT else 1
            assert not person.weak[:, other].any()
            assert {au for au, weak in zip(AUS, person.weak[:, 1 - other], strict=True) if weak} == person.affected
        else:
            assert (person.side, person.severity, person.affected) == (None, 0, frozenset())
    assert 0.4 < np.mean([person.side is Side.LEFT for person in people if person.palsied]) < 0.6


def test_every_region_is_affected_in_about_half_of_the_palsies_and_none_predicts_another():
    affected = np.array([[au in draw_person(12, index, palsied=True).affected for au in AUS] for index in range(600)])
    assert np.all((affected.mean(axis=0) > 0.4) & (affected.mean(axis=0) < 0.6))
    together = np.corrcoef(affected.T) - np.eye(len(AUS))
    assert np.abs(together).max() < 0.6


@pytest.mark.parametrize("au", AUS)
def test_an_affected_region_changes_the_resting_face_at_its_place_and_on_its_side(au):
    changes = []
    for index in range(4):
        change, landmarks = difference(draw_person(21, index, palsied=False), au)
        change = np.abs(change)
        x, y = landmarks[AT[au]].round().astype(int)
        changes.append(change[y - 12 : y + 13, x - 12 : x + 13].max())
        left_half = np.arange(change.shape[1]) > landmarks[27:31, 0].mean() - 3
        assert (
            change[:, left_half].sum() > 1.2 * change[:, ~left_half].sum()
        )  # the palsy also shifts the nose, the lips and the chin
    assert np.median(changes) > 60  # of 765, which is clearly visible


def test_the_regions_do_not_look_like_each_other():
    person = draw_person(21, 2, palsied=False)
    pictures = np.stack([cv2.GaussianBlur(difference(person, au)[0], (0, 0), 1.5).ravel() for au in AUS])
    alike = np.corrcoef(pictures) - np.eye(len(AUS))
    assert alike.max() < 0.75


def test_right_and_left_are_the_persons_own():
    drooping_left = crop(weakened(draw_person(21, 1, palsied=False), AU.AU12, side=1)).landmarks
    drooping_right = crop(weakened(draw_person(21, 1, palsied=False), AU.AU12, side=0)).landmarks
    assert drooping_left[54, 1] - drooping_left[48, 1] > 3  # 54 is on the right of the image
    assert drooping_right[48, 1] - drooping_right[54, 1] > 3


@settings(max_examples=60, deadline=None)
@given(
    index=st.integers(0, 300),
    amounts=st.lists(st.floats(0, 1.2), min_size=18, max_size=18),
    weak=st.lists(st.floats(0, 1), min_size=8, max_size=8),
    side=st.integers(0, 1),
)
def test_no_expression_tears_the_lips_crosses_the_lids_or_notches_the_jaw(index, amounts, weak, side):
    pairs = np.array(amounts[:16]).reshape(8, 2)
    names = ("raise_in", "raise_out", "frown", "close", "cheek", "nose", "corner", "part")
    moves = dict(zip(names, pairs, strict=True))
    loss = np.zeros((8, 2))
    loss[:, side] = weak
    doing = Expression(**moves, pucker=amounts[16], jaw=amounts[17], gaze=np.zeros(2), weak=loss)
    shape = shape_face(draw_person(5, index).look, doing)
    mouth = shape.mouth
    assert np.all(np.diff(mouth.u) > 0)
    assert np.all(mouth.top <= mouth.inner_top + 1e-9)
    assert np.all(mouth.inner_top <= mouth.inner_bottom)
    assert np.all(mouth.inner_bottom <= mouth.bottom + 1e-9)
    assert np.abs(mouth.top[[0, -1]] - mouth.bottom[[0, -1]]).max() < 1e-6
    for eye in shape.eyes:
        assert np.all(eye.upper <= eye.lower + 1e-9)
    outline = np.rint(shape.outline * 1000).astype(np.int32)
    defects = cv2.convexityDefects(outline[:, None], cv2.convexHull(outline[:, None], returnPoints=False))
    assert defects is None or defects[:, 0, 3].max() / 256 < 110  # a jowl sags; a notch would be deeper


def test_a_healthy_eye_closes_and_an_affected_one_stays_open():
    person = weakened(draw_person(21, 4, palsied=False), AU.AU6, side=1)
    shape = shape_face(person.look, act(person, "eye_closure", 1.0, np.random.default_rng(2)))
    right, left = shape.eyes
    assert np.abs(right.upper - right.lower).max() < 0.02
    assert np.abs(left.upper - left.lower).max() > 0.1


def test_a_closed_eye_is_round_not_flat():
    person = draw_person(21, 4, palsied=False)
    eye = shape_face(person.look, act(person, "eye_closure", 1.0, np.random.default_rng(2))).eyes[0]
    assert eye.upper[20] - (eye.upper[0] + eye.upper[-1]) / 2 > 0.02


def test_the_landmarks_are_where_dlib_sees_them():
    for index in range(3):
        drawing = draw_frame(draw_person(31, index, palsied=False), "rest", 0.0)
        (face,) = faces.detect(drawing.image)
        eye_to_eye = np.linalg.norm(drawing.landmarks[36:42].mean(axis=0) - drawing.landmarks[42:48].mean(axis=0))
        away = np.linalg.norm(faces.landmarks(drawing.image, face.box) - drawing.landmarks, axis=1) / eye_to_eye
        assert away[27:].mean() < 0.1
        assert away.mean() < 0.15


def test_a_drawn_crop_agrees_with_the_alignment_of_its_landmarks():
    for index, size in enumerate((64, 96, 256, 64, 64)):
        drawing = crop(draw_person(31, index), size=size)
        assert drawing.image.shape == (size, size, 3)
        assert drawing.image.dtype == np.uint8
        corners = alignment(drawing.landmarks, size) @ np.array([[0, size - 1], [0, size - 1], [1, 1]])
        assert np.abs(corners.T - [[0, 0], [size - 1, size - 1]]).max() < 0.04 * size


def test_an_unknown_task_is_named():
    with pytest.raises(ValueError, match="no task 'wink'; there are rest, brow_raise, eye_closure, snarl"):
        draw_frame(draw_person(1, 0), "wink", 1.0)


@pytest.mark.slow
def test_dlib_finds_the_face_in_at_least_99_of_100_frames():
    found, darkest = [], 1.0
    for index in range(40):
        person = draw_person(41, index)
        darkest = min(darkest, float(person.look.skin.mean()))
        rng = np.random.default_rng(index)
        for task in (TASKS[index % 7], TASKS[(index + 3) % 7]):
            drawing = draw_frame(person, task, 1.0, rng)
            boxes = faces.detect(drawing.image)
            nose = drawing.landmarks[30]
            found.append(any(x < nose[0] < x + w and y < nose[1] < y + h for x, y, w, h in (face.box for face in boxes)))
    assert darkest < 0.25
    assert np.mean(found) >= 0.99


def test_people_of_two_populations_share_no_name():
    assert draw_person(8, 0).subject != draw_person(9, 0).subject
