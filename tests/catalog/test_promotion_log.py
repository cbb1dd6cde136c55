"""The promotion log on SQLite and on PostgreSQL: signed, chained and append-only."""

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from hypothesis import given
from hypothesis import strategies as st

import vitau.catalog
from vitau.catalog.catalog import Catalog, open_catalog
from vitau.catalog.promotion_log import Action, PromotionRecord, broken_records, champion_stack
from vitau.catalog.signing import canonical, is_signed, key_names, public_key, sign, sign_hmac, verify

KEY, OTHER_KEY = b"the key of these tests", b"another key than that"
REVISION_BEFORE = "0009"
"""The revision of the tables before signatures had 128 digits."""


@pytest.fixture
def catalog(new_catalog: Callable[[], Catalog]) -> Catalog:
    return new_catalog()


def facts(version: int, action: Action, before: int | None, after: int | None, model: str = "vitau-palsy") -> dict[str, Any]:
    return {"model": model, "version": version, "action": action, "before": before, "after": after, "by": "a test", "why": "é"}


def test_a_record_is_read_as_it_was_signed(catalog):
    record, new = catalog.append_promotion(facts(1, Action.PROMOTED, None, 1), key=KEY)
    assert new
    assert catalog.promotions() == [record]
    assert (record.number, record.version, record.action, record.before, record.after) == (1, 1, Action.PROMOTED, None, 1)
    assert is_signed(record.text, record.signature, KEY)
    assert record.facts["why"] == "é"
    assert catalog.promotions("vitau-regions") == []


def test_the_same_decision_is_recorded_once(catalog):
    first, _ = catalog.append_promotion(facts(1, Action.PROMOTED, None, 1), key=KEY, once="v")
    again, new = catalog.append_promotion(facts(1, Action.REFUSED, None, None), key=KEY, once="v")
    assert (again, new) == (first, False)
    assert len(catalog.promotions()) == 1


def test_an_intact_chain_is_verified_and_another_key_is_detected(catalog):
    for version in (1, 2, 3):
        catalog.append_promotion(facts(version, Action.PROMOTED, version - 1 or None, version), key=KEY)
    assert broken_records(catalog.promotions(), KEY) == {}
    assert set(broken_records(catalog.promotions(), OTHER_KEY).values()) == {"signed with another key than VITAU_SIGNING_KEY"}
    assert not any(OTHER_KEY.decode() in name for name in key_names(OTHER_KEY))


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE promotions SET record = 'x'",
        "DELETE FROM promotions",
        "INSERT INTO promotions VALUES (1, 'm', NULL, 'r', 's', 't')",
        "INSERT INTO promotions VALUES (0, 'm', NULL, 'r', 's', 't')",
        "INSERT INTO promotions VALUES (4, 'm', NULL, 'r', 's', 't')",
        "INSERT OR REPLACE INTO promotions VALUES (1, 'm', NULL, 'r', 's', 't')",
        "INSERT OR REPLACE INTO promotions VALUES (3, 'm', 'once 1', 'r', 's', 't')",
    ],
)
def test_the_database_refuses_changes_deletions_and_insertions_before_the_end(catalog, statement):
    if "REPLACE" in statement and catalog.engine.dialect.name != "sqlite":
        pytest.skip("PostgreSQL has no INSERT OR REPLACE")
    for version in (1, 2):
        once = f"once {version}"
        catalog.append_promotion(facts(version, Action.PROMOTED, version - 1 or None, version), key=KEY, once=once)
    before = catalog.promotions()
    with pytest.raises(sa.exc.IntegrityError), catalog.engine.connect() as connection, connection.begin():
        connection.execute(sa.text(statement))
    assert catalog.promotions() == before


def test_changes_that_bypass_the_triggers_are_detected(catalog):
    if catalog.engine.dialect.name != "sqlite":
        pytest.skip("one database is enough: the check does not depend on it")
    for version in (1, 2, 3, 4):
        catalog.append_promotion(facts(version, Action.PROMOTED, version - 1 or None, version), key=KEY)
    with catalog.engine.connect() as connection, connection.begin():
        for trigger in ("no_update", "no_delete"):
            connection.execute(sa.text(f"DROP TRIGGER promotions_{trigger}"))
        changed = """UPDATE promotions SET record = replace(record, '"after":2', '"after":9') WHERE number = 2"""
        connection.exec_driver_sql(changed)
        connection.execute(sa.text("DELETE FROM promotions WHERE number = 3"))
    assert broken_records(catalog.promotions(), KEY) == {
        2: "changed after it was signed",
        4: "not the successor of the record before it: one is missing or was exchanged",
    }


def append_as_before(catalog: Catalog, version: int, key: bytes) -> None:
    """Append a record as earlier versions signed it: by HMAC, with a fingerprint of the key."""
    earlier = catalog.promotions()
    signed = facts(version, Action.PROMOTED, version - 1 or None, version) | {
        "number": version,
        "previous": earlier[-1].signature if earlier else None,
        "time": "2026-01-01T00:00:00+00:00",
        "key": sign_hmac("the name of this key", key)[:12],
    }
    text = canonical(signed)
    row = {"number": version, "model": signed["model"], "record": text, "signature": sign_hmac(text, key), "recorded_at": "t"}
    with catalog.engine.connect() as connection, connection.begin():
        connection.execute(sa.insert(sa.table("promotions", *map(sa.column, row))), [row])


