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
from vitau.catalog.tables import erasures, ledger, ledger_details, merges, subjects
from vitau.errors import CatalogError
from vitau.schema import AU, Cohort, LedgerRow, Mark, Side, Snapshot, Split, Stage, Subject, tombstone

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


def test_a_person_is_forgotten_during_an_erasure_only(catalog):
    with pytest.raises(CatalogError, match="a person can only be forgotten during an erasure"):
        catalog.forget({"bert"})
    assert catalog.ledger()[-1].subject == "bert"


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
    assert new.append_answers([ANSWER]) == 1
    assert new.broken_ledger_rows() == {}
