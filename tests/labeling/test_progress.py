"""Progress of the labeling, and its table for a terminal."""

from dataclasses import replace

from labeling.consensus.consensus import consensus
from labeling.progress import Design, Progress, duration, progress, status_table, table, with_skipped
from labeling.sampling.staleness import Stale
from vitau.schema import AU, AUS, LedgerRow, Side, Skipped, Stage


def rows(subject: str, reader: str, *regions: AU, stage: Stage = Stage.READER, seconds: float | None = 10, **more):
    return [
        LedgerRow(
            subject=subject,
            au=au,
            reader=reader,
            stage=stage,
            affected=au in regions,
            side=Side.LEFT if regions else None,
            annotation=f"{reader} {subject}",
            version=more.get("version", "2026-11-25T10:00:00Z"),
            answered_at="2026-11-25T10:00:00Z",
            lead_time_s=seconds,
            retracted=more.get("retracted", False),
        )
        for au in AUS
    ]


LEDGER = [
    *rows("p1", "a", AU.AU12, seconds=10),
    *rows("p1", "b", AU.AU12, seconds=20),
    *rows("p2", "a", AU.AU12, seconds=14),
    *rows("p2", "b", AU.AU9, seconds=None),
    *rows("p3", "a", AU.AU12, seconds=90),
    *rows("p4", "a", AU.AU1, seconds=12),
    *rows("p4", "b", AU.AU2, seconds=40),
    *rows("p4", "adjudicator", AU.AU1, stage=Stage.ADJUDICATION, seconds=30),
]
SUBJECTS = ["p1", "p2", "p3", "p4", "p5"]


def state(ledger=LEDGER, **more) -> Progress:
    agreed = consensus(ledger, ["a", "b"])
    return progress(agreed, ledger, SUBJECTS, design=Design(readers=("a", "b")), adjudicator="adjudicator", **more)


def test_each_subject_is_labeled_waiting_or_disagreed():
    done = state()
    assert (done.subjects, done.labeled, done.waiting, done.disagreed, done.adjudicated) == (5, 2, 2, 1, 1)
    assert done.labeled + done.waiting + done.disagreed == done.subjects


def test_the_time_left_is_the_median_time_of_the_open_people():
    a, b, adjudicator = state().readers
    assert (a.answered, a.open, a.median_s, a.left_s) == (4, 1, 13, 13)
    assert (b.answered, b.open, b.median_s, b.left_s) == (3, 2, 30, 60)
    assert (adjudicator.answered, adjudicator.open, adjudicator.left_s) == (1, 1, 30)


def test_skipped_people_are_counted_and_named_by_reader():
    done = with_skipped(state(), {"b": 2, "another study's reader": 3})
    assert [reader.num_skipped for reader in done.readers] == [0, 2, 0]
    assert "b: 2 skipped or given back, they come last" in table(done).splitlines()
    assert "skipped" not in table(state())


def test_by_two_of_three_the_missing_answers_are_divided_among_the_readers_who_are_there():
    agreed = consensus(LEDGER, ["a", "b", "c"], per_person=2)
    shares = {}
    for absent in (frozenset(), frozenset({"a"})):
        design = Design(readers=("a", "b", "c"), per_person=2, absent=absent)
        done = progress(agreed, LEDGER, SUBJECTS, design=design, adjudicator="adjudicator")
        shares[absent] = [reader.open for reader in done.readers]
        assert (done.labeled, done.waiting, done.disagreed) == (2, 2, 1)
    # p3 needs one more answer, p5 two: three answers among three readers, then among two
    assert shares == {frozenset(): [1, 1, 1, 1], frozenset({"a"}): [0, 2, 2, 1]}


def test_a_retracted_answer_is_open_again():
    back = rows("p3", "a", version="retracted 2026-11-25T10:00:00Z", seconds=None, retracted=True)
    a, *_ = state([*LEDGER, *back]).readers
    assert (a.answered, a.open) == (3, 2)


def test_an_older_answer_stands_when_the_newer_one_is_retracted():
    """A reader answered both of two subjects who were merged later; one of the answers is retracted."""
    second = [replace(row, annotation="another") for row in rows("p3", "a", AU.AU9)]
    back = [replace(row, retracted=True, version="retracted") for row in second]
    assert state([*LEDGER, *second, *back]).readers == state().readers


def test_other_subjects_of_the_ledger_are_not_counted():
    assert state([*LEDGER, *rows("merged away", "a", AU.AU12), *rows("merged away", "b", AU.AU12)]) == state()


def test_a_stale_answer_stands_and_is_open_again():
    stale = [
        Stale(reader=reader, stage=Stage.READER, subject=subject, difference=0.3)
        for reader, subject in (("a", "p1"), ("b", "p1"), ("a", "p2"), ("a", "merged away"))
    ]
    done = state(stale=stale)
    a, b, _ = done.readers
    assert (done.labeled, done.stale) == (2, 1)
    assert ((a.answered, a.open, a.again, a.left_s), (b.answered, b.open, b.again)) == ((4, 3, 2, 39), (3, 3, 1))
    assert "1 labels are stale: newer frames look different, and are asked about again" in table(done)
    assert "stale" not in table(state())


def test_without_timed_answers_there_is_no_time_left():
    a, *_ = state(rows("p1", "a", seconds=None)).readers
    assert (a.median_s, a.left_s) == (None, None)


def test_the_table_has_all_numbers():
    skipped = [Skipped(item="project ViTAU a, task 1, annotation 2", reason="unknown region AU7")]
    assert table(state(skipped=skipped)).splitlines() == [
        "5 people: 2 labeled, 1 of them adjudicated",
        "2 wait for a reader, 1 for the adjudicator",
        "",
        "reader               answered   open   median  time left",
        "a                           4      1     13 s       13 s",
        "b                           3      2     30 s      1 min",
        "adjudicator                 1      1     30 s       30 s",
        "",
        "1 of the answers cannot be read:",
        "project ViTAU a, task 1, annotation 2: unknown region AU7",
    ]


def test_the_counts_of_label_studio_are_a_table():
    assert status_table([{"project": "ViTAU a", "subjects": 5, "answered": 3}]).splitlines() == [
        "project                                   people  answered   open",
        "ViTAU a                                        5         3      2",
    ]


def test_durations_have_readable_units():
    assert [duration(seconds) for seconds in (None, 0, 59.4, 60, 3599, 3600, 12000)] == [
        *("–", "0 s", "59 s", "1 min", "1 h 0 min", "1 h 0 min", "3 h 20 min")
    ]
