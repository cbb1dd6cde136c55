"""The performance on the page about held-out people: decisions as they were served, and κ with the readers."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from flows.reports.performance import LABELS, MODEL, held_out_performance
from vitau.catalog.catalog import ScoredSubject
from vitau.data.parquet import write_table
from vitau.schema import AU, AUS, LedgerRow, Side, Stage
from vitau.scoring.report import ReportedSubject
from vitau.store import open_store

PALSY = {"p1": 0.9, "p2": 0.4, "p3": 0.8}
OTHERS = {"c1": 0.2, "c2": 0.7}
AFFECTED = {"p1": {AU.AU1, AU.AU12}, "p3": {AU.AU9}}


def answers(reader: str, subject: str, affected: set[AU]) -> list[LedgerRow]:
    return [
        LedgerRow(
            subject=subject,
            au=au,
            reader=reader,
            stage=Stage.READER,
            affected=au in affected,
            side=Side.LEFT,
            annotation=f"{reader}{subject}",
            version="1",
            answered_at="2026-11-25T10:00:00Z",
        )
        for au in AUS
    ]


def reported(name: str, score: float) -> ReportedSubject:
    palsied = score >= 0.5
    regions = {au: SimpleNamespace(affected=au in AFFECTED.get(name, set())) for au in AUS} if palsied else {}
    served = SimpleNamespace(palsy_score=score, palsied=palsied, threshold=0.5, regions=regions)
    affected = {au: au in AFFECTED.get(name, set()) for au in AUS} if name in PALSY else None
    return ReportedSubject(name=name, score=served, affected=affected)


@pytest.fixture
def study(tmp_path: Path):
    """Five scored people with two frames each, a person without a score, and two readers of the palsied."""
    store = open_store((tmp_path / "store").as_uri())
    people = PALSY | OTHERS
    scores = []
    for name, score in people.items():
        write_table(store, f"scores/m/{name}/frames.parquet", pa.table({"palsy_score": [score - 0.15, score + 0.05]}))
        scores.append(ScoredSubject(model_digest="m", subject=name, key=f"scores/m/{name}/frames.parquet", summary={}))
    ledger = [row for name in PALSY for row in answers("reader-a", name, AFFECTED.get(name, set()))]
    ledger += answers("reader-b", "p1", AFFECTED["p1"] ^ {AU.AU2})
    catalog = SimpleNamespace(labels=list, clips=list)  # no visit is stated
    workspace = SimpleNamespace(store=store, newest_answers=lambda: (ledger, len(ledger)), catalog=catalog)
    rows = pa.table({"subject": [*people, "unscored"], "cohort": ["palsy"] * 3 + ["control"] * 2 + ["palsy"]})
    subjects = [*(reported(name, score) for name, score in people.items()), ReportedSubject(name="unscored", score=None)]
    return workspace, rows, subjects, scores


def test_people_and_frames_are_counted_by_the_decisions_that_were_served(study):
    found = held_out_performance(*study)
    assert found.confusion == (2, 1, 1, 1)
    assert found.by_person["sensitivity"].value == pytest.approx(2 / 3)
    assert found.num_frames == 10
    called = [score + change >= 0.5 for score in (PALSY | OTHERS).values() for change in (-0.15, 0.05)]
    truth = np.repeat([True] * 3 + [False] * 2, 2)
    assert found.by_frame["accuracy"].value == pytest.approx((np.array(called) == truth).mean())


def test_kappa_is_of_the_model_with_labels_and_readers_where_the_model_analyzed_regions(study):
    found = {(kappa.one, kappa.other): kappa for kappa in held_out_performance(*study).kappas}
    assert set(found) == {(MODEL, LABELS), (MODEL, "reader-a"), (MODEL, "reader-b"), ("reader-a", "reader-b")}
    assert found[MODEL, LABELS].value.value == pytest.approx(1)
    assert (found[MODEL, "reader-a"].num_people, found[MODEL, "reader-a"].num_cells) == (2, 16), "p2 was recognized as healthy"
    assert found[MODEL, "reader-b"].value.value < 1
    assert found[MODEL, "reader-b"].num_people == 1


def test_a_page_without_a_scored_person_has_no_performance(study):
    workspace, rows, subjects, _ = study
    assert held_out_performance(workspace, rows, subjects[-1:], []) is None
