"""Severities of the readers become one of each case, and their agreement is a weighted kappa."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from labeling.consensus.kappa import weighted_kappas
from labeling.consensus.severity import case_severities, severity_kappas
from labeling.consensus.standing_answers import standing_answers
from vitau.schema import AU, AUS, LedgerRow, RegionLabels, Side, Stage

LABEL = RegionLabels(subject="p", affected={au: au is AU.AU12 for au in AUS}, side=Side.LEFT)


def answer(reader: str, severity: int | None, synkinesis: bool | None, grade: int | None, subject="p") -> LedgerRow:
    return LedgerRow(
        subject=subject,
        au=AU.AU12,
        reader=reader,
        stage=Stage.ADJUDICATION if reader == "c" else Stage.READER,
        affected=True,
        side=Side.LEFT,
        annotation=f"{reader}{subject}",
        version="1",
        answered_at="",
        severity=severity,
        synkinesis=synkinesis,
        grade=grade,
    )


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([answer("a", 1, True, 3), answer("b", 2, True, 4)], ({AU.AU12: 1.5}, {AU.AU12: True}, 3.5)),
        ([answer("a", 1, True, 3), answer("b", None, False, None)], ({AU.AU12: 1.0}, {}, 3.0)),
        (
            [answer("a", 0, True, 2), answer("b", 0, False, 2), answer("c", 2, False, 5)],
            ({AU.AU12: 2.0}, {AU.AU12: False}, 5.0),
        ),
        ([answer("a", None, None, None)], ({}, {}, None)),
    ],
)
def test_the_adjudicators_answer_goes_before_the_readers(rows, expected):
    case = case_severities(standing_answers(rows), [LABEL])["p"]
    assert (case.severity, case.synkinesis, case.grade) == expected


def test_a_region_that_is_not_affected_by_consensus_has_no_severity():
    label = replace(LABEL, affected=dict.fromkeys(AUS, False), side=None)
    assert case_severities(standing_answers([answer("a", 1, True, 3)]), [label])["p"].severity == {}


@pytest.mark.parametrize("seed", range(3))
def test_weighted_kappa_is_that_of_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    one = rng.integers(0, 3, (40, 8)).astype(float)
    other = np.where(rng.random(one.shape) < 0.6, one, rng.integers(0, 3, one.shape))
    other[rng.random(one.shape) < 0.2] = np.nan
    (pair,) = weighted_kappas({"a": one, "b": other}, 3, num_resamples=50)
    known = np.isfinite(other)
    assert pair.kappa == pytest.approx(cohen_kappa_score(one[known], other[known], weights="linear"))
    assert pair.num_cells == known.sum()
    assert pair.interval[0] < pair.kappa < pair.interval[1]


def test_only_questions_that_two_readers_answered_have_a_kappa():
    rows = [
        answer(reader, level, None, grade, subject)
        for reader, levels, grade in (("a", (0, 1, 2), None), ("b", (0, 1, 1), 3))
        for subject, level in zip("pqr", levels, strict=True)
    ]
    found = severity_kappas(standing_answers(rows), ["a", "b"], num_resamples=10)
    assert found.keys() == {"severity"}
    (pair,) = found["severity"]
    assert (pair.num_cells, pair.num_subjects) == (3, 3)
    assert pair.kappa == pytest.approx(cohen_kappa_score([0, 1, 2], [0, 1, 1], weights="linear"))
    everyone = severity_kappas(standing_answers([answer("a", 1, True, 3), answer("b", 1, True, 3)]), ["a", "b"])
    assert {name: pairs[0].kappa for name, pairs in everyone.items()} == dict.fromkeys(("severity", "synkinesis", "grade"))
