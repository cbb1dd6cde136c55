"""The ledger as CSV: a round trip to the same bytes, an imported study, and the errors of a file."""

import csv
import io
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labeling.consensus.csv_io import COLUMNS, REQUIRED, read_csv, write_csv
from vitau.errors import LabelingError
from vitau.schema import AU, AUS, CheckKind, Cohort, LedgerRow, Mark, Side, Stage, Subject, restored_cell, safe_cell

PEOPLE = {"p1", "p2", "p3"}
HEAD = ",".join(REQUIRED)

words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=12)
shares = st.floats(0, 1)
times = st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC)).map(datetime.isoformat)  # noqa: DTZ001


def known(name: str) -> str | None:
    return name if name in PEOPLE else None


def read(text: str, source: str = "paris") -> list[LedgerRow]:
    return read_csv(text, source=source, find_subject=known)


def study(*lines: str, head: str = HEAD) -> str:
    return "\n".join([head, *lines]) + "\n"


@st.composite
def answers(draw: st.DrawFn) -> list[LedgerRow]:
    """Draw a whole answer, or a retracted one."""
    affected = {au: draw(st.sampled_from([True, False, None])) for au in draw(st.sets(st.sampled_from(AUS), min_size=1))}
    retracted = draw(st.booleans())
    one = LedgerRow(
        subject=draw(st.sampled_from(sorted(PEOPLE))),
        au=AU.AU1,
        reader=draw(st.from_regex(r"[a-z0-9-]{1,32}", fullmatch=True)),
        stage=draw(st.sampled_from(Stage)),
        affected=None,
        side=draw(st.sampled_from(Side)) if any(affected.values()) else None,
        annotation="",
        version="",
        answered_at=draw(times | st.just("")),
        frames_shown=tuple(draw(st.lists(words, max_size=3))),
        note=draw(st.none() | words),
        retracted=retracted,
        suggestion=draw(st.none() | st.floats(-1, 1)),
        suggested_by=draw(st.none() | words),
        grade=draw(st.none() | st.integers(1, 6)),
        lead_time_s=draw(st.none() | st.floats(0, 1e6)),
        measures_shown=draw(st.none() | words),
        check_kind=draw(st.none() | st.sampled_from(CheckKind)),
        visit=draw(st.none() | st.sampled_from(["2", "week-12"])),
        marks=tuple(
            Mark(frame=name, box=box)
            for name, box in draw(st.lists(st.tuples(words, st.tuples(shares, shares, shares, shares)), max_size=2))
        ),
    )
    severities, synkineses = st.sampled_from([None, 0, 1, 2]), st.sampled_from([None, True, False])
    rows = [
        replace(one, au=au, affected=answer, severity=draw(severities) if answer else None, synkinesis=draw(synkineses))
        for au, answer in affected.items()
    ]
    if one.stage is Stage.READER:
        return rows
    return [replace(row, asked=draw(st.booleans())) if row.affected is None else row for row in rows]


@st.composite
def ledgers(draw: st.DrawFn) -> list[LedgerRow]:
    found = draw(st.lists(answers(), max_size=4))
    return [replace(row, annotation=f"{n}", version=f"v{n}") for n, rows in enumerate(found) for row in rows]


@given(ledgers())
def test_a_round_trip_returns_equal_rows(rows):
    text = write_csv(rows)
    assert read(text) == rows
    assert write_csv(read(text)) == text


@settings(max_examples=10, suppress_health_check=list(HealthCheck))
@given(rows=ledgers())
def test_an_export_imported_into_an_empty_catalog_is_exported_as_the_same_bytes(new_catalog, rows):
    one, other = new_catalog(), new_catalog()
    for catalog in (one, other):
        for name in PEOPLE:
            catalog.add_subject(Subject(pseudonym=name, cohort=Cohort.PALSY, source="synthetic"))
    one.append_answers(rows)
    text = write_csv(one.ledger())
    assert other.append_answers(read(text)) == len(rows)
    assert write_csv(other.ledger()) == text
    assert other.append_answers(read(text)) == 0


def test_a_study_needs_five_columns_and_keeps_its_readers():
    rows = read(study("p1,paris-1,AU12,yes,left", "p1,paris-1,AU1,no,", "p2,paris-2,AU1,?,"))
    assert [(row.subject, row.reader, row.au, row.affected, row.side) for row in rows] == [
        ("p1", "paris-1", AU.AU12, True, Side.LEFT),
        ("p1", "paris-1", AU.AU1, False, Side.LEFT),  # the side is the person's, as in every answer of the ledger
        ("p2", "paris-2", AU.AU1, None, None),
    ]
    assert {row.stage for row in rows} == {Stage.READER}
    assert {row.answered_at for row in rows} == {""}


def test_columns_may_have_any_order():
    head = "grade,subject,reader,au,affected,side,note,stage,answered_at"
    (row,) = read(study('3,p1,chief,AU12,yes,both,"weak, ""very""",adjudication,2026-01-02T03:04:05Z', head=head))
    assert (row.grade, row.note, row.stage, row.answered_at) == (3, 'weak, "very"', Stage.ADJUDICATION, "2026-01-02T03:04:05Z")


