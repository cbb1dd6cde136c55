"""Performance of a champion on the held-out people of a report, and its agreement with the readers."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import pyarrow as pa

from flows.annotation.person_labels import first_labels
from flows.workspace import Workspace
from labeling.consensus.agreement import answer_array
from labeling.consensus.kappa import pair_kappas
from labeling.consensus.standing_answers import StandingAnswers, standing_answers
from vitau.catalog.catalog import ScoredSubject
from vitau.data.parquet import read_table
from vitau.evaluation.bootstrap import Array
from vitau.evaluation.metrics import Estimate
from vitau.schema import AUS, Cohort, person_of
from vitau.scoring.performance import Kappa, Performance, measure_performance
from vitau.scoring.report import ReportedSubject

MODEL: Final = "the model"
LABELS: Final = "the labels"


def held_out_performance(
    workspace: Workspace, rows: pa.Table, subjects: Sequence[ReportedSubject], scores: Sequence[ScoredSubject]
) -> Performance | None:
    """Measure the decisions about people that a report shows; ``None`` if nobody of them was scored.

    Args:
        workspace: the ledger and the objects.
        rows: of the snapshot, which says who is palsied.
        subjects: people of the report.
        scores: of the same people.
    """
    cohorts = dict(zip(rows["subject"].to_pylist(), rows["cohort"].to_pylist(), strict=True))
    people = [(subject, subject.score) for subject in subjects if subject.score is not None and subject.name in cohorts]
    if not people:
        return None
    index = {subject.name: row for row, (subject, _) in enumerate(people)}
    frames = [
        (index[score.subject], read_table(workspace.store, score.key, ["palsy_score"])["palsy_score"].to_numpy())
        for score in scores
        if score.subject in index
    ]
    return measure_performance(
        np.array([cohorts[subject.name] == Cohort.PALSY for subject, _ in people]),
        np.array([score.palsied for _, score in people]),
        np.array([score.palsy_score for _, score in people]),
        (
            np.concatenate([np.full(len(score_F), person) for person, score_F in frames]),
            np.concatenate([score_F for _, score_F in frames]),
        ),
        people[0][1].threshold,
        rater_kappas([subject for subject, _ in people], _first_visits(workspace)),
    )


def _first_visits(workspace: Workspace) -> StandingAnswers:
    """Return the standing answers about people at their earliest labeled visit, by pseudonym."""
    standing = standing_answers(workspace.newest_answers()[0])
    labeled = {label.case for label in first_labels(workspace, workspace.catalog.labels()).values()}
    last = sorted(standing.blind, key=lambda case: (case in labeled, case))
    blind = {person_of(case): standing.blind[case] for case in last}  # the labeled visit replaces the others
    return StandingAnswers(blind=blind, rulings={}, subjects=frozenset(blind))


def rater_kappas(people: Sequence[ReportedSubject], standing: StandingAnswers) -> list[Kappa]:
    """Return κ of the model, the labels and the readers about the regions of people, where two of them have a common answer."""
    readers = sorted({reader for person in people for reader in standing.blind.get(person.name, {})})
    blind = {person.name: standing.blind.get(person.name, {}) for person in people}
    answer_SRA = answer_array(StandingAnswers(blind=blind, rulings={}, subjects=frozenset()), readers)
    ratings: dict[str, Array] = {
        MODEL: model_ratings(people),
        LABELS: np.array([[_number((person.affected or {}).get(au)) for au in AUS] for person in people]),
        **{reader: answer_SRA[:, number] for number, reader in enumerate(readers)},
    }
    return [
        Kappa(
            one=pair.one,
            other=pair.other,
            value=Estimate(value=pair.kappa, interval=pair.interval),
            num_cells=pair.num_cells,
            num_people=pair.num_subjects,
        )
        for pair in pair_kappas(ratings)
        if pair.num_cells and pair.one != LABELS  # readers agree with labels that they made
    ]


def model_ratings(people: Sequence[ReportedSubject]) -> Array:
    """Return the model's decisions about regions, (S, A): 1 affected, 0 not, NaN where the regions were not analyzed."""
    regions = [{} if person.score is None else person.score.regions for person in people]
    return np.array([[_number(found[au].affected if au in found else None) for au in AUS] for found in regions])


def _number(affected: bool | None) -> float:
    return np.nan if affected is None else float(affected)
