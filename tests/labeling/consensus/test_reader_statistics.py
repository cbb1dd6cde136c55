"""Readers whose habits are known, and whether the report finds them."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest

from labeling.consensus.reader_statistics import reader_reports
from labeling.consensus.standing_answers import last_words
from vitau.schema import AU, AUS, LedgerRow, RegionLabels, Side, Stage

NUM_PEOPLE = 80


def label(number: int) -> RegionLabels:
    affected = {au: bool((number >> bit) & 1) for bit, au in enumerate(AUS)}
    return RegionLabels(subject=f"p{number:03}", affected=affected, side=Side.LEFT if any(affected.values()) else None)


LABELS = [label(number) for number in range(NUM_PEOPLE)]


def row(number: int, au: AU, reader: str = "reader-a", **changes: object) -> LedgerRow:
    """The truth about a region, read one person an hour."""
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
    return next(each for each in reader_reports(last_words(rows), LABELS, **options) if each.reader == reader)


def everything(reader: str = "reader-a") -> list[LedgerRow]:
    return [row(number, au, reader) for number in range(NUM_PEOPLE) for au in AUS]


def test_who_tells_the_truth_has_no_bias_and_does_not_drift():
    found = report(everything())
    assert (found.num_subjects, found.cannot_tell, found.agreement.value, found.drift.difference.value) == (80, 0, 1, 0)
    assert found.agreement.num_cells == 640
    assert {each.value for each in found.bias.values()} == {0}
    assert found.anchoring is None


def test_speed_is_per_person_and_by_week():
    found = report(everything())
    assert (found.speed.median_s, found.speed.num_subjects) == (14.5, 80)
    assert found.speed.p90_s == pytest.approx(np.quantile([10 + number % 10 for number in range(80)], 0.9))
    assert {week: speed.num_subjects for week, speed in found.speed_by_week.items()} == {"2026-W01": 80}
    slower = [replace(each, answered_at="2026-01-08T00:00:00Z", lead_time_s=60.0) for each in everything()[:80]]
    weeks = report(everything() + slower).speed_by_week
    assert {week: (speed.median_s, speed.num_subjects) for week, speed in weeks.items()}["2026-W02"] == (60, 10)


def test_an_untimed_answer_has_no_speed():
    found = report([replace(each, lead_time_s=None, answered_at="") for each in everything()])
    assert (found.speed, found.speed_by_week) == (None, {})


def test_a_region_seen_too_often_is_a_bias_above_zero_in_that_region_alone():
    rows = [replace(each, affected=True) if each.au is AU.AU26 else each for each in everything()]
    found = report(rows)
    healthy = np.mean([not each.affected[AU.AU26] for each in LABELS])
    assert found.bias[AU.AU26].value == pytest.approx(healthy)
    low, high = found.bias[AU.AU26].interval
    assert 0 < low <= healthy <= high
    assert found.bias[AU.AU12].value == 0


def test_who_gets_worse_drifts_below_zero():
    rows = [
        replace(each, affected=not each.affected) if place >= 480 and place % 2 else each
        for place, each in enumerate(everything())
    ]
    found = report(rows)
    assert (found.drift.first.value, found.drift.second.value) == (1, pytest.approx(0.75))
    assert found.drift.difference.value == pytest.approx(-0.25)
    assert found.drift.difference.interval[0] < -0.25 < found.drift.difference.interval[1] < 0


def test_cannot_tell_is_counted_and_compared_with_nothing():
    rows = [replace(each, affected=None) if each.au in {AU.AU1, AU.AU2} else each for each in everything()]
    found = report(rows)
    assert (found.cannot_tell, found.agreement.num_cells, found.bias[AU.AU1].value) == (0.25, 480, None)


def test_people_without_labels_are_read_but_not_compared():
    stranger = [replace(each, subject="nobody", annotation="x") for each in everything()[:8]]
    found = report(everything() + stranger)
    assert (found.num_subjects, found.agreement.num_cells) == (81, 640)


def test_a_suggestion_that_draws_the_answer_is_found():
    """The reader repeats a suggestion that is wrong in every other cell; a blind reader of the same cells knows better."""
    rng = np.random.default_rng(0)
    rows = everything("blind")
    for each in everything("drawn"):
        wrong = rng.random() < 0.5
        suggested = each.affected != wrong
        seen = replace(each, affected=suggested, suggestion=0.4 if suggested else -0.1, suggested_by="vitau-regions/1")
        rows += [seen, replace(seen, reader="drawn-too", annotation=f"{seen.annotation}-too")]
    found = report(rows, "drawn").anchoring
    assert (found.shown.value, found.shown.num_cells, found.blind.num_cells) == (1, 640, 640)
    assert found.blind.value == pytest.approx(0.5, abs=0.06)
    assert found.difference.value == pytest.approx(1 - found.blind.value)
    assert found.difference.interval[0] > 0.3
    assert report(rows, "blind").anchoring is None


def test_the_adjudicator_is_compared_with_the_blind_readers_of_the_same_cells():
    rulings = [replace(each, stage=Stage.ADJUDICATION, suggestion=1.0) for each in everything("adjudicator")[:80]]
    found = reader_reports(last_words(everything() + rulings), LABELS)
    assert [(each.reader, each.stage, each.num_subjects) for each in found] == [
        ("reader-a", Stage.READER, 80),
        ("adjudicator", Stage.ADJUDICATION, 10),
    ]
    assert found[1].anchoring.difference.value == 0


def test_a_report_is_json_and_the_same_seed_gives_the_same_one():
    rows = [replace(each, affected=not each.affected) if number % 7 == 0 else each for number, each in enumerate(everything())]
    once, again, other = (asdict(report(rows, seed=seed)) for seed in (1, 1, 2))
    assert json.dumps(once) == json.dumps(again)
    assert once["agreement"]["interval"] != other["agreement"]["interval"]


def test_an_empty_ledger_has_no_readers():
    assert reader_reports(last_words([]), []) == []
