"""The consensus tables line by line, and the agreement of a published example."""

import re
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

import labeling.consensus.consensus as module
from labeling.consensus.consensus import Consensus, Rule, Verdict, consensus, resolve
from vitau.schema import AU, AUS, LedgerRow, Side, Stage

READERS = ("A", "B")


def answers(
    subject: str,
    reader: str,
    affected: dict[AU, bool | None],
    side: Side | None = None,
    stage: Stage = Stage.READER,
) -> list[LedgerRow]:
    """Return a whole answer; regions that are not given are not affected."""
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


WORDS = {"yes": True, "no": False, "?": None}
FINDING = {"affected": True, "not affected": False, "open": None, "left out": None}


def printed_rows() -> list[tuple[Rule, list[bool | None], str, Verdict, bool | None]]:
    """Parse the truth tables of the module's docstring: rule, readers, adjudicator, verdict, answer."""
    rows, rule = [], None
    for line in module.__doc__.splitlines():
        if named := re.search(r"``(unanimous|majority|adjudicated)``", line):
            rule = Rule(named[1])
        readers, adjudicator, verdict, finding = (line[start:end].strip() for start, end in pairwise((4, 17, 31, 45, None)))
        if rule and line.startswith("    "):
            finding = re.split(r"[:,] ", finding)[0]
            rows.append((rule, [WORDS[word] for word in readers.split()], adjudicator, Verdict(verdict), FINDING[finding]))
    return rows


@pytest.mark.parametrize(("rule", "readers", "adjudicator", "verdict", "answer"), printed_rows())
def test_every_line_of_the_docstrings_tables_holds(rule, readers, adjudicator, verdict, answer):
    for word in [*WORDS, "not asked"] if adjudicator == "anything" else [adjudicator]:
        assert resolve(readers, WORDS.get(word), ruled=word in WORDS, rule=rule) == (verdict, answer)


def test_the_docstring_has_a_table_for_each_rule():
    assert [sum(row[0] is rule for row in printed_rows()) for rule in Rule] == [9, 12, 6]


@pytest.mark.parametrize(
    ("rule", "readers", "adjudicator", "verdict", "answer"),
    [
        (Rule.UNANIMOUS, [True, True, False], "not asked", Verdict.DISPUTED, None),
        (Rule.UNANIMOUS, [Side.LEFT, Side.LEFT], Side.RIGHT, Verdict.AGREED, Side.LEFT),
        (Rule.UNANIMOUS, [Side.LEFT, Side.RIGHT], Side.BOTH, Verdict.ADJUDICATED, Side.BOTH),
        (Rule.MAJORITY, [Side.LEFT, Side.BOTH, Side.LEFT], "not asked", Verdict.AGREED, Side.LEFT),
        (Rule.MAJORITY, [Side.LEFT, Side.BOTH, Side.RIGHT], "not asked", Verdict.DISPUTED, None),
        (Rule.MAJORITY, [False, False, False, True, True], True, Verdict.AGREED, False),
        (Rule.MAJORITY, [False, False, True, True, None], "not asked", Verdict.DISPUTED, None),
        (Rule.ADJUDICATED, [Side.LEFT, Side.LEFT], Side.RIGHT, Verdict.ADJUDICATED, Side.RIGHT),
    ],
)
def test_the_rules_hold_for_more_readers_and_for_sides(rule, readers, adjudicator, verdict, answer):
    ruled = adjudicator != "not asked"
    assert resolve(readers, adjudicator if ruled else None, ruled=ruled, rule=rule) == (verdict, answer)


def retracted(rows: list[LedgerRow]) -> list[LedgerRow]:
    return [replace(row, affected=None, side=None, retracted=True, version="deleted") for row in rows]


def test_a_retracted_answer_counts_as_never_given():
    a, b = answers("p1", "A", {}), answers("p1", "B", {})
    assert consensus(a + b + retracted(b), READERS).waiting == ("p1",)
    assert consensus(a + b + retracted(a + b), READERS).waiting == ("p1",)
    again = [replace(row, annotation="another") for row in answers("p1", "B", {AU.AU1: True}, Side.LEFT)]
    assert consensus(a + b + retracted(b) + again, READERS).disagreements[0].regions == (AU.AU1,)
    assert consensus(a + b + again + retracted(b), READERS).disagreements[0].regions == (AU.AU1,)
    assert consensus(a + b + retracted(b), READERS).agreement.num_pairs == 0


