"""New frames that look different make an answer stale; what a reader was shown decides, and the answer stands."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labeling.sampling.staleness import Stale, difference, material_name, stale_answers, what_was_shown
from vitau.schema import AU, AUS, Comparison, LedgerRow, Side, Stage

OLD, NEW = ("a:1", "a:2"), ("a:1", "b:7")


def rows(annotation: str, *frames: str, au: AU = AU.AU12, **more) -> list[LedgerRow]:
    row = LedgerRow(
        subject="p1",
        au=AUS[0],
        reader="A",
        stage=Stage.READER,
        affected=None,
        side=Side.LEFT,
        annotation=annotation,
        version="1",
        answered_at="2026-11-25T10:00:00Z",
        frames_shown=frames,
    )
    return [replace(row, au=each, affected=each is au, **more) for each in AUS]


def compared(shown, difference: float | None = 0.5, frames=NEW) -> Comparison:
    return Comparison(subject="p1", material="now", shown=shown.name, frames=tuple(frames), difference=difference)


def stale(ledger, difference: float | None = 0.5, frames=NEW, material: str = "now") -> list[Stale]:
    shown = what_was_shown(ledger)
    comparisons = [compared(each, difference, frames) for each in shown]
    return stale_answers(shown, {"p1": material}, comparisons, threshold=0.2)


def test_an_answer_is_stale_where_newer_frames_look_different_and_only_then():
    assert stale(rows("1", *OLD)) == [Stale(reader="A", stage=Stage.READER, subject="p1", difference=0.5)]
    assert stale(rows("1", *OLD), 0.2) == []
    assert stale(rows("1", *OLD), None) == [], "what can no longer be read is not compared"
    assert stale(rows("1", *OLD), material="newer still") == [], "not compared yet"


def test_an_answer_about_the_newer_frames_ends_it():
    shown = what_was_shown(rows("1", *OLD))
    before = [compared(each) for each in shown]
    after = what_was_shown([*rows("1", *OLD), *rows("2", *NEW, au=AU.AU9)])
    assert [each.frames for each in after] == [frozenset(NEW)]
    assert stale_answers(after, {"p1": "now"}, before, threshold=0.2) == []


def test_whoever_says_the_same_of_two_subjects_who_became_one_person_was_shown_both():
    (alike,) = what_was_shown([*rows("1", *OLD), *rows("2", "b:7")])
    assert alike.frames == {*OLD, "b:7"}
    assert not alike.lacks(["a", "b"])
    (other,) = what_was_shown([*rows("1", *OLD), *rows("2", "b:7", au=AU.AU9)])
    assert other.frames == {"b:7"}
    assert other.lacks(["a", "b"])
    assert other.pages == (frozenset(OLD), frozenset({"b:7"}))


def test_whoever_goes_back_to_an_older_answer_has_seen_the_newer_frames():
    ledger = [*rows("1", *OLD), *rows("2", *NEW, au=AU.AU9), *rows("1", *OLD, au=AU.AU1, version="2")]
    (shown,) = what_was_shown(ledger)
    assert shown.frames == frozenset(OLD)
    assert stale(ledger) == []
    assert len(stale(ledger, frames=("a:1", "b:8"))) == 1


def test_what_was_taken_back_was_shown_to_nobody():
    ledger = [*rows("1", *OLD), *rows("2", *NEW, au=AU.AU9), *rows("2", version="retracted 1", retracted=True)]
    (shown,) = what_was_shown(ledger)
    assert (shown.frames, shown.pages) == (frozenset(OLD), (frozenset(OLD),))
    assert what_was_shown(ledger[: len(AUS)] + rows("1", version="retracted 1", retracted=True)) == []


def test_an_imported_answer_says_not_what_was_shown_and_is_never_stale():
    (shown,) = what_was_shown(rows("1"))
    assert not shown.lacks(["a", "b"])


def test_a_name_changes_with_what_it_names_and_not_with_the_order():
    assert material_name(["a", "b"]) == material_name(["b", "a"]) != material_name(["a"])
    one, other = what_was_shown(rows("1", "a:1", "a:2")), what_was_shown(rows("9", "a:2", "a:1"))
    assert one[0].name == other[0].name


FACES = st.lists(st.lists(st.floats(-1, 1), min_size=2, max_size=2), min_size=1, max_size=6).map(np.array)


@given(FACES, FACES)
def test_what_was_shown_is_no_different_and_showing_more_never_makes_it_more_so(now, shown):
    assert difference(shown, np.concatenate([now, shown])) == 0
    assert difference(now, np.concatenate([shown, now[:1]])) <= difference(now, shown) + 1e-12


def test_one_slip_of_the_landmarks_counts_a_quarter():
    shown = np.zeros((3, 2))
    assert difference(np.array([[0.0, 0], [0, 0], [0, 0], [0, 0], [0, 1]]), shown) == 0.25
    assert difference(np.array([[0.0, 0], [0, 1], [0, 1], [0, 1], [0, 1]]), shown) == 1
    assert difference(np.array([[np.nan, 0.0], [0, 1]]), shown) == 1
    assert difference(np.full((1, 2), np.nan), shown) == 0
    with pytest.raises(ValueError, match="nothing can be compared with no frame"):
        difference(shown, np.full((1, 2), np.nan))
