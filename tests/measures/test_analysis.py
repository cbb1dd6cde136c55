from collections import Counter

import numpy as np
import pytest

from vitau.measures.analysis import NO_USABLE_FRAME, analyze
from vitau.measures.results import ASKED, Task
from vitau.media.synthetic.people import TASKS
from vitau.schema import AU

SEED = 3117
"""A seed that neither the model of the exercises nor any threshold was made with."""


def names(series):
    """Return the name in the last frame of each task of a drawn recording."""
    return [None if task is None else task.value.removesuffix("_tight") for task in series.task[1::2]]


def test_exercises_of_drawn_people_are_named(drawn_series):
    named = [
        name == task
        for index in range(24)
        for name, task in zip(names(analyze(drawn_series(SEED, index)[1]).series), TASKS, strict=True)
    ]
    assert np.mean(named) >= 0.93


def test_the_order_of_the_exercises_does_not_matter(drawn_series):
    order = ["rest", "jaw_opening", "smile", "rest", "eye_closure", "brow_raise", "snarl", "lip_pucker"]
    named = [
        name == task
        for index in range(12)
        for name, task in zip(names(analyze(drawn_series(SEED, index, order=order)[1]).series), order, strict=True)
    ]
    assert np.mean(named) >= 0.93


def test_exercises_are_named_where_one_of_them_fills_most_of_the_recording(drawn_series):
    """The level of the whole recording is then that of the exercise: frames at rest are found in more than one round."""
    right = []
    for index in range(42):
        order = ["rest", *(task for task in TASKS for _ in range(40 if task == TASKS[1 + index % 6] else 1))]
        named = names(analyze(drawn_series(SEED, index, order=order)[1]).series)
        by_task = {task: [name == task for name, own in zip(named, order, strict=True) if own == task] for task in TASKS}
        right.append(np.mean([np.mean(found) for found in by_task.values()]))
    assert np.mean(right) >= 0.81


def test_the_side_of_a_drawn_palsy_is_the_one_that_moves_less(drawn_series):
    drawn = [drawn_series(SEED, index, palsied=True) for index in range(24)]
    assert np.mean([analyze(series).person.side == person.side for person, series in drawn]) >= 0.9


def test_a_drawn_palsy_of_the_lower_face_spares_the_forehead_and_a_complete_one_does_not(drawn_series):
    right = []
    for index in range(60):
        person, series = drawn_series(SEED, index, palsied=True)
        forehead = {AU.AU1, AU.AU2, AU.AU4} & person.affected
        lower = {AU.AU9, AU.AU12, AU.AU25, AU.AU26} & person.affected
        spared = bool(lower and not forehead)
        right.append((analyze(series).person.forehead_spared is True) == spared)
    assert np.mean(right) >= 0.88


def test_drawn_people_without_a_palsy_rarely_have_a_pattern(drawn_series):
    flagged = [analyze(drawn_series(SEED, index, palsied=False)[1]).person.forehead_spared is True for index in range(30)]
    assert np.mean(flagged) <= 0.1


def test_a_gentle_closure_is_rarely_called_tight(drawn_series):
    """The drawn people close their eyes gently: the cheek moves by a third of its effort, the frown by a quarter."""
    closures = [analyze(drawn_series(SEED, index)[1]).series.task[2 * TASKS.index("eye_closure") + 1] for index in range(60)]
    assert np.mean([task is Task.EYE_CLOSURE_TIGHT for task in closures]) <= 0.06


@pytest.mark.parametrize("index", [0, 1, 2])
def test_what_was_not_performed_is_stated(drawn_series, index):
    analysis = analyze(drawn_series(SEED, index, palsied=False, order=["rest", "rest", "smile", "rest"])[1])
    performed = {exercise.task for exercise in analysis.exercises if exercise.performed}
    assert performed == {Task.REST, Task.SMILE}
    assert {exercise.task for exercise in analysis.exercises if not exercise.performed} == set(Task) - performed


def test_the_statement_of_a_manifest_goes_before_the_name_by_movement(drawn_series):
    _, series = drawn_series(SEED, 1, palsied=False, order=["rest", "smile"], task=[Task.REST] * 2 + [Task.SNARL] * 2)
    analysis = analyze(series)
    (snarl,) = (exercise for exercise in analysis.exercises if exercise.task is Task.SNARL)
    assert (snarl.performed, snarl.from_manifest, snarl.confidence) == (True, True, 1.0)
    assert (snarl.first, snarl.last) == (2, 3)
    assert not any(exercise.performed for exercise in analysis.exercises if exercise.task is Task.SMILE)


def test_frames_that_are_not_usable_are_not_measured(drawn_series):
    _, series = drawn_series(SEED, 2, palsied=False, usable=[True] * 4 + [False] * 10)
    analysis = analyze(series)
    assert all(exercise.last < 4 for exercise in analysis.exercises if exercise.performed)
    (measure,) = analyze(drawn_series(SEED, 2, usable=[False] * 14)[1]).measures
    assert (measure.measurable, measure.reason) == (False, NO_USABLE_FRAME)


def test_a_photo_without_a_stated_exercise_is_a_face_at_rest(drawn_series, series_of):
    _, series = drawn_series(SEED, 3)
    photo = series_of({name: values[:1] for name, values in series.columns.items()})
    analysis = analyze(photo)
    assert analysis.series.task == (Task.REST,)
    assert {measure.kind for measure in analysis.measures} == {"rest"}
    assert analysis.person.asymmetry is None


def test_an_exercise_without_a_frame_at_rest_is_not_measurable(drawn_series):
    _, series = drawn_series(SEED, 4, order=["smile", "smile"], task=[Task.SMILE] * 4)
    measures = [measure for measure in analyze(series).measures if measure.task is Task.SMILE]
    assert measures
    assert {measure.reason for measure in measures} == {"no frame at rest"}


def test_each_exercise_has_its_measures_once(drawn_series):
    measures = analyze(drawn_series(SEED, 5, palsied=False)[1]).measures
    counts = Counter((measure.task, measure.measure, measure.kind) for measure in measures)
    assert set(counts.values()) == {1}
    excursions = {task: {m.measure for m in measures if m.task is task and m.kind == "excursion"} for task in ASKED}
    assert all(found in (set(), set(ASKED[task])) for task, found in excursions.items())


@pytest.mark.parametrize("seed", range(3))
def test_exchanged_sides_exchange_the_results(drawn_series, series_of, seed):
    _, series = drawn_series(SEED, seed, palsied=True)
    other = {name: name.replace("right", "?").replace("left", "right").replace("?", "left") for name in series.columns}
    exchanged = analyze(series_of({name: series.columns[other[name]] for name in series.columns}))
    plain = analyze(series)
    assert exchanged.series.task == plain.series.task
    assert exchanged.person.side != plain.person.side
    for one, two in zip(plain.measures, exchanged.measures, strict=True):
        assert (one.right, one.left) == pytest.approx((two.left, two.right))
        if one.symmetry_index is not None:
            assert one.symmetry_index == pytest.approx(-two.symmetry_index)
