"""The ledger's hash chain: it shows every change, and a person can be forgotten without breaking it."""

import sqlite3
from collections.abc import Callable
from dataclasses import replace

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from vitau.catalog import engine as engines
from vitau.catalog.catalog import Catalog, open_catalog
from vitau.catalog.ledger.hash_chain import START, answer_digest, broken_rows, details_digest, merge_digest, salted
from vitau.catalog.tables import erasures, ledger, ledger_details, merges, subjects
from vitau.errors import CatalogError
from vitau.schema import AU, CheckKind, Cohort, LedgerRow, Mark, Side, Snapshot, Split, Stage, Subject, tombstone

ANSWER = LedgerRow(
    subject="anna",
    au=AU.AU12,
    reader="reader-a",
    stage=Stage.READER,
    affected=True,
    side=Side.LEFT,
    annotation="1",
    version="2026-11-23T00:00:00Z",
    answered_at="2026-11-23T00:00:00Z",
    frames_shown=("c:0",),
    note="Anna's left brow",
    suggestion=-0.0,
    suggested_by="vitau-regions/3",
    lead_time_s=12,
    marks=(Mark(frame="c:0", box=(0.1, 0.2, 0.3, 0.4)),),
)


@pytest.fixture
def catalog(new_catalog: Callable[[], Catalog]) -> Catalog:
    """Three people, anne merged into anna, with five answers and a snapshot of the first three rows."""
    catalog = new_catalog()
    for name in ("anna", "anne", "bert"):
        catalog.add_subject(Subject(pseudonym=name, cohort=Cohort.PALSY, source="s"))
    catalog.append_answers([ANSWER, replace(ANSWER, au=AU.AU1, grade=3), replace(ANSWER, subject="anne", annotation="2")])
    catalog.add_snapshot(
        Snapshot(
            digest="d" * 64,
            uri="u",
            ledger_offset=3,
            num_frames=1,
            subjects={Split.TRAIN: 1},
            synthetic=True,
            ledger_digest=catalog.ledger_digest(3),
        )
    )
    catalog.merge("anna", "anne", why="Anna wrote to us")
    catalog.append_answers([replace(ANSWER, subject="bert", annotation=number, note="right") for number in ("3", "4")])
    return catalog


def tamper(catalog: Catalog, *statements: str) -> None:
    """Change the database as its owner can: without the triggers."""
    with catalog.engine.begin() as connection:
        if catalog.engine.dialect.name == "postgresql":
            connection.execute(sa.text("SET session_replication_role = replica"))
        else:
            for name in connection.scalars(sa.text("SELECT name FROM sqlite_master WHERE type = 'trigger'")).all():
                connection.execute(sa.text(f"DROP TRIGGER {name}"))
        for statement in statements:
            connection.execute(sa.text(statement))


def begin_erasure(catalog: Catalog, *names: str) -> None:
    with catalog.engine.begin() as connection:
        rows = [{"subject": tombstone(name), "snapshots": [], "trainings": [], "recorded_at": ""} for name in names]
        connection.execute(sa.insert(erasures), rows)


def all_text(catalog: Catalog) -> str:
    with catalog.engine.connect() as connection:
        return repr([connection.execute(sa.select(table)).all() for table in (ledger, ledger_details, merges, subjects)])


def test_an_untouched_ledger_verifies(catalog):
    assert catalog.broken_ledger_rows() == {}
    assert catalog.ledger_digest(6) != catalog.ledger_digest(5) != catalog.ledger_digest(4)
    assert catalog.ledger_digest(0) == "0" * 64


