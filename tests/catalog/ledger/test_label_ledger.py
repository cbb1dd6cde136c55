"""The ledger on SQLite and on PostgreSQL: append-only, and merges never change its rows."""

import threading
from collections.abc import Callable
from dataclasses import replace

import pytest
import sqlalchemy as sa

from vitau.catalog.catalog import Catalog
from vitau.errors import CatalogError, ContradictionError
from vitau.schema import (
    AU,
    AUS,
    Clip,
    Cohort,
    LedgerEntry,
    LedgerRow,
    Mark,
    RegionLabels,
    Side,
    Split,
    Stage,
    Subject,
)

ANSWER = LedgerRow(
    subject="anna",
    au=AU.AU12,
    reader="reader-a",
    stage=Stage.READER,
    affected=True,
    side=Side.LEFT,
    annotation="1:7",
    version="2026-11-23T00:00:00Z",
    answered_at="2026-11-23T00:00:00Z",
    frames_shown=("f0", "f1"),
    note="a “note”, with\nlines",
    suggestion=-0.25,
    suggested_by="vitau-regions/3",
    grade=4,
    lead_time_s=12.625,
    measures_shown="0123456789abcdef",
    asked=False,
    severity=2,
    synkinesis=False,
    marks=(Mark(frame="f1", box=(0.1, 0.2, 0.3, 0.4)), Mark(frame="f0", box=(0.0, 0.0, 1.0, 1.0))),
)
LABEL = RegionLabels(subject="anna", affected={AU.AU1: True}, side=Side.LEFT)


def person(name: str, cohort: Cohort = Cohort.PALSY) -> Subject:
    return Subject(pseudonym=name, cohort=cohort, source="synthetic", synthetic=True)


@pytest.fixture
def catalog(new_catalog: Callable[[], Catalog]) -> Catalog:
    catalog = new_catalog()
    for name in ("anna", "anne", "ann"):
        catalog.add_subject(person(name))
    catalog.add_subject(person("bert", Cohort.CONTROL))
    return catalog


def execute(catalog: Catalog, statement: str) -> None:
    with catalog.engine.begin() as connection:
        connection.execute(sa.text(statement))


def test_every_field_of_an_answer_is_kept(catalog):
    retraction = replace(ANSWER, affected=None, side=None, version="deleted", retracted=True, marks=(), grade=None)
    assert catalog.append_answers([ANSWER, retraction]) == 2
    assert catalog.ledger() == [ANSWER, retraction]


def test_an_answer_is_appended_once_and_a_changed_one_is_a_new_row(catalog):
    assert catalog.append_answers([ANSWER, replace(ANSWER, au=AU.AU1, affected=None, side=None)]) == 2
    assert catalog.append_answers([ANSWER]) == 0
    corrected = replace(ANSWER, affected=False, side=None, version="later")
    assert catalog.append_answers([ANSWER, corrected, corrected]) == 1
    assert catalog.ledger()[-1] == corrected
    assert len(catalog.ledger(upto=2)) == 2
    assert catalog.ledger_offset() == 3


def test_the_entries_of_a_reader_are_one_per_annotation_in_the_order_of_the_ledger(catalog):
    answers = [replace(ANSWER, au=au) for au in AUS]
    back = [replace(row, version="retracted", affected=None, side=None, retracted=True) for row in answers]
    catalog.append_answers([*answers, *back, *(replace(row, reader="reader-b", annotation="8") for row in answers)])
    assert catalog.ledger_entries("reader-a", Stage.READER) == [
        LedgerEntry(annotation="1:7", subject="anna", version=ANSWER.version),
        LedgerEntry(annotation="1:7", subject="anna", version="retracted", retracted=True),
    ]
    assert catalog.ledger_entries("reader-a", Stage.ADJUDICATION) == []
    assert catalog.ledger_entries("reader-c", Stage.READER) == []


def test_answers_of_several_batches_keep_their_order(catalog):
    answers = [replace(ANSWER, annotation=str(number), au=au) for number in range(300) for au in AUS]
    assert catalog.append_answers(answers[:900]) == 900
    assert catalog.append_answers(answers) == 1500
    assert catalog.ledger() == answers
    assert catalog.ledger_offset() == 2400


def test_appending_queries_only_the_annotations_that_are_appended(catalog):
    catalog.append_answers([replace(ANSWER, annotation=str(number)) for number in range(100)])
    fetched = []

    def count(connection, cursor, statement, parameters, context, many):
        fetched.append(parameters)

    sa.event.listen(catalog.engine, "before_cursor_execute", count)
    catalog.append_answers([replace(ANSWER, annotation="7")])
    queries = [query for query in fetched if "7" in (query.values() if isinstance(query, dict) else query)]
    assert len(queries) == 1
    assert len(queries[0]) == 1


