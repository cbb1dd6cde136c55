import json
from pathlib import Path

from typer.testing import CliRunner

from flows.cli.app import app
from flows.cli.connection import resolve
from flows.cli.operations import config_entries
from flows.settings import Settings

STACK = {
    "VITAU_STORE": "file:///demo/store",
    "VITAU_CATALOG": "postgresql+psycopg://vitau:hunter22@127.0.0.1:5/vitau",
    "VITAU_PSEUDONYM_KEY": "the key of the demo",
    "VITAU_LABEL_STUDIO_URL": "http://127.0.0.1:1",
    "VITAU_LABEL_STUDIO_TOKEN": "token of the demo",
    "VITAU_MLFLOW_URL": "http://127.0.0.1:2",
    "PREFECT_API_URL": "http://127.0.0.1:3/api",
}


def test_every_setting_is_listed_with_its_origin_and_no_secret_is_printed():
    connection = resolve({"VITAU_QUEUE": "7", "VITAU_WEBHOOK_SECRET": "a secret of the operator"}, STACK, Path("demo"))
    entries = {entry.variable: entry for entry in config_entries(connection, connection.settings())}
    assert set(entries) == {f"VITAU_{field.upper()}" for field in Settings.model_fields} | {"PREFECT_API_URL"}
    assert {
        name: (entries[f"VITAU_{name}"].value, entries[f"VITAU_{name}"].source) for name in ("QUEUE", "STORE", "LEASE_S")
    } == {
        "QUEUE": (7, "environment"),
        "STORE": ("file:///demo/store", "running stack"),
        "LEASE_S": (60, "default"),
    }
    assert entries["VITAU_CATALOG"].value == "postgresql+psycopg://vitau:•••@127.0.0.1:5/vitau"
    assert entries["VITAU_SIGNING_KEY"].value is None
    printed = repr(entries)
    for secret in ("hunter22", "the key of the demo", "token of the demo", "a secret of the operator"):
        assert secret not in printed


def test_the_settings_are_printed_as_a_table_and_as_json(monkeypatch):
    for name, value in STACK.items():
        monkeypatch.setenv(name, value)
    result = CliRunner().invoke(app, ["config", "--json"])
    assert result.exit_code == 0, result.stderr
    first, *_ = json.loads(result.stdout)
    assert first == {"variable": "VITAU_STORE", "value": "file:///demo/store", "source": "environment"}
    table = CliRunner().invoke(app, ["config"]).stdout
    assert table.splitlines()[0].split() == ["variable", "value", "source"]
    assert "the key of the demo" not in table + result.stdout