def test_digests_depend_on_the_answers_and_not_on_their_order():
    one, two, three = "p1,a,AU1,yes,left", "p1,a,AU2,no,", "p2,a,AU1,no,"
    names = {(row.subject, row.au): (row.annotation, row.version) for row in read(study(one, two, three))}
    assert {(row.subject, row.au): (row.annotation, row.version) for row in read(study(three, two, one))} == names
    assert names["p1", AU.AU1] == names["p1", AU.AU2]
    corrected = read(study(one, "p1,a,AU2,yes,", three))
    assert [row.annotation for row in corrected] == [names[row.subject, row.au][0] for row in corrected]
    assert [row.version == names[row.subject, row.au][1] for row in corrected] == [False, False, True]
    assert read(study(one), source="rome")[0].annotation != names["p1", AU.AU1][0]


def test_digests_stay_those_of_files_that_were_imported_before():
    (row,) = read(study("p1,a,AU1,yes,left"))
    assert (row.annotation, row.version) == ("csv-e19a1f0dc4c5891c", "301d9f0bae6b5bd8")
    (row,) = read(study("p1,a,AU1,yes,left,v1", head=f"{HEAD},measures_shown"))
    assert (row.annotation, row.measures_shown) == ("csv-e19a1f0dc4c5891c", "v1")
    assert row.version != "301d9f0bae6b5bd8"


def test_a_study_may_name_visits_and_a_person_is_answered_once_at_each():
    rows = read(study("p1,a,AU1,yes,left,", "p1,a,AU1,no,,week-12", "p2,a,AU1,no,,1", head=f"{HEAD},visit"))
    assert [row.case for row in rows] == ["p1", "p1/week-12", "p2"]
    assert len({row.annotation for row in rows}) == 3
    assert rows[0].annotation == "csv-e19a1f0dc4c5891c", "as without the column"
    with pytest.raises(LabelingError, match="line 2: visit is no short name such as 1, baseline or week-12") as caught:
        read(study("p1,a,AU1,yes,left,Anna Schmidt", head=f"{HEAD},visit"))
    assert "Anna" not in str(caught.value)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("p1,a,AU3,yes,left", "unknown AU AU3; the regions are AU1, AU2, AU4, AU6, AU9, AU12, AU25, AU26"),
        ("p1,a,,yes,left", "unknown AU (empty); the regions are AU1, AU2, AU4, AU6, AU9, AU12, AU25, AU26"),
        ("nobody,a,AU1,yes,left", "unknown subject; ingest the clips of this person first, and give the same --source"),
        ("p1,a,AU1,1,left", "affected is 1; it must be one of yes, no, ?"),
        ("p1,a,AU1,,left", "affected is empty; it must be one of yes, no, ?"),
        ("p1,a,AU1,yes,port", "side is port; it must be one of empty, left, right, both"),
        ("p1,a,AU1,yes,", "side contradiction: AU1 is affected but the side is empty"),
        ("p1,a,AU1,no,left", "side contradiction: the side is left but nothing is affected"),
        *(
            (
                f"p1,{name},AU1,no,",
                "reader without a pseudonym; use up to 32 small letters, digits and hyphens, such as reader-a",
            )
            for name in ("Ada Lovelace", "ada@example.org", "Ada", "", "a" * 33, "ada_1")
        ),
        ("p1,a,AU1,no", "it has 4 cells, the header 5; quote commas"),
    ],
)
def test_a_wrong_line_is_reported_with_its_number(line, sentence):
    with pytest.raises(LabelingError) as caught:
        read(study("p3,good,AU1,no,", line))
    assert str(caught.value) == f"line 3: {sentence}"


@pytest.mark.parametrize(
    ("column", "cell", "sentence"),
    [
        ("grade", "7", "grade is 7; it must be one of empty, 1, 2, 3, 4, 5, 6"),
        ("severity", "3", "severity is 3; it must be one of empty, 0, 1, 2"),
        ("synkinesis", "?", "synkinesis is ?; it must be one of empty, yes, no"),
        ("stage", "chief", "stage is chief; it must be one of reader, adjudication"),
        ("answered_at", "yesterday", "answered_at is yesterday; it must be a time such as 2026-11-23T09:30:00Z, or empty"),
        ("lead_time_s", "long", "lead_time_s is long; it must be a number, or empty"),
        ("suggestion", "nan", "suggestion is nan; it must be a number, or empty"),
        ("frames_shown", "f0", "frames_shown is not a list; write it as JSON, as an export does, or leave it empty"),
        ("frames_shown", "[1]", "frames_shown is not a list of names; write it as JSON, as an export does, or leave it empty"),
        (
            "evidence",
            '"[[""f"",1,2,3]]"',
            "evidence is not a list of [frame, left, top, width, height]; write it as an export does, or leave it empty",
        ),
        ("annotation", "7", "annotation and version go together; give both or neither"),
        ("retracted", "yes", "a retraction needs the columns annotation and version of the answer"),
    ],
)
def test_a_wrong_optional_cell_is_reported_in_one_sentence(column, cell, sentence):
    with pytest.raises(LabelingError) as caught:
        read(study(f"p1,a,AU1,no,,{cell}", head=f"{HEAD},{column}"))
    assert str(caught.value) == f"line 2: {sentence}"


