"""The promotion log on SQLite and on PostgreSQL: signed, chained and append-only."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from vitau.catalog.catalog import Catalog
from vitau.catalog.promotion_log import Action, PromotionRecord, broken_records, champion_stack
from vitau.catalog.signing import canonical, is_signed, key_fingerprint, sign

KEY, OTHER_KEY = b"the key of these tests", b"another key than that"


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
    assert OTHER_KEY.decode() not in key_fingerprint(OTHER_KEY)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE promotions SET record = 'x'",
        "DELETE FROM promotions",
        "INSERT INTO promotions VALUES (1, 'm', NULL, 'r', 's', 't')",
        "INSERT INTO promotions VALUES (0, 'm', NULL, 'r', 's', 't')",
        "INSERT INTO promotions VALUES (4, 'm', NULL, 'r', 's', 't')",
    ],
)
def test_the_database_refuses_changes_deletions_and_insertions_before_the_end(catalog, statement):
    for version in (1, 2):
        catalog.append_promotion(facts(version, Action.PROMOTED, version - 1 or None, version), key=KEY)
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
    )
    assert [champion_stack(records[:upto]) for upto in range(7)] == [[], [1], [1, 2], [1, 2], [1, 2, 4], [1, 2], [1]]


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