def test_the_ledger_refuses_changes_and_deletions(catalog):
    catalog.append_answers([ANSWER])
    catalog.merge("anna", "anne", why="same face")
    for statement in (
        "UPDATE ledger SET affected = NULL",
        "DELETE FROM ledger",
        "UPDATE merges SET kept = 'ann'",
        "DELETE FROM merges",
    ):
        with pytest.raises(sa.exc.IntegrityError, match="the ledger only grows"):
            execute(catalog, statement)
    assert catalog.ledger() == [ANSWER]
    assert catalog.merged_names() == {"anne": "anna"}


def test_no_row_is_inserted_before_the_end_of_the_ledger(catalog):
    catalog.append_answers([ANSWER])
    catalog.merge("anna", "anne", why="same face")
    answer = (
        'INSERT INTO ledger ("offset", subject, au, reader, stage, annotation, version, answered_at, '
        "recorded_at) VALUES ({}, 'anna', 'AU1', 'reader-a', 'reader', '9', '9', '', '')"
    )
    merge = "INSERT INTO merges (merged, kept, \"offset\", recorded_at) VALUES ('ann', 'anna', {}, '')"
    for offset in (-1, 0, 1, 2):
        with pytest.raises(sa.exc.IntegrityError, match="the ledger only grows at its end"):
            execute(catalog, answer.format(offset))
        with pytest.raises(sa.exc.IntegrityError, match="the ledger only grows at its end"):
            execute(catalog, merge.format(offset))
    assert (catalog.ledger_offset(), len(catalog.ledger()), len(catalog.merges())) == (2, 1, 1)


def test_concurrent_writers_wait_for_each_other_and_no_offset_is_used_twice(catalog):
    def append(reader: str) -> None:
        for number in range(20):
            catalog.append_answers([replace(ANSWER, reader=reader, annotation=f"{reader}:{number}", au=au) for au in AUS])

    threads = [threading.Thread(target=append, args=[f"reader-{name}"]) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(catalog.ledger()), catalog.ledger_offset()) == (480, 480)
    assert len({(row.annotation, row.au) for row in catalog.ledger()}) == 480


def test_a_retraction_under_the_version_of_its_answer_is_an_error(catalog):
    catalog.append_answers([ANSWER])
    with pytest.raises(ContradictionError) as caught:
        catalog.append_answers([replace(ANSWER, au=AU.AU1), replace(ANSWER, retracted=True)])
    assert str(caught.value) == (
        "annotation 1:7 is answered and retracted under one version, 2026-11-23T00:00:00Z: "
        "a retraction needs a version of its own"
    )
    assert catalog.ledger() == [ANSWER]


def test_an_answer_about_an_unknown_subject_is_refused(catalog):
    with pytest.raises(CatalogError) as caught:
        catalog.append_answers([replace(ANSWER, subject=name) for name in ("carl", "anna", "carla", "carl")])
    assert str(caught.value) == "answers about 2 unknown subjects (carl, …): ingest their clips first"
    assert catalog.ledger() == []


def test_two_labels_for_one_subject_and_au_are_refused_and_the_old_ones_stay(catalog):
    catalog.set_labels([LABEL], ledger_offset=1)
    other = RegionLabels(subject="anna", affected={AU.AU2: True}, side=Side.LEFT)
    with pytest.raises(ContradictionError, match="two answers for one subject, visit and AU"):
        catalog.set_labels([other, RegionLabels(subject="anna", affected={AU.AU2: False})], ledger_offset=2)
    assert catalog.labels() == [LABEL]
    with pytest.raises(sa.exc.IntegrityError):
        execute(catalog, "INSERT INTO labels SELECT * FROM labels")


def test_the_labels_are_those_of_the_last_consensus(catalog):
    catalog.set_labels([LABEL], ledger_offset=1)
    now = RegionLabels(subject="anna", affected={AU.AU2: False})
    catalog.set_labels([now], ledger_offset=2)
    assert catalog.labels() == [now]


def test_merged_subjects_have_both_histories_from_then_on(catalog):
    other = replace(ANSWER, subject="anne", annotation="1:8", affected=False, side=None)
    later = replace(ANSWER, subject="anne", annotation="1:9")
    catalog.append_answers([ANSWER, other])
    before = catalog.ledger_offset()
    assert catalog.merge("anna", "anne", why="same face")
    catalog.append_answers([later])
    assert catalog.ledger() == [ANSWER, replace(other, subject="anna"), replace(later, subject="anna")]
    assert catalog.ledger(upto=before) == [ANSWER, other]
    assert catalog.ledger(upto=before + 1) == [ANSWER, replace(other, subject="anna")]
    (merge,) = catalog.merges()
    assert (merge.kept, merge.merged, merge.offset, merge.why) == ("anna", "anne", before + 1, "same face")