def test_duplicate_answers_are_refused_even_if_they_are_equal():
    with pytest.raises(LabelingError) as caught:
        read(study("p1,a,AU1,no,", "p1,b,AU1,no,", "p1,a,AU1,no,"))
    assert str(caught.value) == "line 4: duplicate answer: AU1 of this person by a is also answered in line 2; keep one"
    named = study("p1,a,AU1,no,,7,v", "p2,b,AU1,no,,7,v", "p1,a,AU1,no,,7,w", head=f"{HEAD},annotation,version")
    with pytest.raises(LabelingError) as caught:
        read(named)
    assert str(caught.value) == (
        "line 3: duplicate answer: AU1 in this version of the annotation is also answered in line 2; keep one"
    )


def test_two_sides_in_one_answer_are_a_contradiction_and_two_readers_may_differ():
    read(study("p1,a,AU1,yes,left", "p1,b,AU1,yes,right"))
    with pytest.raises(LabelingError) as caught:
        read(study("p1,a,AU1,yes,left", "p1,a,AU2,yes,right"))
    assert str(caught.value) == "line 3: side contradiction: this answer has the sides left and right; give one"


def test_all_errors_are_reported_at_once_without_names():
    text = study("p1,a,AU3,yes,left", '"Ada\nLovelace",a,AU1,no,', "p1,Ada Lovelace,AU1,no,", "p1,a,AU1,no,", "p1,a,AU1,no,")
    with pytest.raises(LabelingError) as caught:
        read(text)
    assert [line.split(";")[0] for line in str(caught.value).splitlines()] == [
        "line 2: unknown AU AU3",
        "line 3: unknown subject",
        "line 5: reader without a pseudonym",
        "line 7: duplicate answer: AU1 of this person by a is also answered in line 6",
    ]
    assert "Ada" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "",
            f"line 1: no column {', '.join(REQUIRED)}; a file of answers has at least {', '.join(REQUIRED)}",
        ),
        (
            "subject,reader,au,side\n",
            "line 1: no column affected; a file of answers has at least subject, reader, au, affected, side",
        ),
        (f"{HEAD},name\n", f"line 1: unknown column name; the columns are {', '.join(COLUMNS)}"),
        (f"{HEAD},side\n", f"line 1: a column is repeated; the columns are {', '.join(COLUMNS)}"),
        (f'{HEAD}\np1,a,AU1,no,"', "line 2: it is not a CSV from here on (unexpected end of data)"),
    ],
)
def test_a_file_of_another_format_is_reported_in_one_sentence(text, sentence):
    with pytest.raises(LabelingError) as caught:
        read(text)
    assert str(caught.value) == sentence


def test_an_export_is_a_standard_csv():
    text = write_csv(read(study("p1,a,AU12,yes,left")))
    (line,) = csv.DictReader(io.StringIO(text, newline=""))
    assert list(line) == list(COLUMNS)
    assert [line[name] for name in REQUIRED] == ["p1", "a", "AU12", "yes", "left"]


@pytest.mark.parametrize("note", ["=HYPERLINK(1)", "+1+1", "-cmd|' /C calc'!A0", "@SUM(1)", "\tx", "\rx", "'=1", "''@", "＝1"])
def test_a_note_that_a_spreadsheet_would_execute_is_neutralized_and_survives_the_round_trip(note):
    row = replace(read(study("p1,reader-a,AU1,no,"))[0], note=note)
    text = write_csv([row])
    cells = next(iter(csv.DictReader(io.StringIO(text, newline=""))))
    assert cells["note"] == f"'{note}"
    assert read(text) == [row]


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
def test_neutralizing_a_cell_is_reversible_and_numbers_stay_numbers(text):
    assert restored_cell(safe_cell(text)) == text
    assert safe_cell("-0.25") == "-0.25"
    assert safe_cell("+1e-05") == "+1e-05"


def test_a_nul_in_an_import_is_reported_with_its_line():
    with pytest.raises(LabelingError, match=r"line 2: it holds a NUL character"):
        read(study("p1,reader-a,AU1,no,\0"))


def test_a_region_that_was_not_asked_about_is_the_adjudicators():
    head = f"{HEAD},stage,asked"
    (row,) = read(study("p1,c,AU1,?,left,adjudication,no", head=head))
    assert (row.asked, row.side) == (False, Side.LEFT)
    for line in ("p1,a,AU1,?,,reader,no", "p1,c,AU1,no,,adjudication,no"):
        with pytest.raises(LabelingError, match="a region that was not asked about has affected"):
            read(study(line, head=head))