def test_a_single_retracted_region_makes_a_person_wait():
    rows = both("p1", {}, {}, side=None)
    state = consensus(rows + retracted([row for row in rows if row.au is AU.AU4 and row.reader == "A"]), READERS)
    assert state.waiting == ("p1",)


def test_a_retracted_ruling_reopens_the_disagreement():
    rows = both("p1", {AU.AU1: True}, {}) + ruling("p1", {AU.AU1: True})
    assert consensus(rows, READERS).labels
    assert consensus(rows + retracted(ruling("p1", {})), READERS).disagreements[0].regions == (AU.AU1,)


def test_two_of_three_readers_are_a_majority():
    rows = both("p1", {AU.AU1: True}, {AU.AU1: True}) + answers("p1", "D", {AU.AU12: True}, Side.RIGHT)
    three = (*READERS, "D")
    assert consensus(rows, three).disagreements[0].regions == (AU.AU1, AU.AU12)
    (label,) = consensus(rows, three, rule=Rule.MAJORITY).labels
    assert (label.affected[AU.AU1], label.affected[AU.AU12], label.side) == (True, False, Side.LEFT)


def test_by_the_rule_adjudicated_every_person_needs_a_ruling():
    rows = both("p1", {AU.AU1: True}, {AU.AU1: True})
    assert consensus(rows, READERS, rule=Rule.ADJUDICATED).disagreements[0].regions == AUS
    state = consensus(rows + ruling("p1", {AU.AU2: True}, Side.RIGHT), READERS, rule=Rule.ADJUDICATED)
    assert (state.labels[0].affected[AU.AU1], state.labels[0].affected[AU.AU2], state.labels[0].side) == (
        False,
        True,
        Side.RIGHT,
    )
    assert state.adjudicated == ("p1",)


def test_guests_count_where_they_read_and_no_person_waits_for_them():
    guests = ("paris-1", "paris-2")
    foreign = [row for guest in guests for row in answers("p1", guest, {AU.AU1: True}, Side.LEFT)]
    ours = both("p2", {}, {}, side=None)
    state = consensus(foreign + ours, READERS, guests=guests)
    assert [(label.subject, label.affected[AU.AU1]) for label in state.labels] == [("p1", True), ("p2", False)]
    assert consensus(foreign + answers("p1", "A", {}), READERS, guests=guests).waiting == ("p1",)
    all_rows = foreign + both("p1", {}, {}, side=None)
    assert consensus(all_rows, READERS, guests=guests).disagreements[0].regions == (AU.AU1,)


FIVE = ("A", "B", "C1", "D", "E")


def test_by_two_of_five_any_two_whole_answers_are_enough_and_a_third_one_counts():
    one = answers("p1", "D", {AU.AU1: True}, Side.LEFT)
    other = answers("p1", "B", {AU.AU1: True}, Side.LEFT)
    assert consensus(one, FIVE, per_person=2).waiting == ("p1",)
    assert consensus(one + other, FIVE).waiting == ("p1",), "by default everybody reads"
    (label,) = consensus(one + other, FIVE, per_person=2).labels
    assert (label.affected[AU.AU1], label.side) == (True, Side.LEFT)
    third = answers("p1", "E", {})
    assert consensus(one + other + third, FIVE, per_person=2).disagreements[0].regions == (AU.AU1,)
    unfinished = [row for row in third if row.au is not AU.AU1]
    assert consensus(one + other + unfinished, FIVE, per_person=2).labels == (label,), "an incomplete answer does not count"
    assert consensus(one + unfinished, FIVE, per_person=2).waiting == ("p1",)
    assert consensus(one + other + retracted(other), FIVE, per_person=2).waiting == ("p1",)
    assert consensus(one, FIVE, per_person=1).labels == (label,), "a single reading has nobody to disagree with"


