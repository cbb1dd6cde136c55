import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from flows.cli.connection import Connection, Source, export_to_libraries, find_connection, require, resolve, resolve_own
from flows.local_stack import stack
from flows.settings import ROOT, SettingsError
from vitau.catalog.catalog import open_catalog
from vitau.errors import StackError

STACK = {
    "VITAU_STORE": "file:///demo/store",
    "VITAU_CATALOG": "sqlite:////demo/catalog.db",
    "VITAU_PSEUDONYM_KEY": "the key of the demo",
    "VITAU_LABEL_STUDIO_URL": "http://127.0.0.1:1",
    "VITAU_LABEL_STUDIO_TOKEN": "token of the demo",
    "VITAU_MLFLOW_URL": "http://127.0.0.1:2",
    "PREFECT_API_URL": "http://127.0.0.1:3/api",
    "AWS_ACCESS_KEY_ID": "vitau",
}
CLINIC = {
    "VITAU_STORE": "s3://clinic",
    "VITAU_CATALOG": "postgresql+psycopg://vitau:hunter22@db/vitau",
    "VITAU_PSEUDONYM_KEY": "the key of the clinic",
    "VITAU_LABEL_STUDIO_URL": "http://labels.clinic",
    "VITAU_LABEL_STUDIO_TOKEN": "token of the clinic",
    "VITAU_MLFLOW_URL": "http://mlflow.clinic",
    "AWS_ACCESS_KEY_ID": "clinic",
}
DEMO = Path("demo")


@pytest.fixture
def running(tmp_path) -> Path:
    """A state folder on which services seem to run: this process represents all of them."""
    started = psutil.Process().create_time()
    names = ("label-studio", "mlflow", "prefect")
    stack.record_services(
        tmp_path,
        [
            stack.Service(name=name, url=f"http://127.0.0.1:{port}", health="", pid=os.getpid(), started=started)
            for port, name in enumerate(names, start=1)
        ],
    )
    return tmp_path


def test_exported_services_win_over_a_running_stack_and_nothing_of_the_stack_is_mixed_in():
    connection = resolve(CLINIC, STACK, DEMO)
    assert connection.variables == CLINIC
    settings = connection.settings()
    assert connection.sentence(settings) == (
        "Working on store s3://clinic and catalog postgresql+psycopg://vitau:•••@db/vitau, from the environment"
    )
    assert "PREFECT_API_URL" not in connection.variables


@pytest.mark.parametrize("name", ["VITAU_STORE", "VITAU_CATALOG"])
def test_a_store_without_a_catalog_is_no_workspace_even_beside_a_running_stack(name, running, monkeypatch):
    for other in (*STACK, *CLINIC):
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv(name, CLINIC[name])
    with pytest.raises(SettingsError) as caught:
        find_connection(running).settings()
    assert f"the services running in {running} are not used, because {name} is exported" in str(caught.value)
    assert CLINIC[name] not in str(caught.value)


def test_a_running_stack_gives_what_is_not_exported_and_the_line_names_the_exceptions():
    connection = resolve({"VITAU_MLFLOW_URL": "http://other", "VITAU_QUEUE": "7", "AWS_ACCESS_KEY_ID": "mine"}, STACK, DEMO)
    settings = connection.settings()
    assert (settings.mlflow_url, settings.queue, settings.store) == ("http://other", 7, "file:///demo/store")
    assert connection.variables["AWS_ACCESS_KEY_ID"] == "vitau", "keys of another endpoint are of no use for the stack's store"
    assert connection.sentence(settings) == (
        "Working on store file:///demo/store and catalog sqlite:////demo/catalog.db, of the services running in demo; "
        "from the environment: VITAU_MLFLOW_URL"
    )
    assert [connection.source(name) for name in ("VITAU_STORE", "VITAU_MLFLOW_URL", "VITAU_LEASE_S")] == [
        *(Source.STACK, Source.ENVIRONMENT, Source.DEFAULT)
    ]


def test_the_demo_works_on_its_own_services_whatever_is_exported():
    connection = resolve_own(CLINIC, STACK, DEMO)
    settings = connection.settings()
    assert settings.store == "file:///demo/store"
    assert settings.pseudonym_key.get_secret_value() == "the key of the demo"
    assert connection.sentence(settings).endswith(
        "of the services running in demo; not used: the exported VITAU_CATALOG, VITAU_LABEL_STUDIO_TOKEN, "
        "VITAU_LABEL_STUDIO_URL, VITAU_MLFLOW_URL, VITAU_PSEUDONYM_KEY, VITAU_STORE"
    )


def test_without_services_the_sentence_names_both_ways_out():
    with pytest.raises(StackError) as caught:
        require(Connection(variables={}, state=DEMO))
    assert str(caught.value) == "no services run on demo: start them with `make up`, or set VITAU_STORE and its companions"


def test_settings_are_never_exported():
    with pytest.raises(AssertionError, match="pass them as a value"):
        export_to_libraries({"VITAU_STORE": "file:///demo/store"})


def test_a_command_works_on_the_exported_catalog_and_says_so_while_a_stack_runs(running, tmp_path):
    open_catalog(f"sqlite:///{tmp_path / 'mine.db'}").engine.dispose()
    mine = CLINIC | {"VITAU_STORE": (tmp_path / "mine").as_uri(), "VITAU_CATALOG": f"sqlite:///{tmp_path / 'mine.db'}"}
    outside = {name: value for name, value in os.environ.items() if not name.startswith(("VITAU_", "PREFECT_"))}

    def labels(*arguments: object, **exported: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-m", "flows", "labels", *map(str, arguments), "--state", running],
            cwd=ROOT,
            env=outside | exported,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stderr

    code, err = labels("export", tmp_path / "mine.csv", **mine)
    assert (code, err.splitlines()[0]) == (
        0,
        f"Working on store {mine['VITAU_STORE']} and catalog {mine['VITAU_CATALOG']}, from the environment",
    )
    assert not (running / "catalog.db").exists(), "the catalog of the stack was opened"
    code, err = labels("export", tmp_path / "demo.csv")
    store, catalog = (running / "store").as_uri(), f"sqlite:///{running / 'catalog.db'}"
    line = f"Working on store {store} and catalog {catalog}, of the services running in {running}"
    assert (code, err.splitlines()[0]) == (0, line)


def test_one_function_of_the_commands_writes_the_environment():
    writers = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "flows").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        for target in (node.targets if isinstance(node, ast.Assign) else [node.func] if isinstance(node, ast.Call) else [])
        if ast.unparse(target).startswith(("os.environ[", "os.environ.update", "os.environ.setdefault", "os.putenv"))
    }
    # Ray's variables are read when Ray is imported and started, and concern no one else; CUDA's name the GPU that folds leased
    own = {"flows/execution/executor.py", "flows/crossvalidation/crossvalidate.py"}
    assert writers == {"flows/cli/connection.py", *own}


def test_the_line_of_a_password_with_an_at_sign_hides_all_of_it():
    connection = Connection(variables=CLINIC | {"VITAU_CATALOG": "postgresql+psycopg://vitau:p@ss:word@db/vitau"}, state=DEMO)
    line = connection.sentence(connection.settings())
    assert "postgresql+psycopg://vitau:•••@db/vitau" in line
    assert json.dumps(line).count("ss:word") == 0
