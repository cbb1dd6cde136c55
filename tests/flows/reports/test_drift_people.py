"""The measured movement among what monitoring compares, from the exact points of drawn people."""

import numpy as np
import pytest

from flows.measuring.people import PersonMeasures
from flows.reports.drift_people import ASYMMETRY, AT_REST, movement_numbers, unmeasured_sentence
from vitau.evaluation.drift import MIN_PEOPLE, People, compare
from vitau.measures.analysis import analyze
from vitau.measures.geometry import measure_points
from vitau.measures.results import Series
from vitau.media.synthetic.drawing import draw_landmarks
from vitau.media.synthetic.people import TASKS, draw_person

NAMES = (ASYMMETRY, *AT_REST.values())


def measured(index: int, *, palsied: bool) -> PersonMeasures:
    """Return the measures of a drawn person, two frames of each task."""
    person, rng = draw_person(7, index, palsied), np.random.default_rng(index)
    points = np.stack([draw_landmarks(person, task, (number + 1) / 2, rng) for task in TASKS for number in range(2)])
    length = len(points)
    series = Series(
        item=f"person-{index}",
        frame_index=np.arange(length),
        time_s=np.arange(length) / 6,
        part=np.zeros(length, dtype=np.int64),
        task=(None,) * length,
        columns=measure_points(points),
        points=np.zeros((length, 68, 2), dtype=np.float32),
        usable=np.ones(length, dtype=bool),
        frame_size=(640, 480),
    )
    return PersonMeasures(subject=f"person-{index}", visits=(), analysis=analyze(series), num_clips=1, num_unmeasured=0)


def people(numbers: list[dict[str, float]]) -> People:
    return People(
        subjects=tuple(f"person-{index}" for index in range(len(numbers))),
        source=("clinic",) * len(numbers),
        numbers={name: np.array([own.get(name, np.nan) for own in numbers], dtype=float) for name in NAMES},
    )


@pytest.fixture(scope="module")
def controls() -> list[dict[str, float]]:
    return [movement_numbers(measured(index, palsied=False)) for index in range(60)]


@pytest.fixture(scope="module")
def patients() -> list[dict[str, float]]:
    return [movement_numbers(measured(100 + index, palsied=True)) for index in range(30)]


def test_a_person_has_the_asymmetry_and_the_differences_at_rest_right_minus_left():
    person = measured(3, palsied=True)
    numbers = movement_numbers(person)
    assert numbers[ASYMMETRY] == person.analysis.person.asymmetry
    rest = {own.measure: own for own in person.analysis.measures if own.kind == "rest"}
    for measure, name in AT_REST.items():
        assert name.endswith("at rest, right − left")
        assert numbers[name] == pytest.approx(rest[measure].right - rest[measure].left) != 0
    assert len(numbers) == 4


def test_a_person_without_measures_has_no_numbers():
    person = PersonMeasures(subject="anna", visits=(), analysis=None, num_clips=1, num_unmeasured=1)
    assert movement_numbers(person) == {}


def test_more_asymmetric_people_drift_and_people_like_those_before_do_not(controls, patients):
    before = people(controls[:30])
    drifted = {drift.measure for drift in compare(before, people(patients)) if drift.drifted}
    assert ASYMMETRY in drifted
    assert [drift for drift in compare(before, people(controls[30:])) if drift.drifted] == []


def test_a_camera_from_the_side_shows_in_the_sign_of_the_differences(controls):
    before = people(controls[:30])
    name = AT_REST["brow_height"]
    turned = [own | {name: own[name] + 0.1} for own in controls[30:]]
    found = {drift.measure: drift.now - drift.before for drift in compare(before, people(turned)) if drift.drifted}
    assert found == {name: pytest.approx(0.1, abs=0.03)}


def test_people_without_measures_are_left_out_and_counted(controls):
    few = [{}] * 5 + controls[30:]
    before, now = people(controls[:30]), people(few)
    counts = {(drift.num_before, drift.num_now) for drift in compare(before, now)}
    assert counts == {(30, 30)}
    assert unmeasured_sentence(before, now) == (
        "Movement was measured in 30 of 30 people before and 30 of 35 now. The others are left out of its comparison."
    )
    assert unmeasured_sentence(before, people(controls)) is None
    assert unmeasured_sentence(before, people([])) is None


def test_too_few_measured_people_are_not_compared_and_the_page_says_what_to_do(controls):
    before, now = people([{}] * 30), people(controls[:10])
    assert compare(before, now) == []
    assert unmeasured_sentence(before, now) == (
        "Movement was measured in 0 of 30 people before and 10 of 10 now, "
        f"and is not compared: {MIN_PEOPLE} of each are needed. "
        "`python -m flows measures` measures earlier recordings."
    )
    almost = people(controls[: MIN_PEOPLE - 1] + [{}] * 4)
    assert compare(people(controls), almost) == []
    assert "is not compared" in unmeasured_sentence(people(controls), almost)
