"""The rows of the catalog under a new pseudonym key: every old name is replaced, and the ledger is chained anew.

All of it happens within one transaction of the ledger's owner. The triggers that guard the ledger are out of force in it, and
nowhere else: no role that can only append can use this.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import sqlalchemy as sa

from vitau.catalog.engine import BATCH
from vitau.catalog.ledger.hash_chain import START, answer_digest, details_digest, merge_digest
from vitau.catalog.rekeying.renaming import Renaming
from vitau.catalog.tables import (
    dead_letters,
    erased_content,
    key_fingerprints,
    ledger,
    ledger_details,
    merges,
    metadata,
    promotions,
    rekeyings,
    snapshots,
    source_urls,
    statements,
    subjects,
    url_failures,
)

_KEYED: Final = (
    statements.c.statement,
    source_urls.c.url,
    url_failures.c.url,
    dead_letters.c.name,
    erased_content.c.digest,
)
"""Columns with HMACs of things that are stored nowhere; an empty one stands for nothing."""
_CHAINED: Final = (ledger, merges, ledger_details)
_OTHERWISE: Final = {table.name for table in (subjects, *_CHAINED, promotions, rekeyings, key_fingerprints)}
"""Tables that are not changed row by row. Records of promotions are signed and name no person."""


def rename_rows(connection: sa.Connection, renaming: Renaming, wrap: Callable[[str], str]) -> int:
    """Replace the old names in all rows, within the caller's transaction; return the number of changed rows.

    Args:
        connection: of the ledger's owner.
        renaming: of people.
        wrap: returns the new name of any other keyed value.
    """
    people = [dict(row) for row in connection.execute(sa.select(subjects)).mappings()]
    renamed_people = [row | {"pseudonym": renaming.names[row["pseudonym"]]} for row in people]
    _insert(connection, subjects, renamed_people)
    changed = len(people)
    for table in metadata.sorted_tables:
        if table.name not in _OTHERWISE:
            changed += _rename_table(connection, table, renaming, wrap)
    with _unguarded(connection):
        changed += _chain_again(connection, renaming)
    connection.execute(sa.delete(subjects).where(subjects.c.pseudonym.in_(list(renaming.names))))
    return changed


def _rename_table(connection: sa.Connection, table: sa.Table, renaming: Renaming, wrap: Callable[[str], str]) -> int:
    keyed = {column.name for column in _KEYED if column.table is table}
    texts = [column.name for column in table.c if isinstance(column.type, sa.String | sa.JSON)]
    changes = []
    for row in connection.execute(sa.select(table)).mappings().all():
        new = {name: renaming.value(row[name]) for name in texts if name not in keyed}
        new |= {name: wrap(row[name]) for name in keyed if row[name]}
        if any(value != row[name] for name, value in new.items()):
            changes.append((row, {name: value for name, value in new.items() if value != row[name]}))
    for row, new in changes:
        same_row = sa.and_(*(column == row[column.name] for column in table.primary_key))
        connection.execute(sa.update(table).where(same_row).values(**new))
    return len(changes)


def _chain_again(connection: sa.Connection, renaming: Renaming) -> int:
    """Rename the people of the ledger, compute the digests of its rows anew, and replace the heads that snapshots note."""
    rows = [dict(row) for table in (ledger, merges) for row in connection.execute(sa.select(table)).mappings()]
    details = {row["offset"]: dict(row) for row in connection.execute(sa.select(ledger_details)).mappings()}
    answers: list[dict[str, Any]] = []
    joined: list[dict[str, Any]] = []
    notes: list[dict[str, Any]] = []
    digests, previous = {}, START
    for row in sorted(rows, key=lambda row: int(row["offset"])):
        merge = "kept" in row
        row |= {name: renaming.names[row[name]] for name in ("subject", "kept", "merged") if name in row}
        found = details.get(row["offset"])
        if found is not None and (note := renaming.value(found["note"])) != found["note"]:  # a reason or a note that names one
            found["note"] = note
            row["details"] = details_digest(found)
            notes.append(found)
        previous = row["digest"] = (merge_digest if merge else answer_digest)(row, previous)
        digests[row["offset"]] = previous
        (joined if merge else answers).append(row)
    _update(connection, ledger, answers, ("subject", "details", "digest"))
    _update(connection, merges, joined, ("kept", "merged", "details", "digest"))
    _update(connection, ledger_details, notes, ("note",))
    for digest, offset in connection.execute(
        sa.select(snapshots.c.digest, snapshots.c.ledger_offset).where(snapshots.c.ledger_digest.is_not(None))
    ).all():
        head = sa.update(snapshots).where(snapshots.c.digest == digest)
        connection.execute(head.values(ledger_digest=digests.get(offset, START)))
    return len(rows)


def _insert(connection: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
    for start in range(0, len(rows), BATCH):
        connection.execute(sa.insert(table), list(rows[start : start + BATCH]))


def _update(connection: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> None:
    """Set some columns of rows, by offset."""
    if rows:
        this_row = sa.update(table).where(table.c.offset == sa.bindparam("its_offset"))
        statement = this_row.values({name: sa.bindparam(f"new_{name}", type_=table.c[name].type) for name in names})
        values = [{"its_offset": row["offset"]} | {f"new_{name}": row[name] for name in names} for row in rows]
        connection.execute(statement, values)


@contextmanager
def _unguarded(connection: sa.Connection) -> Iterator[None]:
    """Put the triggers of the ledger out of force for this transaction; if it fails, it leaves them as they were."""
    if connection.dialect.name == "postgresql":
        _switch_triggers(connection, "DISABLE")
        yield
        _switch_triggers(connection, "ENABLE")
        return
    names = tuple(table.name for table in _CHAINED)
    listed = sa.text("SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name IN :tables")
    triggers = connection.execute(listed.bindparams(sa.bindparam("tables", names, expanding=True))).all()
    for name, _ in triggers:
        connection.exec_driver_sql(f'DROP TRIGGER "{name}"')
    yield
    for _, definition in triggers:
        connection.exec_driver_sql(definition)


def _switch_triggers(connection: sa.Connection, verb: str) -> None:
    for table in _CHAINED:
        connection.exec_driver_sql(f"ALTER TABLE {table.name} {verb} TRIGGER USER")
