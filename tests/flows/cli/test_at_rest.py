"""Commands that read the catalog and the store work on a state folder whose services do not run."""

import json
import shutil

import pytest
from typer.testing import CliRunner

from flows.cli import connection
from flows.cli.app import app
from flows.local_stack.state import read_secrets
from tests.databases import empty_catalog
from vitau.catalog.catalog import open_catalog
from vitau.catalog.promotion_log import Action
from vitau.schema import AU, AUS, Cohort, LedgerRow, Side, Stage, Subject

PERSON = "9f3c51d27ab04e68"


@pytest.fixture
def state(tmp_path, monkeypatch):
    """Make a state folder with one labeled person and one decision, as services that were stopped leave it."""
    for name in (*connection.WORKSPACE, "VITAU_MLFLOW_URL", "VITAU_LABEL_STUDIO_URL", "VITAU_SIGNING_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(connection, "export_to_libraries", lambda _: None)
    (tmp_path / "profile").write_text("embedded")
    catalog = open_catalog(f"sqlite:///{shutil.copy(empty_catalog(), tmp_path / 'catalog.db')}")
    catalog.add_subject(Subject(pseudonym=PERSON, cohort=Cohort.PALSY, source="synthetic", synthetic=True))
    catalog.append_answers(
        [
            LedgerRow(
                subject=PERSON, au=au, affected=au is AU.AU12, side=Side.LEFT, reader=reader, annotation=reader, version="1",
                stage=Stage.READER, answered_at="2026-11-30T01:00:00+00:00", lead_time_s=9.0, frames_shown=("c:1",),
            )
            for reader in ("reader-a", "reader-b")
            for au in AUS
        ]
    )  # fmt: skip
    catalog.append_promotion(
        {"model": "vitau-palsy", "version": 1, "action": str(Action.REFUSED), "before": None, "after": None, "by": "test"},
        key=read_secrets(tmp_path)["signing_key"].encode(),
    )
    catalog.engine.dispose()
    return tmp_path


def run(state, *arguments):
    result = CliRunner().invoke(app, [*arguments, "--state", str(state)])
    return result.exit_code, result.stdout, result.stderr


def test_labels_are_read_without_services(state):
    code, out, err = run(state, "labels", "at", "16")
    assert code == 0, err
    assert out.splitlines()[1].split() == [PERSON, "left", *"00000100"]
    workspace = f"store file://{state}/store and catalog sqlite:///{state}/catalog.db"
    assert err == f"Working on {workspace}, in {state}, whose services do not run\n"
    assert run(state, "labels", "stale")[:2] == (0, "no answer is stale\n")
    assert run(state, "labels", "at", "0")[:2] == (0, "nobody has a label yet\n")
    assert json.loads(run(state, "labels", "stale", "--json")[1]) == []
    assert run(state, "labels", "verify")[:2] == (0, "16 rows, 0 broken\n")
    assert run(state, "labels", "export", str(state / "ledger.csv"))[0] == 0


def test_lineage_and_history_are_read_without_services(state):
    code, out, _ = run(state, "lineage", PERSON[:8])
    assert (code, out.split("  ")[0]) == (0, f"subject {PERSON}")
    code, out, err = run(state, "history")
    assert code == 0
    assert "vitau-palsy/1  refused  champion none → none  by test  [signature holds]" in out
    assert "MLflow does not run: the aliases and files of the champions there were not compared with the records" in err


def test_a_command_that_needs_services_says_so(state):
    code, _, _ = run(state, "freeze")
    assert code == 1