def test_a_region_that_a_guest_did_not_answer_counts_as_cannot_tell():
    foreign = [row for guest in ("paris-1", "paris-2") for row in answers("p1", guest, {}) if row.au is not AU.AU1]
    (label,) = consensus(foreign, READERS, guests=("paris-1", "paris-2")).labels
    assert set(label.affected) == set(AUS) - {AU.AU1}


def test_a_unanimous_answer_is_the_label():
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


def test_a_ruling_does_not_change_regions_on_which_the_readers_agree():
    rows = both("p1", {AU.AU1: True, AU.AU12: True}, {AU.AU1: True}) + ruling("p1", {AU.AU12: True})
    assert consensus(rows, READERS).labels[0].affected[AU.AU1]


def test_a_region_is_left_out_if_the_adjudicator_cannot_tell_either():
    rows = both("p1", {AU.AU1: True, AU.AU12: True}, {AU.AU12: True}) + ruling("p1", {AU.AU1: None, AU.AU12: True})
    state = consensus(rows, READERS)
    assert state.disagreements == ()
    assert set(state.labels[0].affected) == set(AUS) - {AU.AU1}


def test_a_single_answer_agrees_with_itself():
    assert resolve([True], None, ruled=False) == (Verdict.AGREED, True)


def test_different_sides_need_a_ruling():
    rows = answers("p1", "A", {AU.AU1: True}, Side.LEFT) + answers("p1", "B", {AU.AU1: True}, Side.RIGHT)
    (open_,) = consensus(rows, READERS).disagreements
    assert (open_.regions, open_.side) == ((), True)
    assert consensus(rows + ruling("p1", {AU.AU1: True}, Side.RIGHT), READERS).labels[0].side is Side.RIGHT


def test_the_side_stays_open_without_a_ruling_on_it():
    rows = answers("p1", "A", {AU.AU1: True}, Side.LEFT) + answers("p1", "B", {AU.AU1: True}, Side.RIGHT)
    (open_,) = consensus(rows + ruling("p1", {}, side=None), READERS).disagreements
    assert open_.side


def test_the_last_answer_of_a_reader_counts():
    rows = both("p1", {AU.AU1: True}, {}) + answers("p1", "B", {AU.AU1: True}, Side.LEFT)
    assert consensus(rows, READERS).labels[0].affected[AU.AU1]


def test_a_blind_answer_of_an_unknown_reader_is_refused():
    with pytest.raises(ValueError, match="blind answers of") as caught:
        consensus(answers("p1", "Z", {}) + answers("p1", "Y", {}) + both("p1", {}, {}), READERS, guests=("paris", "B"))
    assert str(caught.value) == "blind answers of Y, Z, but the readers are A, B, paris; name them all"


def test_every_person_of_a_study_is_in_the_list_of_their_state_by_pseudonym():
    rows = answers("a", "A", {}) + both("c", {AU.AU1: True}, {}) + both("e", {}, {}, side=None) + answers("b", "B", {})
    rows += both("d", {AU.AU2: True}, {}) + both("g", {AU.AU4: True}, {}) + ruling("g", {AU.AU4: True}) + both("f", {}, {})
    state = consensus(rows, READERS)
    assert state.waiting == ("a", "b")
    assert [(open_.subject, open_.regions) for open_ in state.disagreements] == [("c", (AU.AU1,)), ("d", (AU.AU2,))]
    assert [label.subject for label in state.labels] == ["e", "f", "g"]
    assert state.adjudicated == ("g",)


def test_cannot_tell_is_a_missing_value_and_not_a_no():
    state = consensus(both("p1", {AU.AU1: None}, {AU.AU1: True}) + both("p2", {AU.AU1: True}, {AU.AU1: True}), READERS)
    assert state.agreement_by_au[AU.AU1].num_pairs == 1
    assert state.agreement_by_au[AU.AU1].raw == 1.0


def test_agreement_equals_a_published_example():
    # K. Krippendorff, Computing Krippendorff's Alpha-Reliability (2011), section A: two observers, ten units, α = 0.095
    a, b = "0100000010", "1110010000"
    rows = [
        row
        for unit, (x, y) in enumerate(zip(a, b, strict=True))
        for row in both(f"p{unit}", {AU.AU1: x == "1"}, {AU.AU1: y == "1"})
    ]
    state = consensus(rows, READERS)
    agreement = state.agreement_by_au[AU.AU1]
    assert (state.agreement.raw, state.agreement.num_pairs) == (pytest.approx(0.95), 80), "of all regions together"
    assert agreement.raw == pytest.approx(0.6)
    assert agreement.alpha == pytest.approx(0.095, abs=5e-4)
    assert agreement.num_pairs == 10