@pytest.mark.parametrize(
    ("statement", "broken"),
    [
        ('UPDATE ledger SET affected = FALSE WHERE "offset" = 2', {2: "changed, or the row"}),
        ("UPDATE ledger SET subject = 'bert' WHERE \"offset\" = 1", {1: "changed, or the row"}),
        ('UPDATE ledger SET lead_time_s = 13 WHERE "offset" = 5', {5: "changed, or the row"}),
        ("UPDATE ledger SET measures_shown = 'v1' WHERE \"offset\" = 5", {5: "changed, or the row"}),
        ('UPDATE ledger SET asked = FALSE WHERE "offset" = 5', {5: "changed, or the row"}),
        ("UPDATE merges SET kept = 'bert'", {4: "changed, or the row"}),
        ("UPDATE ledger SET subject = 'erased-0' WHERE \"offset\" = 6", {6: "changed, or the row"}),
        ('DELETE FROM ledger WHERE "offset" = 2', {3: "changed, or the row"}),
        ("DELETE FROM merges", {5: "changed, or the row"}),
        ("UPDATE ledger_details SET note = 'left' WHERE \"offset\" = 5", {5: "its note, frames or marks were changed"}),
        ('DELETE FROM ledger_details WHERE "offset" = 5', {5: "its note, frames or marks are missing"}),
        ('DELETE FROM ledger WHERE "offset" > 2; DELETE FROM merges', {3: "not the row that snapshot dddddddddddd"}),
    ],
)
def test_the_chain_shows_every_change(catalog, statement, broken):
    tamper(catalog, "INSERT INTO subjects VALUES ('erased-0', 'palsy', 's', FALSE, '')", *statement.split("; "))
    found = catalog.broken_ledger_rows()
    assert found.keys() == broken.keys()
    assert all(found[offset].startswith(reason) for offset, reason in broken.items()), found


def test_forgotten_people_leave_nothing_but_tombstones_and_the_chain_still_verifies(catalog):
    head = catalog.ledger_digest(6)
    begin_erasure(catalog, "anna", "anne")
    assert catalog.forget({"anna", "anne"}) == 5  # three answers, two names of a merge
    text = all_text(catalog)
    assert "'anna'" not in text
    assert "'anne'" not in text
    assert "Anna" not in text
    assert catalog.broken_ledger_rows() == {}
    assert catalog.ledger_digest(6) == head
    rows = catalog.ledger()
    assert [row.subject for row in rows] == [tombstone("anna")] * 3 + ["bert"] * 2
    assert [(row.note, row.frames_shown, row.marks) for row in rows[:3]] == [(None, (), ())] * 3
    assert rows[3] == replace(ANSWER, subject="bert", annotation="3", note="right")
    (merge,) = catalog.merges()
    assert (merge.kept, merge.merged, merge.why) == (tombstone("anna"), tombstone("anne"), "")
    assert catalog.pseudonyms() == {"bert"}
    assert catalog.forget({"anna", "anne"}) == 0, "again"


def test_a_person_is_forgotten_during_their_own_open_erasure_only(catalog):
    def check_refusal() -> None:
        with pytest.raises(CatalogError) as caught:
            catalog.forget({"bert"})
        assert str(caught.value) == "a person can only be forgotten during an erasure: use `python -m flows erase`"
        assert catalog.ledger()[-1].subject == "bert"

    check_refusal()
    begin_erasure(catalog, "anna")
    check_refusal()
    begin_erasure(catalog, "bert")
    with catalog.engine.begin() as connection:
        connection.execute(sa.update(erasures).values(finished_at="2026-11-24T00:00:00Z"))
    check_refusal()


