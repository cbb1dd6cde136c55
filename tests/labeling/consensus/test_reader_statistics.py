"""Statistics of readers with known habits."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest

from labeling.consensus.reader_statistics import reader_reports
from labeling.consensus.standing_answers import standing_answers
from vitau.schema import AU, AUS, LedgerRow, RegionLabels, Side, Stage

NUM_PEOPLE = 80


def label(number: int) -> RegionLabels:
    affected = {au: bool((number >> bit) & 1) for bit, au in enumerate(AUS)}
    return RegionLabels(subject=f"p{number:03}", affected=affected, side=Side.LEFT if any(affected.values()) else None)


LABELS = [label(number) for number in range(NUM_PEOPLE)]


def row(number: int, au: AU, reader: str = "reader-a", **changes: object) -> LedgerRow:
    """Return a correct answer about a region; one person is read per hour."""
    truth = LedgerRow(
        subject=LABELS[number].subject,
        au=au,
        reader=reader,
        stage=Stage.READER,
        affected=LABELS[number].affected[au],
        side=LABELS[number].side,
        annotation=f"{reader}-{number}",
        version="1",
        answered_at=f"2026-01-{1 + number // 24:02}T{number % 24:02}:00:00Z",
        lead_time_s=10.0 + number % 10,
    )
    return replace(truth, **changes)


def report(rows: list[LedgerRow], reader: str = "reader-a", **options: int):
    return next(found for found in reader_reports(standing_answers(rows), LABELS, **options) if found.reader == reader)


def all_rows(reader: str = "reader-a") -> list[LedgerRow]:
    return [row(number, au, reader) for number in range(NUM_PEOPLE) for au in AUS]


def test_a_correct_reader_has_no_bias_and_no_drift():
    found = report(all_rows())
    assert (found.num_subjects, found.cannot_tell, found.agreement.value, found.drift.difference.value) == (80, 0, 1, 0)
    assert found.agreement.num_cells == 640
    assert {estimate.value for estimate in found.bias.values()} == {0}
    assert found.anchoring is None


def test_speed_is_per_person_and_by_week():
    found = report(all_rows())
    assert (found.speed.median_s, found.speed.num_subjects) == (14.5, 80)
    assert found.speed.p90_s == pytest.approx(np.quantile([10 + number % 10 for number in range(80)], 0.9))
    assert {week: speed.num_subjects for week, speed in found.speed_by_week.items()} == {"2026-W01": 80}
    slower = [replace(row, answered_at="2026-01-08T00:00:00Z", lead_time_s=60.0) for row in all_rows()[:80]]
    weeks = report(all_rows() + slower).speed_by_week
    assert {week: (speed.median_s, speed.num_subjects) for week, speed in weeks.items()}["2026-W02"] == (60, 10)


def test_an_untimed_answer_has_no_speed():
    found = report([replace(row, lead_time_s=None, answered_at="") for row in all_rows()])
    assert (found.speed, found.speed_by_week) == (None, {})


def test_a_region_answered_affected_too_often_has_a_bias_above_zero():
    rows = [replace(row, affected=True) if row.au is AU.AU26 else row for row in all_rows()]
    found = report(rows)
    healthy = np.mean([not label.affected[AU.AU26] for label in LABELS])
    assert found.bias[AU.AU26].value == pytest.approx(healthy)
    low, high = found.bias[AU.AU26].interval
    assert 0 < low <= healthy <= high
    assert found.bias[AU.AU12].value == 0


def test_a_reader_who_gets_worse_has_a_drift_below_zero():
    rows = [
        replace(row, affected=not row.affected) if place >= 480 and place % 2 else row for place, row in enumerate(all_rows())
    ]
    found = report(rows)
    assert (found.drift.first.value, found.drift.second.value) == (1, pytest.approx(0.75))
    assert found.drift.difference.value == pytest.approx(-0.25)
    assert found.drift.difference.interval[0] < -0.25 < found.drift.difference.interval[1] < 0


def test_cannot_tell_is_counted_but_not_compared():
    rows = [replace(row, affected=None) if row.au in {AU.AU1, AU.AU2} else row for row in all_rows()]
    found = report(rows)
    assert (found.cannot_tell, found.agreement.num_cells, found.bias[AU.AU1].value) == (0.25, 480, None)


def test_people_without_labels_are_counted_but_not_compared():
    unlabeled = [replace(row, subject="unlabeled", annotation="x") for row in all_rows()[:8]]
    found = report(all_rows() + unlabeled)
    assert (found.num_subjects, found.agreement.num_cells) == (81, 640)


def test_a_reader_who_follows_suggestions_is_found():
    """One reader repeats suggestions that are wrong in every other cell; a blind reader answers the same cells correctly."""
    rng = np.random.default_rng(0)
    rows = all_rows("blind")
    for correct in all_rows("anchored"):
        wrong = rng.random() < 0.5
        suggested = correct.affected != wrong
        seen = replace(correct, affected=suggested, suggestion=0.4 if suggested else -0.1, suggested_by="vitau-regions/1")
        rows += [seen, replace(seen, reader="anchored-too", annotation=f"{seen.annotation}-too")]
    found = report(rows, "anchored").anchoring
    assert (found.shown.value, found.shown.num_cells, found.blind.num_cells) == (1, 640, 640)
    assert found.blind.value == pytest.approx(0.5, abs=0.06)
    assert found.difference.value == pytest.approx(1 - found.blind.value)
    assert found.difference.interval[0] > 0.3
    assert report(rows, "blind").anchoring is None


def test_the_adjudicator_is_compared_with_the_blind_readers_of_the_same_cells():
    rulings = [replace(row, stage=Stage.ADJUDICATION, suggestion=1.0) for row in all_rows("adjudicator")[:80]]
    found = reader_reports(standing_answers(all_rows() + rulings), LABELS)
    assert [(reader.reader, reader.stage, reader.num_subjects) for reader in found] == [
        ("reader-a", Stage.READER, 80),
        ("adjudicator", Stage.ADJUDICATION, 10),
    ]
    assert found[1].anchoring.difference.value == 0


def test_a_report_is_json_and_depends_on_the_seed_only():
    rows = [replace(row, affected=not row.affected) if number % 7 == 0 else row for number, row in enumerate(all_rows())]
    once, again, other = (asdict(report(rows, seed=seed)) for seed in (1, 1, 2))
    assert json.dumps(once) == json.dumps(again)
    assert once["agreement"]["interval"] != other["agreement"]["interval"]


def test_an_empty_ledger_has_no_readers():
    assert reader_reports(standing_answers([]), []) == []
