"""House–Brackmann grades of the readers against the measures of the same people, which no reader saw while grading."""

import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from flows.measuring.people import people_measures
from flows.measuring.rank_correlation import NUM_RESAMPLES, rank_correlation
from flows.workspace import Workspace
from labeling.consensus.standing_answers import ReaderAnswer, StandingAnswers, newest_row, standing_answers
from vitau.evaluation.bootstrap import Interval
from vitau.measures.analysis import Analysis
from vitau.measures.reporting.words import measure_words
from vitau.measures.results import ASKED, TASK_WORDS, Task
from vitau.schema import LedgerRow, person_of

FEWEST_PEOPLE: Final = 10
"""People from which a correlation is stated: with 10, the interval of a ρ of 0.5 already spans from about −0.2 to 0.9."""
ASYMMETRY: Final = "asymmetry of movement"
AT_REST: Final = ("brow_height", "lid_gap", "nasal_wing_height", "lip_corner_height")
"""Measures whose difference between the sides is compared at rest."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GradeCorrelation:
    """Spearman's ρ of grades and one measure; ``None`` with fewer than ``FEWEST_PEOPLE``, or if all values are equal."""

    measure: str
    num_people: int
    rho: float | None = None
    interval: Interval | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class GradeReport:
    """Grades against measures.

    Of ``num_people`` with a standing answer, ``num_ungraded`` have no grade, and all grades of ``num_unblind`` were given with
    measures on the page. ``num_unmeasured`` of the others have no measure of movement. ``points`` holds the grade and the
    asymmetry of movement of all ``num_compared`` people. ``note`` says why there is no correlation.
    """

    num_people: int
    num_ungraded: int
    num_unblind: int
    num_unmeasured: int
    num_compared: int
    correlations: tuple[GradeCorrelation, ...] = ()
    points: tuple[tuple[float, float], ...] = ()
    note: str | None = None

    @property
    def num_graded(self) -> int:
        """Number of people with a grade, whatever the page showed."""
        return self.num_people - self.num_ungraded


def grade_report(
    workspace: Workspace, rows: Sequence[LedgerRow] | None = None, *, num_resamples: int = NUM_RESAMPLES
) -> GradeReport:
    """Compute the correlations of grades and measures; only the measures of graded people are read.

    Args:
        workspace: the rows and the objects.
        rows: the ledger, by default its newest answers.
        num_resamples: resamples of people for the intervals.

    Raises:
        StoreError: the measures cannot be read.
    """
    standing = standing_answers(workspace.newest_answers()[0] if rows is None else rows)
    answered = {*standing.blind, *standing.rulings}
    people = set(map(person_of, answered))
    grades = by_person(blind_grades(standing))
    num_unblind = len({person_of(case) for case in answered if _is_graded(standing, case)} - grades.keys())
    measured = people_measures(workspace, grades.keys()) if grades else {}
    values = {subject: asymmetries(visit.analysis for visit in person.visits) for subject, person in measured.items()}
    compared = {subject: grades[subject] for subject, found in values.items() if ASYMMETRY in found}
    return GradeReport(
        num_people=len(people),
        num_ungraded=len(people) - len(grades) - num_unblind,
        num_unblind=num_unblind,
        num_unmeasured=len(grades) - len(compared),
        num_compared=len(compared),
        correlations=tuple(_correlations(compared, values, num_resamples)) if len(compared) >= FEWEST_PEOPLE else (),
        points=tuple(sorted((grade, round(values[subject][ASYMMETRY], 4)) for subject, grade in compared.items())),
        note=_note(len(grades) + num_unblind, len(compared)),
    )


def blind_grades(standing: StandingAnswers) -> dict[str, float]:
    """Return the grade of each case, one person at one visit, from answers whose page showed no measures.

    It is the adjudicator's, who knows the readers' grades; without one, the median of the readers' grades.
    """
    grades: dict[str, float] = {}
    for subject in {*standing.blind, *standing.rulings}:
        ruling = _grade(standing.rulings.get(subject, {}))
        blind = [grade for answer in standing.blind.get(subject, {}).values() if (grade := _grade(answer)) is not None]
        if ruling is not None:
            grades[subject] = float(ruling)
        elif blind:
            grades[subject] = float(statistics.median(blind))
    return grades


def by_person(grades: Mapping[str, float]) -> dict[str, float]:
    """Return the grade of each person, the mean over the visits, as the measures are."""
    found: dict[str, list[float]] = {}
    for case, grade in grades.items():
        found.setdefault(person_of(case), []).append(grade)
    return {person: statistics.fmean(own) for person, own in found.items()}


def asymmetries(visits: Iterable[Analysis | None]) -> dict[str, float]:
    """Return how unequal the sides of a person are, by name of the measure; each is the mean over the visits that have it.

    An excursion counts as 1 − ratio of the smaller to the larger side, a level at rest as the distance between the sides.
    """
    found: dict[str, list[float]] = {}
    for analysis in visits:
        for name, value in _asymmetries(analysis) if analysis is not None else ():
            found.setdefault(name, []).append(value)
    return {name: statistics.fmean(values) for name, values in found.items()}


def compared_measures() -> list[str]:
    """Return the names of the compared measures, in the order of the report."""
    moved = [_name(task, measure) for task, asked in ASKED.items() for measure in asked]
    return [ASYMMETRY, *moved, *(_name(Task.REST, measure) for measure in AT_REST)]


def _asymmetries(analysis: Analysis) -> Iterator[tuple[str, float]]:
    if analysis.person.asymmetry is not None:
        yield ASYMMETRY, analysis.person.asymmetry
    for measure in analysis.measures:
        name = _name(measure.task, measure.measure)
        if measure.kind == "excursion" and measure.ratio is not None:
            yield name, 1 - measure.ratio
        elif measure.kind == "rest" and measure.difference is not None:
            yield name, abs(measure.difference)


def _name(task: Task, measure: str) -> str:
    return f"{TASK_WORDS[task]}: {measure_words(measure)}"


def _correlations(
    grades: Mapping[str, float], values: Mapping[str, Mapping[str, float]], num_resamples: int
) -> Iterator[GradeCorrelation]:
    for name in compared_measures():
        pairs = [(grade, values[subject][name]) for subject, grade in grades.items() if name in values[subject]]
        if len(pairs) < FEWEST_PEOPLE:
            yield GradeCorrelation(measure=name, num_people=len(pairs))
            continue
        found = rank_correlation(*zip(*pairs, strict=True), num_resamples=num_resamples)
        yield GradeCorrelation(measure=name, num_people=found.num_people, rho=found.rho, interval=found.interval)


def _note(num_graded: int, num_compared: int) -> str | None:
    if not num_graded:
        return "No reader has given a House–Brackmann grade."
    if num_compared < FEWEST_PEOPLE:
        return (
            f"Grades are compared with measures from {FEWEST_PEOPLE} people on; {num_compared} have both, "
            "with a grade that was given without measures on the page."
        )
    return None


def _grade(answer: ReaderAnswer) -> int | None:
    """Return the grade of an answer; ``None`` without one, or if the page showed measures."""
    row = newest_row(answer) if answer else None
    return None if row is None or row.measures_shown is not None else row.grade


def _is_graded(standing: StandingAnswers, subject: str) -> bool:
    answers = [*standing.blind.get(subject, {}).values(), standing.rulings.get(subject, {})]
    return any(newest_row(answer).grade is not None for answer in answers if answer)