def test_the_tombstone_of_a_forgotten_person_keeps_the_cohort_and_the_source_only(catalog):
    catalog.add_subject(Subject(pseudonym="carl", cohort=Cohort.CONTROL, source="clinic", synthetic=True))
    begin_erasure(catalog, "carl")
    catalog.forget({"carl"})
    with catalog.engine.connect() as connection:
        columns = subjects.c.pseudonym, subjects.c.cohort, subjects.c.source, subjects.c.synthetic
        rows = connection.execute(sa.select(*columns).where(subjects.c.source == "clinic")).all()
    assert rows == [(tombstone("carl"), "control", "clinic", True)]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ledger SET subject = '{bert}' WHERE subject = 'anna'",
        "UPDATE ledger SET subject = '{anna}', affected = FALSE WHERE subject = 'anna'",
        "UPDATE ledger SET subject = 'bert' WHERE subject = 'anna'",
        "UPDATE ledger_details SET note = 'another'",
        'DELETE FROM ledger_details WHERE "offset" = 6',
        "UPDATE merges SET kept = 'bert'",
        "DELETE FROM ledger WHERE subject = 'anna'",
    ],
)
def test_an_open_erasure_permits_tombstones_of_that_person_and_nothing_else(catalog, statement):
    begin_erasure(catalog, "anna")
    tombstones = {name: tombstone(name) for name in ("anna", "bert")}
    with catalog.engine.begin() as connection:
        for name in tombstones.values():
            connection.execute(
                sa.insert(subjects),
                [{"pseudonym": name, "cohort": "palsy", "source": "", "synthetic": False, "recorded_at": ""}],
            )
    with pytest.raises(sa.exc.IntegrityError, match="the ledger only grows"), catalog.engine.begin() as connection:
        connection.execute(sa.text(statement.format(**tombstones)))
    assert catalog.broken_ledger_rows() == {}


def test_answers_about_an_erased_person_are_left_out_and_counted_and_the_others_are_appended(catalog):
    begin_erasure(catalog, "anna")
    late = [replace(ANSWER, annotation="9"), replace(ANSWER, annotation="9", subject="bert")]
    assert catalog.append_answers(late) == 1
    assert catalog.erased_among({"anna", "bert", "carl"}) == {"anna"}
    retraction = replace(ANSWER, version="erased", retracted=True)
    assert catalog.append_answers([retraction]) == 1, "the erasure itself retracts answers"
    catalog.forget({"anna"})
    assert catalog.append_answers([*late, replace(retraction, annotation="10")]) == 0


COPIED = "subject, au, reader, stage, side, annotation, version, answered_at, retracted, details, digest, recorded_at"


@pytest.mark.parametrize(
    "statement",
    [
        'INSERT OR REPLACE INTO ledger ("offset", affected, {columns}) SELECT 1, 0, {columns} FROM ledger LIMIT 1',
        'INSERT OR REPLACE INTO ledger ("offset", affected, {columns}) SELECT 7, 0, {columns} FROM ledger LIMIT 1',
        'REPLACE INTO ledger ("offset", affected, {columns}) SELECT 7, 0, {columns} FROM ledger LIMIT 1',
        "INSERT OR REPLACE INTO merges (merged, kept, \"offset\", recorded_at) VALUES ('anne', 'bert', 7, '')",
        "INSERT OR REPLACE INTO ledger_details VALUES (1, 's', 'n', '[]', '[]')",
        "INSERT OR REPLACE INTO ledger_details VALUES (3, 's', 'n', '[]', '[]')",
        'UPDATE OR REPLACE ledger SET "offset" = 2 WHERE "offset" = 1',
    ],
)
@pytest.mark.parametrize("new_catalog", ["sqlite"], indirect=True)
def test_sqlite_refuses_a_replacement_by_any_program(catalog, statement):
    before = all_text(catalog)
    foreign = sqlite3.connect(catalog.engine.url.database)  # without our pragmas
    with pytest.raises(sqlite3.IntegrityError, match="the ledger only grows"):
        foreign.execute(statement.replace("{columns}", COPIED))
    foreign.close()
    assert all_text(catalog) == before


