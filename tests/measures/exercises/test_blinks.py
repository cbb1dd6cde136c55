import numpy as np
import pytest

from vitau.measures.exercises.blinks import find_blinks
from vitau.measures.exercises.naming import name_frames
from vitau.measures.geometry import measure_points
from vitau.media.synthetic.drawing import draw_landmarks
from vitau.media.synthetic.people import TASKS, act, draw_person
from vitau.media.synthetic.shape import shape_face

LEVELS = {"lid_gap_right": 0.15, "lid_gap_left": 0.15}


def blinks(gap, *, right=None, rate=10.0, time_s=None):
    """Return the frames of a blink for these gaps between the lids."""
    columns = {"lid_gap_left": np.array(gap), "lid_gap_right": np.array(gap if right is None else right)}
    times = np.arange(len(gap)) / rate if time_s is None else np.array(time_s)
    return np.flatnonzero(find_blinks(columns, LEVELS, times)).tolist()


@pytest.mark.parametrize(("num_frames", "found"), [(1, [2]), (3, [2, 3, 4]), (4, [])])
def test_a_closure_of_less_than_a_third_of_a_second_is_a_blink(num_frames, found):
    assert blinks([0.15, 0.15, *[0.02] * num_frames, 0.15, 0.15]) == found


def test_frames_on_the_way_to_the_closure_belong_to_it():
    assert blinks([0.15, 0.125, 0.09, 0.09, 0.125, 0.15]) == [], "four frames at 10 per second are a closure"
    assert blinks([0.15, 0.14, 0.09, 0.09, 0.14, 0.15]) == [2, 3]


def test_one_eye_can_blink_and_a_small_fall_of_the_lids_is_none():
    assert blinks([0.15, 0.02, 0.15], right=[0.15] * 3) == [1]
    assert blinks([0.15, 0.12, 0.15]) == []


def test_a_wink_before_a_blink_is_no_closure_and_a_palsied_eye_that_stays_open_does_not_count():
    assert blinks([0.15, 0.02, 0.06, 0.15], right=[0.15, 0.15, 0.06, 0.15], rate=6.0) == [1, 2]
    assert blinks([0.15, 0.07, 0.02, 0.15], right=[0.15, 0.15, 0.13, 0.15], rate=6.0) == []


def test_a_closure_ends_with_its_part_and_a_photo_of_closed_eyes_is_no_blink():
    assert blinks([0.15, 0.02, 0.02, 0.02, 0.02, 0.15], time_s=[0.0, 0.1, 0.2, 0.0, 0.1, 0.2]) == [1, 2, 3, 4]
    assert blinks([0.15, 0.15, 0.02, 0.15], time_s=[0.0, 0.1, 0.0, 0.0]) == []
    assert blinks([0.02], time_s=[0.0]) == []


def closed(person, task, rng):
    """Return the points of a person at the peak of a task, with closed eyes."""
    expression = act(person, task, 1.0, rng)
    expression.close[:] = 1.0
    return shape_face(person.look, expression).landmarks


def blinking(index):
    """Return the columns of a drawn recording in which the person blinks at the peaks of brow raise, snarl, and smile."""
    person = draw_person(3117, index, palsied=False)
    rng = np.random.default_rng([index, 5])
    points = [draw_landmarks(person, task, amount, rng) for task in TASKS for amount in (0.5, 1.0)]
    for task in ("brow_raise", "snarl", "smile"):
        points[2 * TASKS.index(task) + 1] = closed(person, task, rng)
    return measure_points(np.stack(points))


def test_a_blink_does_not_hide_the_exercise_that_it_interrupts():
    right = []
    for index in range(16):
        names = name_frames(blinking(index), np.zeros(14, dtype=bool), np.arange(14) / 6).names
        right += [names[2 * TASKS.index(task) + 1] == task for task in ("brow_raise", "snarl", "smile")]
    assert np.mean(right) >= 0.9


def test_a_blink_at_rest_does_not_lower_the_lids_of_the_face_at_rest():
    person, rng = draw_person(3117, 2, palsied=False), np.random.default_rng(3)
    tasks = ("brow_raise", "smile", "lip_pucker")
    rest, *moved = (draw_landmarks(person, task, 1.0) for task in ("rest", *tasks))
    points = [rest, rest, *[closed(person, "rest", rng)] * 3, *(frame for frame in moved for _ in range(2))]
    columns = measure_points(np.stack(points))
    named = name_frames(columns, np.zeros(11, dtype=bool), np.arange(11) / 10)
    assert named.names == ("rest",) * 5 + tuple(task for task in tasks for _ in range(2))
    assert named.levels["lid_gap_left"] == pytest.approx(columns["lid_gap_left"][0])