def test_alpha_is_absent_if_all_answers_are_the_same():
    agreement = consensus(both("p1", {}, {}, side=None), READERS).agreement
    assert (agreement.raw, agreement.alpha) == (1.0, None)


def test_an_empty_ledger_has_no_labels():
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
        whole = answers(subject, reader, regions, side, stage)
        asked = draw(st.sets(st.sampled_from(AUS))) if stage is Stage.ADJUDICATION else AUS
        rows += [row if row.au in asked else replace(row, asked=False, affected=None) for row in whole]
    return rows


def named(state: Consensus) -> list[str]:
    return [label.subject for label in state.labels] + [open_.subject for open_ in state.disagreements] + list(state.waiting)


@given(ledgers(), st.sampled_from(Rule))
def test_a_person_with_as_many_answers_as_the_design_asks_for_waits_for_nobody(rows, rule):
    for per_person in (1, 2):
        read = {
            subject: {row.reader for row in rows if row.subject == subject and row.stage is Stage.READER}
            for subject in {row.subject for row in rows}
        }
        state = consensus(rows, (*READERS, "D"), rule=rule, per_person=per_person)
        assert set(state.waiting) == {subject for subject, readers in read.items() if len(readers) < per_person}
        assert sorted(named(state)) == sorted(read)
    assert consensus(rows, READERS, rule=rule, per_person=2) == consensus(rows, READERS, rule=rule)


@given(ledgers(), st.sampled_from(Rule))
def test_every_person_is_in_exactly_one_list(rows, rule):
    state = consensus(rows, READERS, rule=rule)
    assert sorted(named(state)) == sorted({row.subject for row in rows})
    assert set(state.adjudicated) <= {label.subject for label in state.labels}


@given(ledgers(), st.sampled_from(Rule))
def test_a_label_has_a_side_exactly_if_a_region_is_affected(rows, rule):
    for label in consensus(rows, READERS, rule=rule).labels:
        assert (label.side is not None) == any(label.affected.values())


@given(ledgers(), st.sampled_from(Rule))
def test_the_order_of_readers_does_not_matter(rows, rule):
    swapped = [replace(row, reader={"A": "B", "B": "A"}.get(row.reader, row.reader)) for row in rows]
    assert consensus(swapped, READERS, rule=rule).labels == consensus(rows, READERS, rule=rule).labels
    assert consensus(swapped, READERS).agreement.alpha == pytest.approx(consensus(rows, READERS).agreement.alpha)


@given(ledgers())
def test_a_repeated_ledger_changes_nothing(rows):
    assert consensus(rows + rows, READERS) == consensus(rows, READERS)


@given(ledgers(), st.sampled_from(Rule))
def test_a_region_that_the_adjudicator_did_not_settle_is_as_if_she_had_not_answered(rows, rule):
    last = {(row.subject, row.stage, row.au): row for row in rows}
    without = [row for row in rows if row.stage is Stage.READER or last[row.subject, row.stage, row.au].asked]
    settled = {row.subject for row in without}
    labels = consensus(rows, READERS, rule=rule).labels
    assert [label for label in labels if label.subject in settled] == list(consensus(without, READERS, rule=rule).labels)


def test_a_ruling_on_one_region_changes_no_other():
    readers = both("p", {AU.AU12: True, AU.AU1: True}, {AU.AU12: True})
    only = [row if row.au is AU.AU1 else replace(row, affected=None, asked=False) for row in ruling("p", {AU.AU1: True})]
    (label,) = consensus([*readers, *only], READERS).labels
    assert (label.affected[AU.AU12], label.affected[AU.AU1]) == (True, True)
    again = [replace(row, version="2", affected=None, asked=False) for row in only]
    (case,) = consensus([*readers, *only, *again], READERS).disagreements
    assert case.regions == (AU.AU1,), "a later version that leaves the region out cancels the ruling"