def test_a_ledger_of_an_older_version_is_chained_when_it_is_opened(new_catalog, monkeypatch, request):
    """Open a database at revision 0012 with rows, and compare what the newest code reads."""
    current = new_catalog()
    url = current.engine.url
    with current.engine.begin() as connection:
        if current.engine.dialect.name == "postgresql":
            connection.execute(sa.text("DROP SCHEMA public CASCADE"))
            connection.execute(sa.text("CREATE SCHEMA public"))
    if current.engine.dialect.name == "sqlite":
        url = url.set(database=f"{url.database}.old")
    text = url.render_as_string(hide_password=False)

    def upgrade_to_0012(engine: sa.Engine) -> None:
        config = Config()
        config.set_main_option("script_location", f"{engines.__file__.rsplit('/', 1)[0]}/migrations")
        with engine.connect().execution_options(writing=True) as connection, connection.begin():
            config.attributes["connection"] = connection
            command.upgrade(config, "0012")

    with monkeypatch.context() as patch:
        patch.setattr(engines, "_migrate", upgrade_to_0012)
        old = open_catalog(text)
    with old.engine.begin() as connection:
        for name in ("anna", "anne"):
            connection.execute(sa.text("INSERT INTO subjects VALUES (:name, 'palsy', 's', FALSE, '')"), {"name": name})
        for offset in (1, 2):
            connection.execute(
                sa.text(
                    'INSERT INTO ledger ("offset", subject, au, reader, stage, affected, side, annotation, version, '
                    "answered_at, frames_shown, note, lead_time_s, evidence, recorded_at) "
                    "VALUES (:offset, 'anna', 'AU1', 'a', 'reader', TRUE, 'left', :annotation, 'v', '2026-01-01T00:00:00Z', "
                    ":frames, 'a note', 1.5, :marks, 't')"
                ),
                {
                    "offset": offset,
                    "annotation": str(offset),
                    "frames": '["c:0"]',
                    "marks": '[{"frame": "c:0", "box": [0.0, 0.1, 0.2, 0.3]}]',
                },
            )
        connection.execute(sa.text("INSERT INTO merges VALUES ('anne', 'anna', 3, 'same face', 't')"))
        connection.execute(sa.text("INSERT INTO labels VALUES ('anna', 'AU1', TRUE, 'left', 2, 't')"))
    old.engine.dispose()
    new = open_catalog(text)
    request.addfinalizer(new.engine.dispose)
    assert new.broken_ledger_rows() == {}
    assert [(row.annotation, row.note, row.frames_shown, row.marks) for row in new.ledger()] == [
        (str(number), "a note", ("c:0",), (Mark(frame="c:0", box=(0.0, 0.1, 0.2, 0.3)),)) for number in (1, 2)
    ]
    assert new.merges()[0].why == "same face"
    assert new.labels_offset() == 2
    assert [(label.case, label.visit, label.side) for label in new.labels()] == [("anna", None, "left")]
    assert {row.visit for row in new.ledger()} == {None}
    assert new.append_answers([ANSWER]) == 1
    assert new.broken_ledger_rows() == {}


def test_digests_stay_those_of_existing_ledgers():
    """Another digest of the same row would show every existing ledger as changed."""
    details = {
        "salt": "00ff",
        "note": "left",
        "frames_shown": ["c:0"],
        "marks": [{"frame": "c:0", "box": [0.1, 0.2, 0.3, 0.4]}],
    }
    answer = {
        "offset": 7,
        "subject": "anna",
        "au": "AU12",
        "reader": "reader-a",
        "stage": "reader",
        "affected": True,
        "side": "left",
        "annotation": "1",
        "version": "v",
        "answered_at": "t",
        "retracted": False,
        "suggestion": -0.0,
        "lead_time_s": 12,
        "suggested_by": "m/3",
        "grade": 4,
        "details": "d",
        "recorded_at": "r",
    }
    merge = {"offset": 8, "kept": "anna", "merged": "anne", "details": "d", "recorded_at": "r"}
    assert details_digest(details) == "85b6ebdb5e52e6474ceeeaca7928af2fe9d6e9feaa2aaf8af35a8f7255d835d8"
    assert answer_digest(answer, START) == "0cacd2490c9ca80bff5d34355fff6e6c1f3f9f3e3e47eb49fa43f7eb96f4e14f"
    assert (
        answer_digest(answer | {"suggestion": None, "lead_time_s": None}, START)
        == "eb6ea34509e28607a2c7e17682d889958fad08a50438a5d4ef6b290243ad0076"
    )
    assert merge_digest(merge, START) == "b61e61ae1e3dc61696349a6b70a537dd63f2c15d0235ff46740349b1174d4599"
    assert answer_digest(answer | {"subject": tombstone("anna")}, START) == answer_digest(answer, START)
    assert answer_digest(answer | {"suggestion": 0.0, "lead_time_s": 12.0}, START) == answer_digest(answer, START)