def test_the_subjects_of_the_ledger_have_the_names_at_the_time_of_the_answer(catalog):
    catalog.append_answers([ANSWER, replace(ANSWER, subject="anne", annotation="2")])
    catalog.merge("anna", "anne", why="same face")
    catalog.append_answers([replace(ANSWER, subject="anne", annotation="3")])
    assert catalog.ledger_offsets({"anna"}) == [1]
    assert catalog.ledger_offsets({"anna", "anne"}) == [1, 2, 4]


def test_merged_people_are_listed_once_and_keep_their_clips(catalog):
    for name, digest in (("anna", "b" * 64), ("anne", "a" * 64)):
        catalog.add_clip(Clip(sha256=digest, subject=name, source="synthetic", suffix=".mp4"))
    catalog.merge("anna", "anne", why="same face")
    assert [subject.pseudonym for subject in catalog.subjects()] == ["ann", "anna", "bert"]
    assert catalog.pseudonyms() == {"ann", "anna", "anne", "bert"}
    assert [(clip.sha256[0], clip.subject) for clip in catalog.clips()] == [("a", "anna"), ("b", "anna")]
    known = Clip(sha256="a" * 64, subject="anna", source="synthetic", suffix=".mp4")
    assert not catalog.add_clip(known)  # the manifest may now have the canonical name
    assert not catalog.add_clip(replace(known, subject="anne"))
    with pytest.raises(ContradictionError, match="belongs to subject anne and cannot be ann's too"):
        catalog.add_clip(replace(known, subject="ann"))


@pytest.mark.parametrize(
    ("kept", "merged", "split"),
    [
        (Split.TRAIN, Split.TEST, Split.TEST),
        (Split.TEST, Split.TRAIN, Split.TEST),
        (Split.VAL, Split.TEST, Split.TEST),
        (Split.TRAIN, Split.VAL, Split.VAL),
        (Split.TRAIN, Split.TRAIN, Split.TRAIN),
        (None, Split.VAL, Split.VAL),
        (Split.TRAIN, None, Split.TRAIN),
    ],
)
def test_a_person_who_was_ever_tested_is_not_trained_on_after_a_merge(catalog, kept, merged, split):
    recorded = {name: assigned for name, assigned in (("anna", kept), ("anne", merged), ("bert", Split.TRAIN)) if assigned}
    catalog.add_splits(recorded, strata=dict.fromkeys(recorded, "palsy"))
    catalog.merge("anna", "anne", why="same face")
    assert catalog.splits() == {"anna": split, "bert": Split.TRAIN}


def test_merging_is_idempotent_and_merges_can_be_chained(catalog):
    catalog.append_answers([replace(ANSWER, subject="ann")])
    assert catalog.merge("anne", "ann", why="same face")
    assert not catalog.merge("anne", "ann", why="again")
    assert catalog.merge("anna", "anne", why="same face")
    assert not catalog.merge("anne", "ann", why="again")
    assert catalog.ledger() == [ANSWER]
    assert catalog.ledger(upto=2) == [replace(ANSWER, subject="anne")]
    assert catalog.merged_names() == {"ann": "anna", "anne": "anna"}
    assert catalog.ledger_offset() == 3


@pytest.mark.parametrize(
    ("kept", "merged", "sentence"),
    [
        ("anna", "anna", "subject anna cannot be merged with itself: name two"),
        ("anna", "carl", "no subject carl is in the catalog: check the pseudonym"),
        ("carl", "anna", "no subject carl is in the catalog: check the pseudonym"),
        ("ann", "anne", "subject anne was merged into anna already: name anna instead"),
        ("anne", "anna", "subject anne was merged into anna already: name anna instead"),
        (
            "anna",
            "bert",
            "subject anna is palsy and bert is control, but a person has one cohort: correct the manifest",
        ),
    ],
)
def test_an_impossible_merge_is_an_error_and_changes_nothing(catalog, kept, merged, sentence):
    catalog.merge("anna", "anne", why="same face")
    with pytest.raises(CatalogError) as caught:
        catalog.merge(kept, merged, why="same face")
    assert str(caught.value) == sentence
    assert len(catalog.merges()) == 1


def test_a_merge_without_a_reason_is_refused(catalog):
    with pytest.raises(CatalogError) as caught:
        catalog.merge("anna", "anne", why=" ")
    assert str(caught.value) == "a merge needs a reason: state why the two are one person"
    assert catalog.merges() == []
