"""The consensus table, line by line, and the agreement numbers against a published example."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labeling.consensus import Consensus, Verdict, consensus, judge
from vitau.schema import AU, AUS, LedgerRow, Side, Stage

READERS = ("A", "B")


def answers(
    subject: str,
    reader: str,
    affected: dict[AU, bool | None],
    side: Side | None = None,
    stage: Stage = Stage.READER,
) -> list[LedgerRow]:
    """One whole answer: regions that are not named are not affected."""
    return [
        LedgerRow(
            subject=subject,
            au=au,
            reader=reader,
            stage=stage,
            affected=affected.get(au, False),
            side=side,
            annotation=f"{subject}-{reader}",
            version="1",
            answered_at="2026-01-01T00:00:00Z",
        )
        for au in AUS
    ]


def both(subject: str, a: dict[AU, bool | None], b: dict[AU, bool | None], side: Side | None = Side.LEFT) -> list[LedgerRow]:
    return answers(subject, "A", a, side) + answers(subject, "B", b, side)


def ruling(subject: str, affected: dict[AU, bool | None], side: Side | None = Side.LEFT) -> list[LedgerRow]:
    return answers(subject, "C", affected, side, Stage.ADJUDICATION)


@pytest.mark.parametrize(
    ("said", "adjudicator", "verdict", "answer"),
    [
        ([True, True], "not asked", Verdict.AGREED, True),
        ([False, False], True, Verdict.AGREED, False),
        ([True, False], "not asked", Verdict.DISPUTED, None),
        ([True, None], "not asked", Verdict.DISPUTED, None),
        ([True, False], True, Verdict.ADJUDICATED, True),
        ([True, False], False, Verdict.ADJUDICATED, False),
        ([True, False], None, Verdict.UNCLEAR, None),
        ([None, None], "not asked", Verdict.UNCLEAR, None),
        ([None, None], True, Verdict.ADJUDICATED, True),
        ([True, True, False], "not asked", Verdict.DISPUTED, None),
        ([Side.LEFT, Side.LEFT], Side.RIGHT, Verdict.AGREED, Side.LEFT),
        ([Side.LEFT, Side.RIGHT], Side.BOTH, Verdict.ADJUDICATED, Side.BOTH),
    ],
)
def test_every_line_of_the_table_holds(said, adjudicator, verdict, answer):
    ruled = adjudicator != "not asked"
    assert judge(said, adjudicator if ruled else None, ruled=ruled) == (verdict, answer)


def test_what_readers_agree_on_is_the_label():
    state = consensus(both("p1", {AU.AU1: True, AU.AU9: None}, {AU.AU1: True, AU.AU9: None}), READERS)
    (label,) = state.labels
    assert label.affected == {au: au is AU.AU1 for au in AUS if au is not AU.AU9}
    assert label.side is Side.LEFT
    assert (state.disagreements, state.waiting, state.adjudicated) == ((), (), ())


def test_a_person_without_an_affected_region_has_no_side():
    (label,) = consensus(both("p1", {}, {}, side=None), READERS).labels
    assert label.side is None
    assert not any(label.affected.values())


def test_one_reader_is_not_enough():
    state = consensus(answers("p1", "A", {}), READERS)
    assert state.waiting == ("p1",)
    assert state.agreement.raw is None


def test_a_disagreement_names_its_regions_and_waits_for_the_adjudicator():
    rows = both("p1", {AU.AU1: True, AU.AU12: True}, {AU.AU1: True})
    state = consensus(rows, READERS)
    assert [(open_.subject, open_.regions, open_.side) for open_ in state.disagreements] == [("p1", (AU.AU12,), False)]
    assert state.labels == ()
    settled = consensus(rows + ruling("p1", {AU.AU1: True, AU.AU12: True}), READERS)
    assert settled.labels[0].affected[AU.AU12]
    assert settled.adjudicated == ("p1",)


def test_the_adjudicator_does_not_overrule_what_the_readers_agree_on():
    rows = both("p1", {AU.AU1: True, AU.AU12: True}, {AU.AU1: True}) + ruling("p1", {AU.AU12: True})
    assert consensus(rows, READERS).labels[0].affected[AU.AU1]


def test_readers_who_see_different_sides_need_the_adjudicator():
    rows = answers("p1", "A", {AU.AU1: True}, Side.LEFT) + answers("p1", "B", {AU.AU1: True}, Side.RIGHT)
    (open_,) = consensus(rows, READERS).disagreements
    assert (open_.regions, open_.side) == ((), True)
    assert consensus(rows + ruling("p1", {AU.AU1: True}, Side.RIGHT), READERS).labels[0].side is Side.RIGHT


def test_the_side_stays_open_while_nobody_settles_it():
    rows = answers("p1", "A", {AU.AU1: True}, Side.LEFT) + answers("p1", "B", {AU.AU1: True}, Side.RIGHT)
    (open_,) = consensus(rows + ruling("p1", {}, side=None), READERS).disagreements
    assert open_.side


def test_the_last_word_of_a_reader_counts():
    rows = both("p1", {AU.AU1: True}, {}) + answers("p1", "B", {AU.AU1: True}, Side.LEFT)
    assert consensus(rows, READERS).labels[0].affected[AU.AU1]


def test_a_blind_answer_of_a_stranger_is_refused():
    with pytest.raises(ValueError, match="blind answers of Z, but the readers are A, B; name them all"):
        consensus(answers("p1", "Z", {}), READERS)


def test_cannot_tell_is_an_absence_and_not_a_no():
    state = consensus(both("p1", {AU.AU1: None}, {AU.AU1: True}) + both("p2", {AU.AU1: True}, {AU.AU1: True}), READERS)
    assert state.agreement_by_au[AU.AU1].num_pairs == 1
    assert state.agreement_by_au[AU.AU1].raw == 1.0


def test_agreement_equals_krippendorffs_own_example():
    # K. Krippendorff, Computing Krippendorff's Alpha-Reliability (2011), section A: two observers, ten units, α = 0.095
    a, b = "0100000010", "1110010000"
    rows = [
        row
        for unit, (x, y) in enumerate(zip(a, b, strict=True))
        for row in both(f"p{unit}", {AU.AU1: x == "1"}, {AU.AU1: y == "1"})
    ]
    agreement = consensus(rows, READERS).agreement_by_au[AU.AU1]
    assert agreement.raw == pytest.approx(0.6)
    assert agreement.alpha == pytest.approx(0.095, abs=5e-4)
    assert agreement.num_pairs == 10


def test_alpha_is_absent_where_only_one_kind_of_answer_was_given():
    agreement = consensus(both("p1", {}, {}, side=None), READERS).agreement
    assert (agreement.raw, agreement.alpha) == (1.0, None)


def test_an_empty_ledger_has_nothing_to_say():
    state = consensus([], READERS)
    assert (state.labels, state.disagreements, state.waiting, state.agreement.raw) == ((), (), (), None)


@st.composite
def ledgers(draw: st.DrawFn) -> list[LedgerRow]:
    rows: list[LedgerRow] = []
    for _ in range(draw(st.integers(0, 8))):
        regions = draw(st.dictionaries(st.sampled_from(AUS), st.sampled_from([True, None]), max_size=4))
        side = draw(st.sampled_from(list(Side))) if any(regions.values()) else None
        subject = draw(st.sampled_from(["p1", "p2", "p3"]))
        reader, stage = draw(st.sampled_from([("A", Stage.READER), ("B", Stage.READER), ("C", Stage.ADJUDICATION)]))
        rows += answers(subject, reader, regions, side, stage)
    return rows


def named(state: Consensus) -> list[str]:
    return [label.subject for label in state.labels] + [open_.subject for open_ in state.disagreements] + list(state.waiting)


@given(ledgers())
def test_every_person_is_in_exactly_one_list(rows):
    state = consensus(rows, READERS)
    assert sorted(named(state)) == sorted({row.subject for row in rows})
    assert set(state.adjudicated) <= {label.subject for label in state.labels}


@given(ledgers())
def test_a_side_is_given_exactly_where_a_region_is_affected(rows):
    for label in consensus(rows, READERS).labels:
        assert (label.side is not None) == any(label.affected.values())


@given(ledgers())
def test_who_is_called_a_does_not_matter(rows):
    swapped = [replace(row, reader={"A": "B", "B": "A"}.get(row.reader, row.reader)) for row in rows]
    assert consensus(swapped, READERS).labels == consensus(rows, READERS).labels
    assert consensus(swapped, READERS).agreement.alpha == pytest.approx(consensus(rows, READERS).agreement.alpha)


@given(ledgers())
def test_hearing_the_ledger_twice_changes_nothing(rows):
    assert consensus(rows + rows, READERS) == consensus(rows, READERS)
