"""Checks of readers with known mistakes, and that no check makes a label."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labeling.consensus.consensus import consensus
from labeling.consensus.reader_checks import reader_checks, wilson_interval
from labeling.consensus.standing_answers import standing_answers
from tests.answers import whole_answer
from vitau.schema import AU, AUS, CheckKind, LedgerRow, Stage

CONTROL, REPEAT = CheckKind.CONTROL, CheckKind.REPEAT


def answer(subject: str, *regions: AU, reader: str = "a", kind: CheckKind | None = None, number: int = 1) -> list[LedgerRow]:
    return whole_answer(subject, reader, *regions, number=number, check_kind=kind)


def retracted(rows: list[LedgerRow]) -> list[LedgerRow]:
    return [replace(row, affected=None, side=None, retracted=True, version="retracted") for row in rows]


def test_false_alarms_are_counted_by_person_with_an_interval_that_is_not_empty_for_none():
    rows = answer("c1", AU.AU1, AU.AU2, kind=CONTROL) + answer("c2", kind=CONTROL) + answer("c3", kind=CONTROL)
    rows += answer("c1", reader="b", kind=CONTROL) + answer("p1", AU.AU1)
    a, b = reader_checks(rows, num_resamples=20)
    assert (a.reader, a.num_controls, a.false_alarms, a.rate, a.num_repeats, a.retest) == ("a", 3, 1, 1 / 3, 0, None)
    assert (b.num_controls, b.false_alarms, b.rate) == (1, 0, 0.0)
    # https://www.statskingdom.com gives 0.0615 to 0.7923 for 1 of 3
    assert a.rate_interval == pytest.approx((0.0615, 0.7923), abs=1e-4)
    assert b.rate_interval == pytest.approx((0, 0.7935), abs=1e-4)
    assert wilson_interval(3, 3)[1] == 1.0
    assert reader_checks(answer("p1", AU.AU1)) == []
    assert reader_checks(rows[:24] + retracted(rows[:8]), num_resamples=20)[0].false_alarms == 0


def test_a_second_reading_is_compared_with_the_answer_before_it():
    first = [row for number, au in enumerate(AUS) for row in answer(f"p{number}", au)]
    same = [row for number, au in enumerate(AUS) for row in answer(f"p{number}", au, kind=REPEAT, number=2)]
    (perfect,) = reader_checks(first + same, num_resamples=20)
    assert (perfect.num_repeats, perfect.retest.kappa, perfect.retest.num_cells) == (8, 1.0, 64)
    other = [replace(row, affected=not row.affected) for row in same]
    (opposite,) = reader_checks(first + other, num_resamples=20)
    assert opposite.retest.kappa < 0
    later = [row for number, au in enumerate(AUS) for row in answer(f"p{number}", number=3)]
    assert reader_checks(first + same + later, num_resamples=20) == [perfect], "a later answer is about other pictures"
    assert reader_checks(first + same + retracted(first), num_resamples=20) == []
    assert reader_checks([replace(row, stage=Stage.ADJUDICATION) for row in first + same]) == []


def test_a_second_reading_stands_only_where_nothing_else_of_its_reader_is_left():
    first, again = answer("p1", AU.AU1), answer("p1", AU.AU9, kind=REPEAT, number=2)
    assert standing_answers(first + again).blind["p1"]["a"][AU.AU1].affected
    assert standing_answers(again + first).blind["p1"]["a"][AU.AU1].affected
    left = standing_answers(first + again + retracted(first)).blind["p1"]["a"]
    assert (left[AU.AU1].affected, left[AU.AU9].affected) == (False, True)


people = st.sampled_from(["p1", "p2", "c1"])
given_answers = st.lists(
    st.tuples(people, st.sampled_from("ab"), st.sets(st.sampled_from(AUS), max_size=2), st.sampled_from([None, REPEAT])),
    max_size=8,
)


def drawn(found: list[tuple[str, str, set[AU], CheckKind | None]]) -> list[LedgerRow]:
    return [
        row
        for number, (subject, reader, regions, kind) in enumerate(found)
        for row in answer(subject, *regions, reader=reader, kind=CONTROL if subject == "c1" else kind, number=number)
    ]


@given(given_answers)
def test_checks_change_no_label_and_nobody_waits_because_of_them(found):
    rows = drawn(found)
    first = {(row.reader, row.subject) for row in rows if row.check_kind is None}
    alone = [row for row in rows if row.check_kind is None]
    known = [row for row in rows if row.check_kind is not REPEAT or (row.reader, row.subject) in first]
    assert consensus(known, ["a", "b"]) == consensus(alone, ["a", "b"])
    assert "c1" not in standing_answers(rows).subjects
