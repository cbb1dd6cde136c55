"""Movement of people as the scoring report shows it, from the analysis of drawn people's exact points."""

import numpy as np
import pytest

from flows.measuring.people import NO_FACE, PersonMeasures, VisitMeasures
from flows.reports import movement
from flows.reports.movement import AT_REST, NO_VISIT, TOO_FEW_FRAMES, measuring_method, movement_by_visit
from vitau.measures.analysis import NO_USABLE_FRAME, analyze
from vitau.measures.geometry import measure_points
from vitau.measures.reporting.words import MEASURE_WORDS
from vitau.measures.results import Series, Task
from vitau.media.synthetic.drawing import draw_landmarks
from vitau.media.synthetic.people import TASKS, draw_person
from vitau.schema import Visit
from vitau.scoring.movement import MeasuredVisit

PERSON = draw_person(5, 0, palsied=True)


def series(tasks=TASKS, *, usable=True, stated=None) -> Series:
    """Return the series of two frames of each task of the person."""
    rng = np.random.default_rng(4)
    points = [draw_landmarks(PERSON, task, (number + 1) / 2, rng) for task in tasks for number in range(2)]
    length = len(points)
    return Series(
        item="anna",
        frame_index=np.arange(length),
        time_s=np.arange(length) / 6,
        part=np.zeros(length, dtype=np.int64),
        task=(stated,) * length,
        columns=measure_points(np.stack(points)),
        points=np.zeros((length, 68, 2), dtype=np.float32),
        usable=np.full(length, usable),
        frame_size=(640, 480),
    )


def measures_of(found: Series | None, *visits: VisitMeasures, **changes) -> PersonMeasures:
    analysis = None if found is None else analyze(found)
    own = visits or (VisitMeasures(visit=Visit(name=None, recorded_at=None, clips=()), analysis=analysis),)
    return PersonMeasures(
        **{"subject": "anna", "visits": own, "analysis": analysis, "num_clips": 2, "num_unmeasured": 0} | changes
    )


def together(person: PersonMeasures) -> MeasuredVisit:
    (found,) = movement_by_visit(person)
    return found


def test_a_report_has_the_side_the_exercises_and_the_face_at_rest():
    person = measures_of(series(), num_unmeasured=1)
    visit = together(person)
    found = person.analysis.person
    assert (visit.side, visit.side_probability, visit.asymmetry) == (PERSON.side, found.side_probability, found.asymmetry)
    assert visit.reason is None
    assert visit.num_frames == 2 * len(TASKS)
    assert visit.notes == ("1 of 2 clips has no measures.",)
    smile = next(exercise for exercise in visit.exercises if exercise.name == "smiling")
    expected = {own.measure: own for own in person.analysis.measures if (own.task, own.kind) == (Task.SMILE, "excursion")}
    shown = {own.measure: own for own in smile.sides}
    assert shown.keys() == {"height of the lip corner", "lateral position of the lip corner"}
    corner = expected["lip_corner_height"]
    own = shown["height of the lip corner"]
    assert (own.right, own.left, own.ratio) == (corner.right, corner.left, corner.ratio)
    assert own.difference == pytest.approx(corner.difference)
    assert sorted(own.measure for own in visit.rest) == sorted(MEASURE_WORDS[name] for name in AT_REST)
    named = {exercise.name for exercise in visit.exercises}
    assert set(visit.not_performed) & named == set()
    assert "showing the lower teeth" in visit.not_performed


def test_several_visits_are_reported_each_after_all_together():
    first = VisitMeasures(visit=Visit(name="first", recorded_at=None, clips=()), analysis=None)
    second = VisitMeasures(visit=Visit(name="second", recorded_at=None, clips=()), analysis=analyze(series(TASKS[:4])))
    person = measures_of(series(), first, second, num_unmeasured=1)
    all_visits, *visits = movement_by_visit(person)
    assert (all_visits.visit, all_visits.asymmetry) == (None, person.analysis.person.asymmetry)
    assert all_visits.notes == ("1 of 2 clips has no measures.",)
    assert [own.visit for own in visits] == [first.visit, second.visit]
    assert [own.reason for own in visits] == [NO_VISIT, None]
    assert visits[1].asymmetry == second.analysis.person.asymmetry != all_visits.asymmetry


def test_what_is_not_measured_has_a_reason():
    assert together(measures_of(None)).reason == NO_FACE
    unusable = together(measures_of(series(usable=False)))
    assert (unusable.reason, unusable.num_frames, unusable.notes) == (NO_USABLE_FRAME, 0, ())
    few = together(measures_of(series(TASKS[:1])))
    assert (few.reason, few.asymmetry, few.side) == (TOO_FEW_FRAMES, None, None)
    assert few.rest, "the face at rest needs no movement"
    smiling = together(measures_of(series(TASKS[1:], stated=Task.SMILE)))
    assert smiling.notes[0].startswith("Not measurable, because there is no frame at rest: rest, smiling")


def test_the_landmarks_are_stated_with_what_they_keep():
    method = measuring_method()
    assert (method.landmarks, method.num_people) == ("refined", 60)
    assert list(method.kept) == ["brow height", "lid gap", "height of the lip corner", "lateral position of the lip corner"]
    assert all(0.8 < share < 1.25 for share in method.kept.values())


def test_a_difference_beyond_its_smallest_detectable_change_is_marked(monkeypatch):
    person = measures_of(series())
    monkeypatch.setattr(movement, "exceeds", lambda measure: measure.measure == "lid_gap")
    visit = together(person)
    assert {own.measure for own in visit.rest if own.detectable} == {"lid gap"}