@pytest.mark.parametrize(
    ("column", "value"),
    [("measures_shown", "v1"), ("check_kind", CheckKind.REPEAT), ("visit", "week-12"), ("severity", 0), ("synkinesis", False)],
)
def test_younger_columns_are_in_the_digest_and_no_row_without_them_changes_its_digest(catalog, column, value):
    catalog.append_answers([replace(ANSWER, subject="bert", annotation="9", **{column: value})])
    assert catalog.broken_ledger_rows() == {}
    assert getattr(catalog.ledger()[-1], column) == value
    change = sa.update(ledger).where(ledger.c.offset == 7).values({column: None})
    with pytest.raises(sa.exc.IntegrityError, match="the ledger only grows"), catalog.engine.begin() as connection:
        connection.execute(change)
    tamper(catalog, f'UPDATE ledger SET {column} = NULL WHERE "offset" = 7')  # noqa: S608 - our own names
    assert list(catalog.broken_ledger_rows()) == [7]


def test_what_was_not_asked_is_in_the_digest_and_cannot_be_changed(catalog):
    catalog.append_answers([replace(ANSWER, subject="bert", annotation="9", asked=False)])
    assert catalog.broken_ledger_rows() == {}
    change = sa.update(ledger).where(ledger.c.offset == 7).values(asked=True)
    with pytest.raises(sa.exc.IntegrityError, match="the ledger only grows"), catalog.engine.begin() as connection:
        connection.execute(change)
    tamper(catalog, 'UPDATE ledger SET asked = TRUE WHERE "offset" = 7')
    assert list(catalog.broken_ledger_rows()) == [7]


def test_the_salt_is_new_for_every_row_and_hides_equal_details():
    one, other = salted({"note": "left", "reader": "a"}), salted({"note": "left", "reader": "a"})
    assert one.keys() == {"note", "frames_shown", "marks", "salt"}
    assert (one["note"], one["frames_shown"], one["marks"]) == ("left", None, None)
    assert len(one["salt"]) == 32
    assert one["salt"] != other["salt"]
    assert details_digest(one) != details_digest(other)


def test_every_problem_of_the_chain_is_one_sentence_at_its_offset():
    def row(offset: int, previous: str, **changes: str) -> dict[str, object]:
        new = {"offset": offset, "kept": "anna", "merged": "anne", "details": "", "recorded_at": "r"} | changes
        return new | {"digest": merge_digest(new, previous)}

    first = row(1, START)
    second = row(2, first["digest"])
    third = row(3, second["digest"], kept="erased-1")
    rows, heads = [first, second, third], {"s" * 64: (3, third["digest"])}
    salts = {"salt": "", "note": None, "frames_shown": [], "marks": []}
    missing = "its note, frames or marks are missing, although its person was not erased"
    changed = "its note, frames or marks were changed"
    exchanged = "changed, or the row before it is missing or was exchanged"
    cut = "not the row that snapshot ssssssssssss was frozen with: the ledger was cut or rewritten"
    assert broken_rows(rows, {}, heads) == {1: missing, 2: missing}
    erased = row(4, third["digest"], merged="erased-1")
    assert broken_rows([*rows, erased], {}, {}) == {1: missing, 2: missing}
    assert broken_rows(rows, {1: salts, 3: salts}, heads) == {1: changed, 2: missing, 3: changed}
    assert broken_rows([third, first], {}, {}) == {1: exchanged, 3: exchanged}
    assert broken_rows(rows[:2], {}, heads) == {1: missing, 2: missing, 3: cut}
    assert broken_rows([], {}, {"s" * 64: (0, START)}) == {}
    assert broken_rows([], {}, {"s" * 64: (0, "1")}) == {0: cut}
    assert list(broken_rows(rows[:2], {}, {"s" * 64: (0, "1")})) == [0, 1, 2], "in the order of the ledger"
