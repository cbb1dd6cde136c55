"""Movement of the two sides on the page of scored people."""

import re

import pytest

from vitau.schema import Side, Visit
from vitau.scoring.aggregate import SubjectScore
from vitau.scoring.movement import MeasuredExercise, MeasuredSides, MeasuredVisit, MeasuringMethod, movement_of
from vitau.scoring.report import Report, ReportedModel, ReportedSubject, render

METHOD = MeasuringMethod(
    landmarks="refined", kept={"brow height": 0.97, "lid gap": 0.89}, num_people=60, asymmetric_from=0.13, caveat="A caveat."
)
SMILE = MeasuredExercise(
    name="smiling",
    confidence=0.93,
    sides=[
        MeasuredSides(measure="lip height", right=0.14, left=0.03, ratio=0.21, detectable=True),
        MeasuredSides(measure="lip width", right=0.01, left=0.02),
    ],
)
VISIT = MeasuredVisit(
    asymmetry=0.4212345,
    side=Side.LEFT,
    side_probability=0.98,
    pattern="peripheral, the forehead is affected",
    exercises=[SMILE],
    rest=[MeasuredSides(measure="lid gap", right=0.14, left=0.17)],
    not_performed=["puckering the lips"],
    num_frames=14,
    notes=["1 of 2 clips has no measures."],
)


def scored(right_side: float | None) -> SubjectScore:
    return SubjectScore(
        palsy_score=0.8, interval=None, threshold=0.5, palsied=True, uncertain=False, num_frames=7, num_analysed=7, regions={},
        right_side=right_side,
    )  # fmt: skip


def page(*measured: MeasuredVisit, right_side: float | None = None, method: MeasuringMethod | None = METHOD) -> str:
    model = ReportedModel(name="vitau-regions", version=3, digest="d" * 64, card={"recipe": "tiny"})
    subject = ReportedSubject(name="a1", score=scored(right_side), measured=measured)
    return render(Report(title="T", synthetic=False, models=[model], subjects=[subject], measuring=method))


def text(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html.split("</style>")[1]))


def test_a_person_has_asymmetry_side_exercises_and_the_face_at_rest():
    html = page(VISIT)
    words = text(html)
    assert "Asymmetry 0.42 ; the left side is weaker, with a probability of 98 %." in words
    assert "Pattern: peripheral, the forehead is affected." in words
    assert "smiling, probability 93 % lip height 0.140 0.030 0.110 0.21 lip width 0.010 0.020 −0.010 –" in words
    assert "at rest lid gap 0.140 0.170 −0.030 –" in words
    assert html.count("<b>0.110</b>") == 1
    assert "<b>−0.010</b>" not in html, "it may be noise"
    assert "Not performed: puckering the lips. Measured on 14 frames." in words
    assert "1 of 2 clips has no measures." in words
    assert html.index("<details>") < html.index("smiling, probability"), "the table is folded"
    assert '<td class="small whole" data-label="Asymmetry">0.42 <span class="soft">left</span></td>' in html


def test_the_page_states_the_landmarks_with_what_they_keep_and_that_a_side_is_no_palsy():
    words = text(page(VISIT))
    assert "that side is no palsy" in words
    assert "9 of 10 drawn people without a palsy are below 0.13." in words
    assert "The landmarks (refined)" in words
    assert "On 60 drawn people they kept these shares of the true difference: brow height 0.97, lid gap 0.89." in words
    assert "A caveat." in words


@pytest.mark.parametrize(
    ("right_side", "sentence"),
    [(0.1, "It is the side that the model names."), (0.9, "The model names the other side."), (None, None)],
)
def test_the_page_says_whether_the_model_names_the_side_that_moves_less(right_side, sentence):
    words = text(page(VISIT, right_side=right_side))
    found = [own for own in ("It is the side that the model names.", "The model names the other side.") if own in words]
    assert found == ([] if sentence is None else [sentence])
    assert f"{sentence or 'with a probability of 98 %.'} Pattern: peripheral, the forehead is affected." in words


def test_a_person_who_is_not_measured_has_the_reason_and_no_table():
    html = page(MeasuredVisit(reason="no frame shows a face"), right_side=0.1)
    assert "Not measured: no frame shows a face." in text(html)
    assert "<details>" not in html
    assert "the model names" not in html.lower()


def test_each_visit_has_its_own_line_in_the_order_of_time():
    later = MeasuredVisit(
        visit=Visit(name="week-12", recorded_at="2026-11-29", clips=()), asymmetry=0.1, side=Side.RIGHT, side_probability=0.6
    )
    first = MeasuredVisit(visit=Visit(name=None, recorded_at=None, clips=()), reason="no frame shows a face")
    html = page(VISIT, first, later)
    words = text(html)
    lines = [
        "All visits: Asymmetry 0.42 ;",
        "Visit not stated: Not measured",
        "Visit week-12, 2026-11-29: Asymmetry 0.10 ; the right side",
    ]
    assert [line for line in lines if line not in words] == []
    assert sorted(lines, key=words.index) == lines
    assert "<details>" not in html, "the tables are those of visits"
    assert '0.42 <span class="soft">left</span></td>' in html
    assert movement_of([VISIT, first, later], later.visit) is later
    assert movement_of([VISIT, first, later]) is movement_of([VISIT], later.visit) is VISIT
    assert movement_of([VISIT, first], later.visit).asymmetry is None


def test_a_page_without_measurement_says_nothing_about_movement():
    html = page(method=None)
    assert "ovement" not in text(html)
    assert "is weaker" not in html


def test_the_summary_is_rounded_and_null_where_nothing_is_measured():
    assert VISIT.summary() == {"movement_asymmetry": 0.4212, "movement_side": "left", "movement_side_probability": 0.98}
    assert set(movement_of([]).summary().values()) == {None}
