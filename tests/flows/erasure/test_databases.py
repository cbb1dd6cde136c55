"""Compaction: after it, no raw byte of a deleted row is in the files of SQLite or PostgreSQL."""

from pathlib import Path

import sqlalchemy as sa

from flows.erasure.databases import compact_postgresql, compact_sqlite
from vitau.catalog.tables import subjects
from vitau.schema import Cohort, Subject

NAME = "an-unmistakable-pseudonym-"


def test_no_byte_of_a_deleted_row_remains_in_any_file_of_the_database(new_catalog):
    catalog = new_catalog()
    for number in range(300):
        catalog.add_subject(Subject(pseudonym=f"{NAME}{number:04d}", cohort=Cohort.PALSY, source="s"))
    folder = folder_of(catalog)
    assert raw_hits(folder) > 0
    with catalog.engine.connect().execution_options(writing=True) as connection, connection.begin():
        connection.execute(sa.delete(subjects).where(subjects.c.pseudonym.startswith(NAME)))
    assert raw_hits(folder) > 0, "a deletion alone leaves the bytes"
    url = catalog.engine.url
    catalog.engine.dispose()
    if url.get_backend_name() == "sqlite":
        compact_sqlite(Path(url.database))
    else:
        assert compact_postgresql(url.render_as_string(hide_password=False)) == []
    assert raw_hits(folder) == 0


def folder_of(catalog) -> Path:
    if catalog.engine.dialect.name == "sqlite":
        return Path(catalog.engine.url.database).parent
    with catalog.engine.connect() as connection:
        folder = Path(connection.scalar(sa.text("SHOW data_directory")))
    with catalog.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("CHECKPOINT"))
    return folder


def raw_hits(folder: Path) -> int:
    found = 0
    for path in folder.rglob("*"):
        if path.is_file():
            try:
                found += path.read_bytes().count(NAME.encode())
            except FileNotFoundError:  # PostgreSQL deletes segments meanwhile
                continue
    return found
