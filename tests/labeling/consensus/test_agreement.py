"""Agreement compared with the ``krippendorff`` package, and its intervals with resampled answers."""

import time
from dataclasses import replace

import krippendorff
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from labeling.consensus.agreement import (
    WITH_MEASURES,
    WITH_SUGGESTION,
    WITHOUT_MEASURES,
    WITHOUT_SUGGESTION,
    agreement_report,
    answer_array,
    coincidences,
    measure,
)
from labeling.consensus.standing_answers import StandingAnswers, standing_answers
from vitau.evaluation.bootstrap import cached_resampler
from vitau.schema import AU, AUS, LedgerRow, Side, Stage

READERS = ("a", "b", "c")


def standing_of(answer_SRA: np.ndarray, answered_at: str = "2026-01-01T00:00:00Z") -> StandingAnswers:
    """Return the standing answers of an array: 1 yes, 0 no, NaN cannot tell."""
    rows = [
        LedgerRow(
            subject=f"p{s:04}",
            au=AUS[a],
            reader=READERS[r],
            stage=Stage.READER,
            affected=None if np.isnan(answer) else bool(answer),
            side=Side.LEFT,
            annotation=f"{s}-{r}",
            version="1",
            answered_at=answered_at,
        )
        for (s, r, a), answer in np.ndenumerate(answer_SRA)
    ]
    return standing_answers(rows)


