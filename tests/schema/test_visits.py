import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitau.schema import (
    Clip,
    Visit,
    canonical_case,
    case_name,
    cases_of,
    group_visits,
    parse_recorded_at,
    parse_visit,
    person_of,
    split_case,
)

NO_NAME = (
    "its visit is no short name such as 1, baseline or week-12; write at most 32 unaccented letters, digits, "
    "dots, underscores and hyphens, a letter or digit first, and never a person's name"
)
NO_DATE = "its recorded_at is no date such as 2026-11-29 or 2026-11-29T10:30; write one, or leave it empty"


def clip(name: str, visit: str | None = None, taken_at: str | None = None) -> Clip:
    return Clip(sha256=name, subject="anna", source="s", suffix=".mp4", visit=visit, taken_at=taken_at)


@pytest.mark.parametrize("cell", ["1", "baseline", "week-12", "T0.5_b", "x" * 32])
def test_a_short_name_is_a_visit(cell):
    assert parse_visit(cell) == cell


@pytest.mark.parametrize(
    "cell", ["x" * 33, "Anna Müller", "first visit", "Müller", "1/2", "..", "-1", "1\n", "=1+1", "week–12", "١", "a\0b"]
)
def test_a_name_that_is_no_short_name_is_refused_without_being_repeated(cell):
    with pytest.raises(ValueError, match="its visit") as refused:
        parse_visit(cell)
    assert str(refused.value) == NO_NAME


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        ("2026-11-29", "2026-11-29"),
        ("2026-11-29T10:30", "2026-11-29T10:30"),
        ("2026-11-29 10:30:00", "2026-11-29T10:30"),
        ("2026-11-29T10:30:05.25", "2026-11-29T10:30:05"),
        ("2026-11-29T10:30Z", "2026-11-29T10:30+00:00"),
        ("2026-11-29T10:30:00+01:00", "2026-11-29T10:30+01:00"),
        ("2028-02-29", "2028-02-29"),
    ],
)
def test_a_date_or_a_time_has_one_spelling(cell, text):
    assert parse_recorded_at(cell) == parse_recorded_at(text) == text


@pytest.mark.parametrize(
    "cell",
    [
        "29.11.2026",
        "11/29/2026",
        "20261129",
        "2026-W48-7",
        "2026-02-29",
        "2026-11",
        "2026-11-29T25:00",
        "2026-11-29T10:30+1",
        "soon",
    ],
)
def test_a_date_that_is_none_is_refused_without_being_repeated(cell):
    with pytest.raises(ValueError, match="its recorded_at") as refused:
        parse_recorded_at(cell)
    assert str(refused.value) == NO_DATE


def test_an_empty_cell_states_nothing():
    assert (parse_visit(""), parse_recorded_at("")) == (None, None)


def test_visits_are_in_the_order_of_their_earliest_dates_and_of_their_names():
    clips = [
        clip("f", "week-12", "2026-03-01"),
        clip("e", "week-12", "2026-02-27T09:00"),
        clip("a", "week-2", "2026-02-27"),
        clip("d"),
        clip("c", "10"),
        clip("b", "9"),
        clip("g", None, "2026-01-01"),
    ]
    assert group_visits(clips) == [
        Visit(name=None, recorded_at="2026-01-01", clips=("d", "g")),
        Visit(name="week-2", recorded_at="2026-02-27", clips=("a",)),
        Visit(name="week-12", recorded_at="2026-02-27T09:00", clips=("e", "f")),
        Visit(name="9", recorded_at=None, clips=("b",)),
        Visit(name="10", recorded_at=None, clips=("c",)),
    ]
    undated = [clip("a"), clip("b", "z"), clip("c", "1", "2026-01-01")]
    assert [visit.name for visit in group_visits(undated)] == ["1", "z", None]


@given(st.permutations([clip("a", "1", "2026-01-01"), clip("b", "1"), clip("c", "01"), clip("d", "v1"), clip("e")]))
def test_the_order_of_the_clips_does_not_count(clips):
    assert [(visit.name, visit.clips) for visit in group_visits(clips)] == [
        ("1", ("a", "b")),
        ("01", ("c",)),
        ("v1", ("d",)),
        (None, ("e",)),
    ]


@given(
    st.from_regex(r"[0-9a-f]{4,8}", fullmatch=True),
    st.none() | st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}", fullmatch=True),
)
def test_a_case_names_the_person_and_the_visit_and_the_visit_1_is_the_person_alone(subject, visit):
    case = case_name(subject, visit)
    assert split_case(case) == (subject, None if visit == "1" else visit)
    assert (case == subject) == (visit in {None, "1"})
    assert person_of(case) == subject
    assert canonical_case(case, {subject: "kept"}) == case_name("kept", visit)


def test_the_cases_of_a_person_are_in_the_order_of_time_and_clips_without_a_visit_are_of_the_visit_1():
    clips = [clip("c", "week-12", "2026-04-01"), clip("a", "1", "2026-01-01"), clip("b", None, "2026-01-01")]
    assert cases_of(clips) == {"anna": ("anna", "anna/week-12")}
    assert cases_of([clip("a", "baseline", "2026-02-01"), clip("b", "screening", "2026-01-01")]) == {
        "anna": ("anna/screening", "anna/baseline")
    }
    assert cases_of([]) == {}
