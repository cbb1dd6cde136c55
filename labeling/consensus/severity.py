"""Severity, synkinesis and grade: what the readers' answers make of a case, and how far the readers agree.

They are optional and decide nothing: no case waits for them, and no label depends on them.

    question     the adjudicator answered   else
    ----------   ------------------------   --------------------------------------------------------------
    severity     that answer                the median of the readers who gave one, of an affected region
    synkinesis   that answer                the readers' answer where all who answered agree, else none
    grade        that answer                the median of the readers' grades
"""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from labeling.consensus.agreement import NUM_RESAMPLES
from labeling.consensus.kappa import PairKappa, weighted_kappas
from labeling.consensus.standing_answers import ReaderAnswer, StandingAnswers, newest_row
from vitau.evaluation.bootstrap import Array
from vitau.schema import AU, AUS, LedgerRow, RegionLabels


@dataclass(frozen=True, kw_only=True, slots=True)
class CaseSeverity:
    """The severity and the synkinesis of a case, by region with an answer, and its House–Brackmann grade."""

    severity: Mapping[AU, float] = field(default_factory=dict)
    synkinesis: Mapping[AU, bool] = field(default_factory=dict)
    grade: float | None = None


def case_severities(standing: StandingAnswers, labels: Iterable[RegionLabels]) -> dict[str, CaseSeverity]:
    """Return the severities of each labeled case, by the table of this module; severities are of affected regions only."""
    found = {}
    for label in labels:
        answers = list(standing.blind.get(label.case, {}).values())
        ruling = standing.rulings.get(label.case, {})
        severity, synkinesis = {}, {}
        for au in AUS:
            if label.affected.get(au):
                severity[au] = _median(_severities(ruling, au) or [x for answer in answers for x in _severities(answer, au)])
            moves = _synkineses(ruling, au) or [x for answer in answers for x in _synkineses(answer, au)]
            if len(set(moves)) == 1:
                synkinesis[au] = moves[0]
        found[label.case] = CaseSeverity(
            severity={au: value for au, value in severity.items() if value is not None},
            synkinesis=synkinesis,
            grade=_median(_grades(ruling) or [x for answer in answers for x in _grades(answer)]),
        )
    return found


def severity_kappas(
    standing: StandingAnswers, readers: Sequence[str], *, num_resamples: int = NUM_RESAMPLES, seed: int = 0
) -> dict[str, list[PairKappa]]:
    """Compute the weighted κ of each pair of readers, by question; a question that no two readers answered has none.

    Severities are compared on regions that both readers called affected and graded.
    """
    cases = sorted(standing.blind)
    severity, synkinesis, grade = ({name: _blank(cases) for name in readers} for _ in range(3))
    for row_number, case in enumerate(cases):
        for reader, answer in standing.blind[case].items():
            for column, au in enumerate(AUS):
                row = answer.get(au)
                if row is not None and row.severity is not None:
                    severity[reader][row_number, column] = row.severity
                if row is not None and row.synkinesis is not None:
                    synkinesis[reader][row_number, column] = row.synkinesis
            grades = _grades(answer)
            grade[reader][row_number, 0] = grades[0] - 1 if grades else np.nan
    questions = {"severity": (severity, 3), "synkinesis": (synkinesis, 2), "grade": (grade, 6)}
    found = {}
    for name, (ratings, num_categories) in questions.items():
        pairs = weighted_kappas(ratings, num_categories, num_resamples=num_resamples, seed=seed)
        found[name] = [pair for pair in pairs if pair.num_cells]
    return {name: pairs for name, pairs in found.items() if pairs}


def _blank(cases: Sequence[str]) -> Array:
    return np.full((len(cases), len(AUS)), np.nan)


def _severities(answer: ReaderAnswer, au: AU) -> list[int]:
    row = answer.get(au)
    return [] if row is None or row.severity is None else [row.severity]


def _synkineses(answer: ReaderAnswer, au: AU) -> list[bool]:
    row = answer.get(au)
    return [] if row is None or row.synkinesis is None else [row.synkinesis]


def _grades(answer: ReaderAnswer) -> list[int]:
    row: LedgerRow | None = newest_row(answer) if answer else None
    return [] if row is None or row.grade is None else [row.grade]


def _median(values: Sequence[float]) -> float | None:
    return float(statistics.median(values)) if values else None