def random_answers(num_subjects: int, num_readers: int = 2, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    truth_SA = rng.random((num_subjects, 1, len(AUS))) < 0.4
    answer_SRA = (truth_SA ^ (rng.random((num_subjects, num_readers, len(AUS))) < 0.15)).astype(float)
    answer_SRA[rng.random(answer_SRA.shape) < 0.05] = np.nan
    return answer_SRA


def by_the_package(answer_SRA: np.ndarray) -> float | None:
    """Compute α of all cells with the package; ``None`` where it is undefined and the package raises."""
    cells = answer_SRA.transpose(1, 0, 2).reshape(answer_SRA.shape[1], -1)
    paired = cells[:, np.isfinite(cells).sum(0) >= 2]
    if len(np.unique(paired[np.isfinite(paired)])) < 2:
        return None
    return krippendorff.alpha(paired, level_of_measurement="nominal")


@given(
    arrays(
        np.float64,
        st.tuples(st.integers(1, 6), st.integers(2, 4), st.just(len(AUS))),
        elements=st.sampled_from([0.0, 1.0, np.nan]),
    )
)
def test_alpha_equals_that_of_the_package(answer_SRA):
    found = measure(coincidences(answer_SRA).sum(1))
    expected = by_the_package(answer_SRA)
    assert (found.alpha is None) == (expected is None)
    if expected is not None:
        assert found.alpha == pytest.approx(expected, abs=1e-9)


def test_each_number_of_a_report_uses_its_own_cells():
    answer_SRA = random_answers(60, 3)
    report = agreement_report(standing_of(answer_SRA), READERS, num_resamples=50)
    assert report.overall.alpha == pytest.approx(by_the_package(answer_SRA), abs=1e-9)
    for index, au in enumerate(AUS):
        assert report.by_au[au].alpha == pytest.approx(by_the_package(answer_SRA[:, :, [index]]), abs=1e-9)
    assert set(report.by_pair) == {"a / b", "a / c", "b / c"}
    assert report.by_pair["a / c"].alpha == pytest.approx(by_the_package(answer_SRA[:, [0, 2]]), abs=1e-9)
    one, other = answer_SRA[:, 0], answer_SRA[:, 2]
    both = np.isfinite(one + other)
    assert report.by_pair["a / c"].raw == pytest.approx((one == other)[both].mean())
    assert report.by_pair["a / c"].num_pairs == both.sum()


def test_intervals_are_those_of_people_resampled_with_replacement():
    answer_SRA = random_answers(25)
    resample = cached_resampler(200, 3)
    found = measure(coincidences(answer_SRA).sum(1), resample)
    values = [by_the_package(np.repeat(answer_SRA, weight.astype(int), axis=0)) for weight in resample(25)]
    assert found.alpha_interval == pytest.approx(tuple(np.quantile(values, [0.025, 0.975])))
    assert found.alpha_interval[0] < found.alpha < found.alpha_interval[1]
    assert found.raw_interval[0] < found.raw < found.raw_interval[1]


def test_people_are_resampled_and_not_cells():
    """Eight copies of one region carry no more information than one: the interval does not narrow."""
    answer_SRA = np.repeat(random_answers(80)[:, :, :1], len(AUS), axis=2)
    report = agreement_report(standing_of(answer_SRA), READERS[:2], num_resamples=300)
    assert report.overall.raw_interval == pytest.approx(report.by_au[AU.AU1].raw_interval)


def test_weeks_are_those_of_the_last_answer_to_a_cell():
    first, second = (
        standing_of(random_answers(5), "2026-01-04T12:00:00Z"),
        standing_of(random_answers(7), "2026-01-05T12:00:00Z"),
    )
    later = {f"q{name}": answers for name, answers in second.blind.items()}
    mixed = {"x": {"a": first.blind["p0000"]["a"], "b": second.blind["p0000"]["b"]}}
    unknown = {"y": standing_of(random_answers(1), "").blind["p0000"]}
    standing = StandingAnswers(blind={**first.blind, **later, **mixed, **unknown}, rulings={}, subjects=frozenset())
    report = agreement_report(standing, READERS[:2], num_resamples=20)
    assert {week: agreement.num_subjects for week, agreement in report.by_week.items()} == {"2026-W01": 5, "2026-W02": 8}
    assert report.overall.num_subjects == 14


def test_answers_with_a_suggestion_are_compared_with_each_other_and_those_without_likewise():
    anchored, blind = random_answers(30), random_answers(40, seed=1)
    anchored[:, 1] = anchored[:, 0]  # whoever follows the same suggestion agrees

    def renamed(standing, prefix, suggestion):
        return {
            prefix + name: {
                reader: {au: replace(row, suggestion=suggestion) for au, row in answer.items()}
                for reader, answer in answers.items()
            }
            for name, answers in standing.blind.items()
        }

    mixed = renamed(standing_of(anchored), "m", 0.2)
    for answers in mixed.values():
        answers["b"] = {au: replace(row, suggestion=None) for au, row in answers["b"].items()}
    both = {**renamed(standing_of(anchored), "s", 0.2), **renamed(standing_of(blind), "w", None), **mixed}
    report = agreement_report(StandingAnswers(blind=both, rulings={}, subjects=frozenset()), READERS[:2], num_resamples=20)
    assert report.by_suggestion[WITH_SUGGESTION].alpha == pytest.approx(1)
    assert report.by_suggestion[WITH_SUGGESTION].num_subjects == 30
    assert report.by_suggestion[WITHOUT_SUGGESTION].alpha == pytest.approx(by_the_package(blind), abs=1e-9)
    assert report.by_suggestion[WITHOUT_SUGGESTION].num_subjects == 40


def test_answers_with_measures_on_the_page_are_compared_with_each_other_and_those_without_likewise():
    shown, blind = random_answers(30), random_answers(40, seed=1)
    shown[:, 1] = shown[:, 0]
    seen = {
        f"m{name}": {
            reader: {au: replace(row, measures_shown="v1") for au, row in answer.items()} for reader, answer in answers.items()
        }
        for name, answers in standing_of(shown).blind.items()
    }
    both = StandingAnswers(blind={**seen, **standing_of(blind).blind}, rulings={}, subjects=frozenset())
    by_measures = agreement_report(both, READERS[:2], num_resamples=20).by_measures
    assert {name: found.num_subjects for name, found in by_measures.items()} == {WITH_MEASURES: 30, WITHOUT_MEASURES: 40}
    assert by_measures[WITH_MEASURES].alpha == pytest.approx(1)
    assert by_measures[WITHOUT_MEASURES].alpha == pytest.approx(by_the_package(blind), abs=1e-9)


def test_an_empty_ledger_has_no_agreement():
    report = agreement_report(standing_answers([]), READERS[:2])
    assert (report.overall.raw, report.overall.alpha, report.overall.raw_interval, report.by_week) == (None, None, None, {})
    assert answer_array(standing_answers([]), READERS).shape == (0, 3, 8)


def test_a_thousand_resamples_of_500_people_take_well_under_a_second():
    standing = standing_of(random_answers(500))
    agreement_report(standing, READERS[:2], num_resamples=2)
    start = time.process_time()
    agreement_report(standing, READERS[:2], num_resamples=1000)
    assert time.process_time() - start < 1
