"""Newer frames that look different from the shown ones make an answer stale; the answer stands."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labeling.sampling.staleness import Stale, difference, material_name, shown_frames, stale_answers
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
    return [replace(row, au=region, affected=region is au, **more) for region in AUS]


def compared(shown, difference: float | None = 0.5, frames=NEW) -> Comparison:
    return Comparison(subject="p1", material="now", shown=shown.name, frames=tuple(frames), difference=difference)


def stale(ledger, difference: float | None = 0.5, frames=NEW, material: str = "now") -> list[Stale]:
    shown = shown_frames(ledger)
    comparisons = [compared(page, difference, frames) for page in shown]
    return stale_answers(shown, {"p1": material}, comparisons, threshold=0.2)


def test_an_answer_is_stale_exactly_if_newer_frames_look_different():
    assert stale(rows("1", *OLD)) == [Stale(reader="A", stage=Stage.READER, subject="p1", difference=0.5)]
    assert stale(rows("1", *OLD), 0.2) == []
    assert stale(rows("1", *OLD), None) == [], "frames that cannot be read are not compared"
    assert stale(rows("1", *OLD), material="newer still") == [], "not compared yet"


def test_an_answer_about_the_newer_frames_is_not_stale():
    shown = shown_frames(rows("1", *OLD))
    before = [compared(page) for page in shown]
    after = shown_frames([*rows("1", *OLD), *rows("2", *NEW, au=AU.AU9)])
    assert [page.frames for page in after] == [frozenset(NEW)]
    assert stale_answers(after, {"p1": "now"}, before, threshold=0.2) == []


def test_equal_answers_about_two_merged_subjects_count_all_their_frames_as_shown():
    (equal,) = shown_frames([*rows("1", *OLD), *rows("2", "b:7")])
    assert equal.frames == {*OLD, "b:7"}
    assert not equal.lacks(["a", "b"])
    (other,) = shown_frames([*rows("1", *OLD), *rows("2", "b:7", au=AU.AU9)])
    assert other.frames == {"b:7"}
    assert other.lacks(["a", "b"])
    assert other.pages == (frozenset(OLD), frozenset({"b:7"}))


def test_a_reader_who_restores_an_older_answer_has_seen_the_newer_frames():
    ledger = [*rows("1", *OLD), *rows("2", *NEW, au=AU.AU9), *rows("1", *OLD, au=AU.AU1, version="2")]
    (shown,) = shown_frames(ledger)
    assert shown.frames == frozenset(OLD)
    assert stale(ledger) == []
    assert len(stale(ledger, frames=("a:1", "b:8"))) == 1


def test_frames_of_a_retracted_answer_do_not_count_as_shown():
    ledger = [*rows("1", *OLD), *rows("2", *NEW, au=AU.AU9), *rows("2", version="retracted 1", retracted=True)]
    (shown,) = shown_frames(ledger)
    assert (shown.frames, shown.pages) == (frozenset(OLD), (frozenset(OLD),))
    assert shown_frames(ledger[: len(AUS)] + rows("1", version="retracted 1", retracted=True)) == []


def test_an_imported_answer_has_no_shown_frames_and_is_never_stale():
    (shown,) = shown_frames(rows("1"))
    assert not shown.lacks(["a", "b"])


def test_a_name_depends_on_its_parts_and_not_on_their_order():
    assert material_name(["a", "b"]) == material_name(["b", "a"]) != material_name(["a"])
    one, other = shown_frames(rows("1", "a:1", "a:2")), shown_frames(rows("9", "a:2", "a:1"))
    assert one[0].name == other[0].name


FACES = st.lists(st.lists(st.floats(-1, 1), min_size=2, max_size=2), min_size=1, max_size=6).map(np.array)


@given(FACES, FACES)
def test_shown_frames_are_not_different_and_more_of_them_never_increase_the_difference(now, shown):
    assert difference(shown, np.concatenate([now, shown])) == 0
    assert difference(now, np.concatenate([shown, now[:1]])) <= difference(now, shown) + 1e-12


def test_one_outlier_counts_a_quarter():
    shown = np.zeros((3, 2))
    assert difference(np.array([[0.0, 0], [0, 0], [0, 0], [0, 0], [0, 1]]), shown) == 0.25
    assert difference(np.array([[0.0, 0], [0, 1], [0, 1], [0, 1], [0, 1]]), shown) == 1
    assert difference(np.array([[np.nan, 0.0], [0, 1]]), shown) == 1
    assert difference(np.full((1, 2), np.nan), shown) == 0
    with pytest.raises(ValueError, match="there is no shown frame to compare with"):
        difference(shown, np.full((1, 2), np.nan))