def test_records_that_an_earlier_version_signed_by_hmac_are_verified_among_new_ones(catalog):
    append_as_before(catalog, 1, KEY)
    append_as_before(catalog, 2, KEY)
    record, _ = catalog.append_promotion(facts(3, Action.PROMOTED, 2, 3), key=KEY)
    assert broken_records(catalog.promotions(), KEY) == {}
    assert (record.facts["algorithm"], record.facts["key"]) == ("Ed25519", public_key(KEY))
    assert verify(record.text, record.signature, record.facts["key"])
    changed = [replace(old, text=old.text.replace("palsy", "nerve")) for old in catalog.promotions()]
    assert set(broken_records(changed, KEY).values()) == {"changed after it was signed"}


def test_the_first_record_of_a_new_key_vouches_for_the_records_before_it(catalog):
    append_as_before(catalog, 1, OTHER_KEY)
    catalog.append_promotion(facts(2, Action.PROMOTED, 1, 2), key=OTHER_KEY)
    other = "signed with another key than VITAU_SIGNING_KEY"
    assert broken_records(catalog.promotions(), KEY) == {1: other, 2: other}
    catalog.append_promotion(facts(2, Action.OVERRIDDEN, 2, 2), key=KEY)
    records = catalog.promotions()
    assert broken_records(records, KEY) == {}
    exchanged = [replace(records[0], text=records[0].text.replace("palsy", "nerve")), *records[1:]]
    assert broken_records(exchanged, KEY) == {1: other, 2: other}
    catalog.append_promotion(facts(9, Action.PROMOTED, 2, 9), key=OTHER_KEY)
    assert broken_records(catalog.promotions(), KEY) == {4: other}, "an earlier key signs nothing after it was replaced"


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
def test_the_migration_keeps_the_records_and_the_triggers(dialect, tmp_path, request):
    url = f"sqlite:///{tmp_path / 'catalog.db'}"
    if dialect == "postgresql":
        server = sa.make_url(request.getfixturevalue("postgresql_url"))
        administrator = sa.create_engine(server, isolation_level="AUTOCOMMIT")
        with administrator.connect() as connection:
            connection.execute(sa.text("CREATE DATABASE before_ed25519"))
        administrator.dispose()
        url = server.set(database="before_ed25519").render_as_string(hide_password=False)
    engine = sa.create_engine(url)
    config = Config()
    config.set_main_option("script_location", str(Path(vitau.catalog.__file__).parent / "migrations"))
    with engine.connect() as connection, connection.begin():
        config.attributes["connection"] = connection
        command.upgrade(config, REVISION_BEFORE)
    engine.dispose()
    before = Catalog(sa.create_engine(url))
    append_as_before(before, 1, KEY)
    append_as_before(before, 2, KEY)
    before.engine.dispose()
    catalog = open_catalog(url)
    catalog.append_promotion(facts(3, Action.PROMOTED, 2, 3), key=KEY)
    assert [record.version for record in catalog.promotions()] == [1, 2, 3]
    assert broken_records(catalog.promotions(), KEY) == {}
    statements = ("UPDATE promotions SET record = 'x'", "DELETE FROM promotions")
    for statement in (*statements, "INSERT INTO promotions VALUES (9, 'm', NULL, 'r', 's', 't')"):
        with pytest.raises(sa.exc.IntegrityError), catalog.engine.connect() as connection, connection.begin():
            connection.execute(sa.text(statement))
    catalog.engine.dispose()


def test_records_of_concurrent_writers_form_one_chain(catalog):
    def append(model: str) -> None:
        for version in range(5):
            catalog.append_promotion(facts(version, Action.REFUSED, None, None, model), key=KEY)

    threads = [threading.Thread(target=append, args=[name]) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [record.number for record in catalog.promotions()] == list(range(1, 16))
    assert broken_records(catalog.promotions(), KEY) == {}


def recorded(*decisions: tuple[int, Action, int | None, int | None]) -> list[PromotionRecord]:
    return [
        PromotionRecord(
            number=number,
            model="m",
            version=version,
            action=action,
            before=before,
            after=after,
            facts={},
            time="",
            text="",
            signature="",
        )
        for number, (version, action, before, after) in enumerate(decisions, 1)
    ]


def test_rollbacks_go_back_one_champion_at_a_time_and_refusals_change_nothing():
    records = recorded(
        (1, Action.PROMOTED, None, 1),
        (2, Action.PROMOTED, 1, 2),
        (3, Action.REFUSED, 2, 2),
        (4, Action.OVERRIDDEN, 2, 4),
        (4, Action.ROLLED_BACK, 4, 2),
        (2, Action.ROLLED_BACK, 2, 1),
        (1, Action.OVERRIDDEN, 1, 1),
    )
    assert [champion_stack(records[:upto]) for upto in range(8)] == [[], [1], [1, 2], [1, 2], [1, 2, 4], [1, 2], [1], [1]]


def test_a_rollback_can_return_to_a_champion_from_before_the_first_record():
    assert champion_stack(recorded((3, Action.REFUSED, 2, 2), (4, Action.PROMOTED, 2, 4))) == [2, 4]


@given(st.dictionaries(st.text(max_size=5), st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5))))
def test_canonical_json_does_not_depend_on_the_order_of_keys(value):
    text = canonical(value)
    assert text == canonical(dict(reversed(value.items())))
    assert text.isascii()
    assert sign(text, KEY) != sign(text + " ", KEY)


def test_a_number_that_is_not_finite_is_never_signed():
    with pytest.raises(ValueError, match="Out of range float values"):
        canonical({"auroc": float("nan")})
