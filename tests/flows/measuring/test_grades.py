"""Grades of readers are compared with the stored measures of the same people, unless the page showed measures."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from scipy.stats import spearmanr

from flows.annotation.consensus import label_report
from flows.cli.label_tables import grades as grades_table
from flows.measuring.grades import ASYMMETRY, FEWEST_PEOPLE, GradeReport, blind_grades, compared_measures, grade_report
from flows.measuring.people import people_measures
from flows.reports.labeling import labeling_progress, render_labeling_page, write_labeling_page
from flows.workspace import Workspace
from labeling.consensus.standing_answers import standing_answers
from tests.flows.measuring.stored_people import add_person
from tests.flows.workspaces import offline_workspace
from vitau.schema import AU, AUS, LedgerRow, Side, Stage


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    with offline_workspace(tmp_path, readers=("a", "b")) as opened:
        yield opened


def answer(
    subject: str, reader: str, grade: int | None, *, stage: Stage = Stage.READER, shown: str | None = None
) -> list[LedgerRow]:
    return [
        LedgerRow(
            subject=subject,
            au=au,
            reader=reader,
            stage=stage,
            affected=au is AU.AU12,
            side=Side.LEFT,
            annotation=f"{subject}-{reader}",
            version="1",
            answered_at="2026-11-23T09:30:00Z",
            grade=grade,
            measures_shown=shown,
        )
        for au in AUS
    ]


def ruling(subject: str, grade: int | None, *, shown: str | None = None) -> list[LedgerRow]:
    return answer(subject, "adjudicator", grade, stage=Stage.ADJUDICATION, shown=shown)


GRADES = {"p00": 1, "p01": 2, "p02": 1, "p03": 3, "p04": 3, "p05": 4, "p06": 3, "p07": 5, "p08": 5, "p09": 6, "p10": 6}
"""In about the order of the severity of these people."""


@pytest.fixture
def graded(workspace: Workspace) -> Workspace:
    for number, (subject, grade) in enumerate(GRADES.items()):
        add_person(workspace, subject, severity=number / len(GRADES), index=number)
        workspace.catalog.append_answers([*answer(subject, "a", grade), *answer(subject, "b", None)])
    return workspace


def test_grades_are_correlated_with_movement_and_with_the_measures_of_each_exercise(graded):
    report = grade_report(graded, num_resamples=200)
    assert (report.num_people, report.num_compared, report.note) == (11, 11, None)
    assert [found.measure for found in report.correlations] == compared_measures()
    movement = report.correlations[0]
    grades, values = zip(*report.points, strict=True)
    assert movement.measure == ASYMMETRY
    assert movement.rho == pytest.approx(spearmanr(grades, values).statistic, abs=1e-9)
    assert movement.rho > 0.85
    assert movement.interval[0] <= movement.rho <= movement.interval[1]
    smile = next(found for found in report.correlations if found.measure == "smiling: height of the lip corner")
    assert smile.num_people >= FEWEST_PEOPLE
    assert smile.rho > 0.6


def test_people_without_a_grade_without_measures_and_graded_with_measures_in_view_are_counted_and_left_out(graded):
    add_person(graded, "q0", severity=0.5)
    add_person(graded, "q1", severity=None)
    add_person(graded, "q2", severity=0.5)
    add_person(graded, "q3", severity=0.5)
    graded.catalog.append_answers(
        [*answer("q0", "a", None), *answer("q1", "a", 4), *answer("q2", "a", 4, shown="v1"), *ruling("q3", 5, shown="v1")]
    )
    report = grade_report(graded, num_resamples=20)
    assert (report.num_people, report.num_ungraded, report.num_unblind, report.num_unmeasured) == (15, 1, 2, 1)
    assert report.num_compared == 11
    assert report.num_graded == 14
    text = grades_table(report)
    assert "11 people. Left out: 1 without a grade, 2 graded only with measures on the page, 1 without measures." in text


def test_the_measures_of_a_person_who_was_seen_twice_are_the_mean_of_the_visits(graded):
    before = {value for _, value in grade_report(graded, num_resamples=2).points}
    add_person(graded, "p10", severity=0.1, index=10, visit="2")
    (new,) = {value for _, value in grade_report(graded, num_resamples=2).points} - before
    visits = [visit.analysis.person.asymmetry for visit in people_measures(graded, {"p10"})["p10"].visits]
    assert len(visits) == 2
    assert new == pytest.approx(sum(visits) / 2, abs=1e-4)
    assert abs(new - visits[0]) > 0.1


def test_the_grade_is_the_adjudicators_else_the_median_of_the_readers_and_never_one_with_measures_in_view():
    rows = [
        *answer("one", "a", 2),
        *answer("one", "b", 5),
        *answer("two", "a", 2),
        *answer("two", "b", 5),
        *ruling("two", 4),
        *answer("three", "a", 2),
        *ruling("three", 6, shown="v1"),
        *answer("four", "a", 3, shown="v1"),
        *answer("five", "a", 3),
        *(replace(row, version="2", grade=None) for row in answer("five", "a", 3)),
    ]
    assert blind_grades(standing_answers(rows)) == {"one": 3.5, "two": 4.0, "three": 2.0}


def test_below_ten_people_there_is_a_sentence_instead_of_a_number(workspace):
    for number in range(FEWEST_PEOPLE - 1):
        add_person(workspace, f"p{number}", severity=number / 10, index=number)
        workspace.catalog.append_answers(answer(f"p{number}", "a", 1 + number % 6))
    report = grade_report(workspace)
    assert (report.correlations, report.num_compared) == ((), 9)
    sentence = (
        "Grades are compared with measures from 10 people on; 9 have both, "
        "with a grade that was given without measures on the page."
    )
    assert report.note == sentence
    assert sentence in grades_table(report)
    page = render_labeling_page(labeling_progress(workspace), at="now", grades=report)
    assert sentence in page
    assert "<circle" not in page


def test_nobody_graded_is_no_section(workspace):
    add_person(workspace, "p0", severity=0.2)
    workspace.catalog.append_answers(answer("p0", "a", None))
    report = grade_report(workspace)
    assert report == GradeReport(
        num_people=1,
        num_ungraded=1,
        num_unblind=0,
        num_unmeasured=0,
        num_compared=0,
        note="No reader has given a House–Brackmann grade.",
    )
    assert grades_table(report) == ""
    assert "grades" not in render_labeling_page(labeling_progress(workspace), at="now", grades=report)


def test_the_report_and_the_page_have_the_correlations_and_no_pseudonym(graded, tmp_path):
    report = label_report(graded, num_resamples=50).grades
    movement = report.correlations[0]
    table = grades_table(report)
    assert f"{movement.rho:+.2f} [{movement.interval[0]:+.2f}, {movement.interval[1]:+.2f}]" in table
    write_labeling_page(graded, labeling_progress(graded), tmp_path / "labeling.html")
    page = (tmp_path / "labeling.html").read_text()
    assert page.count("<circle") == 11
    assert f"{movement.rho:+.2f} [" in page
    assert "smiling: height of the lip corner" in page
    assert [subject for subject in GRADES if subject in page + table] == []
