import numpy as np
import pytest

from vitau.measures.exercises.features import FEATURES
from vitau.measures.exercises.naming import NamedFrames, NamingModel, model_from_json, name_frames, naming_model
from vitau.measures.exercises.segments import UsableFrames, find_exercises
from vitau.measures.geometry import column_names, working_names
from vitau.measures.results import Task


def found(names, changes=None, *, rate=10.0, stated=None, part=None):
    """Return tasks and performed exercises of frames with these names; ``changes`` are movements of columns."""
    length = len(names)
    columns = {name: np.zeros(length) for name in (*column_names(), *working_names())}
    columns |= {name: np.asarray(values, dtype=float) for name, values in (changes or {}).items()}
    named = NamedFrames(
        names=tuple(names), probabilities=np.full(length, 0.8), levels=dict.fromkeys(columns, 0.0), num_at_rest=1
    )
    part_N = np.zeros(length, dtype=np.int64) if part is None else np.asarray(part)
    frames = UsableFrames(
        positions=np.arange(length),
        columns=columns,
        time_s=np.arange(length) / rate,
        part=part_N,
        stated=tuple(stated or [None] * length),
    )
    tasks, exercises = find_exercises(frames, named)
    return tasks, [exercise for exercise in exercises if exercise.performed]


def test_a_run_of_a_name_is_an_exercise_with_its_peak_and_times():
    smile = {"lip_corner_height_left": [0, 0, 0.05, 0.1, 0.04, 0]}
    _, exercises = found(["rest", "rest", "smile", "smile", "smile", "rest"], smile)
    (exercise,) = (exercise for exercise in exercises if exercise.task is Task.SMILE)
    assert (exercise.first, exercise.last, exercise.peak) == (2, 4, 3)
    assert (exercise.start_s, exercise.end_s, exercise.confidence) == pytest.approx((0.2, 0.4, 0.8))


def test_a_closure_is_either_gentle_or_tight():
    gap = {"lid_gap_left": [0, -0.1, -0.1, -0.1, -0.1, 0]}
    tasks, exercises = found(["rest", "eye_closure", *["eye_closure_tight"] * 3, "rest"], gap)
    assert tasks[1:5] == [Task.EYE_CLOSURE_TIGHT] * 4
    assert len(exercises) == 3


def test_a_movement_within_the_noise_is_rest():
    tasks, exercises = found(["rest", "smile", "smile", "rest"], {"lip_corner_lateral_left": [0, 0.005, 0.011, 0]})
    assert tasks == [Task.REST] * 4
    assert [exercise.task for exercise in exercises] == [Task.REST]


def test_what_is_no_exercise_has_no_task():
    assert found(["rest", "other", "other", "rest"])[0] == [Task.REST, None, None, Task.REST]


def test_repetitions_and_parts_are_exercises_of_their_own():
    raised = {"brow_height_left": [0.1, 0.1, 0, 0.1, 0.1, 0.1]}
    _, exercises = found(["brow_raise", "brow_raise", "rest", *["brow_raise"] * 3], raised, part=[0, 0, 0, 0, 0, 1])
    assert [(e.first, e.last) for e in exercises if e.task is Task.BROW_RAISE] == [(0, 1), (3, 4), (5, 5)]


def test_one_frame_of_another_name_does_not_interrupt_an_exercise():
    model = NamingModel(
        classes=("rest", "smile"),
        scale=np.ones(len(FEATURES)),
        weights=np.stack([np.zeros(len(FEATURES)), np.eye(len(FEATURES))[FEATURES.index("lip_corner_height_more")]]),
        intercept=np.array([0.0, -1.0]),
    )
    corner = np.array([0, 0, 0, 0, 3, 3, -0.4, 3, 3, 0, 0, 0], dtype=float)
    columns = {name: np.zeros(12) for name in (*column_names(), *working_names())}
    columns |= {f"lip_corner_height_{side}": corner for side in ("right", "left")}
    at_rest = np.arange(12) < 4
    names = name_frames(columns, at_rest, np.arange(12) / 10, model).names
    assert names == ("rest",) * 4 + ("smile",) * 5 + ("rest",) * 3


def test_the_level_at_rest_comes_from_the_frames_at_rest_and_names_the_frames_again():
    model = NamingModel(
        classes=("rest", "smile"),
        scale=np.ones(len(FEATURES)),
        weights=np.stack([np.zeros(len(FEATURES)), 4 * np.eye(len(FEATURES))[FEATURES.index("lip_corner_height_more")]]),
        intercept=np.array([0.0, -4.0]),
    )
    corner = np.array([0, 0, 0, 0, 1.3, 3, 3, 3, 3], dtype=float)
    columns = {name: np.zeros(9) for name in (*column_names(), *working_names())}
    columns |= {f"lip_corner_height_{side}": corner for side in ("right", "left")}
    named = name_frames(columns, np.zeros(9, dtype=bool), np.arange(9) / 10, model)
    assert named.names == ("rest",) * 4 + ("smile",) * 5, "1.3 is close to the median of the recording, and far from rest"
    assert (named.levels["lip_corner_height_right"], named.num_at_rest) == (0, 4)


def test_the_model_of_other_features_is_refused():
    record = naming_model().to_json()
    assert model_from_json(record).classes == naming_model().classes
    with pytest.raises(ValueError, match="the model of the exercises is for other features; make it again"):
        model_from_json({**record, "features": ["brow"]})
