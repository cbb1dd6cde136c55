"""The demo through the real commands: undisturbed, killed and resumed, and repeated."""

import csv
import json
import re
import sqlite3
import threading
from contextlib import closing
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import psutil
import pytest
from mlflow import MlflowClient

from flows.local_stack import services as definitions
from flows.local_stack import stack
from flows.local_stack.state import Profile
from vitau.store import open_store

pytestmark = [pytest.mark.journey, pytest.mark.timeout(1800)]

KEYS = {
    *("synthetic", "subjects", "clips", "frames", "detection_rate", "quarantined", "agreement", "adjudicated", "ledger_offset"),
    *("snapshot", "splits", "palsy", "regions", "models", "scored_subjects", "overlays", "report", "seconds"),
}
NUMBERS = {"protocol", "n_subjects", "accuracy", "balanced_accuracy", "f1", "auroc", "auroc_interval"}
PALSIED = 6


@dataclass(frozen=True, kw_only=True)
class Repeated:
    """Results of repeating the finished demo after its services were stopped."""

    stopped: Any
    survivors: list[psutil.Process]
    run: Any
    before: dict[str, Any]
    after: dict[str, Any]
    held_before: dict[str, Any]
    held_after: dict[str, Any]


@pytest.fixture(scope="module")
def repeated(demos, command):
    state = demos.killed
    before, held_before = summary(state), held(state)
    family = family_of(state)
    stopped = command("flows", "down", "--state", state)
    _, survivors = psutil.wait_procs(family, timeout=20)
    run = command("flows", "demo", "--state", state, "--subjects", 12, "--size", "smoke")
    after, left = summary(state), stack.running(state)
    assert left == [], "the demo started the services and did not stop them"
    return Repeated(
        stopped=stopped,
        survivors=survivors,
        run=run,
        before=before,
        after=after,
        held_before=held_before,
        held_after=held(state),
    )


def summary(state) -> dict[str, Any]:
    return json.loads((state / "summary.json").read_text())


def results(state) -> dict[str, Any]:
    return {name: value for name, value in summary(state).items() if name not in {"seconds", "report"}}


def objects(state) -> set[str]:
    """Return the keys in the store, without people of other tests (p1, p2, …) and with times replaced."""
    keys = open_store(state / "store").keys()
    kept = (key for key in keys if not PurePath(key).match("subjects/p?/keyframes/*"))
    return {re.sub(r"/\d{8}T\d{6}\.\d+Z/", "/TIME/", key) for key in kept}


def held(state) -> dict[str, Any]:
    """Count the demo's rows in the databases of the services and the catalog, whether the services run or not."""
    with closing(sqlite3.connect(state / "label-studio" / "label_studio.sqlite3")) as label_studio:
        projects = label_studio.execute(
            "SELECT title, count(DISTINCT task.id), count(DISTINCT task_completion.task_id) FROM project "
            "JOIN task ON task.project_id = project.id LEFT JOIN task_completion ON task_completion.task_id = task.id "
            "WHERE title LIKE 'ViTAU %' GROUP BY project.id ORDER BY title"
        ).fetchall()
    registry = MlflowClient(f"sqlite:///{state / 'mlflow' / 'mlflow.db'}")
    versions = {
        model.name: ([version.version for version in registry.search_model_versions(f"name = '{model.name}'")], model.aliases)
        for model in registry.search_registered_models()
    }
    with closing(sqlite3.connect(state / "catalog.db")) as catalog:
        tables = [
            name
            for (name,) in catalog.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '%\\_%' ESCAPE '\\'"
            )
        ]
        rows = {name: catalog.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in tables}  # noqa: S608 - our tables
    return {"projects": projects, "versions": versions, "rows": rows, "objects": objects(state)}


def family_of(state) -> list[psutil.Process]:
    parents = [psutil.Process(service.pid) for service in stack.running(state)]
    return [*parents, *(child for parent in parents for child in parent.children(recursive=True))]


def test_the_demo_prints_its_results_and_where_they_are(demos):
    for state, run in zip((demos.whole, demos.killed), demos.runs, strict=True):
        assert run.code == 0, run.err
        found = summary(state)
        assert set(found) >= KEYS
        assert (found["synthetic"], found["subjects"], found["clips"], found["skipped"]) == (True, 12, 12, 0)
        assert found["splits"] == {"train": 8, "val": 2, "test": 2}
        assert set(found["palsy"]) >= NUMBERS
        assert set(found["regions"]) >= {"protocol", "n_subjects", "accuracy", "auroc", "auroc_interval", "by_au"}
        assert len(found["regions"]["by_au"]) == 8
        assert found["models"] == {"vitau-palsy": 1, "vitau-regions": 1}
        assert found["scored_subjects"] == 2
        assert found["report"] == f"{state}/report.html"
        assert run.err.splitlines()[0] == "Drawing 12 people (synthetic: nobody is real) while the services start …"
        assert f"Report: {state}/report.html   Summary: {state}/summary.json" in run.err
        assert "Traceback" not in run.err


def test_a_run_killed_three_times_ends_with_the_results_of_an_undisturbed_one(demos):
    assert results(demos.killed) == results(demos.whole)
    assert objects(demos.killed) == objects(demos.whole)


def test_nothing_is_entered_twice(repeated):
    held_now = repeated.held_after
    tasks = {"ViTAU adjudication": repeated.after["adjudicated"], "ViTAU reader-a": PALSIED, "ViTAU reader-b": PALSIED}
    assert held_now["projects"] == [(project, people, people) for project, people in tasks.items()]  # all of them answered
    assert held_now["versions"] == dict.fromkeys(("vitau-palsy", "vitau-regions"), ([1], {"champion": 1}))
    answers = 2 * PALSIED + repeated.after["adjudicated"]
    assert held_now["rows"] | {"subjects": 12, "clips": 12, "ledger": 8 * answers, "labels": 8 * PALSIED} == held_now["rows"]


def test_the_second_run_finds_everything_done_and_reports_it(repeated):
    assert repeated.run.code == 0, repeated.run.err
    assert (
        "Everything was there already: nothing was ingested, labeled, trained, registered or scored again." in repeated.run.err
    )
    same = [{name: value for name, value in found.items() if name != "seconds"} for found in (repeated.before, repeated.after)]
    assert same[0] == same[1]
    assert repeated.held_after == repeated.held_before


def test_up_prints_the_addresses_and_down_leaves_no_process(services, repeated):
    lines = services.printed.out.splitlines()
    addresses = {service.name: service.url for service in stack.running(services.state)}
    assert lines == [
        *(f"{name:13} {addresses[name]}" for name in definitions.names(Profile.EMBEDDED)),
        "log-in to Label Studio: annotator@vitau.local  only-for-these-tests",
        "log-in to MLflow: vitau  opens the mlflow of these tests only",
        "log-in to MLflow, models only: reader  reads the models of these tests only",
        "log-in to Prefect: vitau:opens the prefect of these tests only",
        f"trainings: {addresses['mlflow']}/#/experiments?workflowType=machine_learning",
        f"models: {addresses['mlflow']}/#/models",
        f"runs of flows: {addresses['prefect']}/runs",
    ]
    assert (repeated.stopped.code, repeated.stopped.err) == (0, "stopped label-studio, mlflow, prefect\n")
    assert repeated.survivors == []


def test_nothing_that_is_stored_names_a_person(demos):
    with (demos.whole / "cohort" / "manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    names = {row["subject"] for row in rows}
    assert len(names) == 12
    assert all(name in row["clip"] for name, row in zip(sorted(names), rows, strict=True))
    for state in (demos.whole, demos.killed):
        kept = [path for path in state.rglob("*") if path.is_file() and "cohort" not in path.parts]
        assert {"prefect.db", "mlflow.db", "catalog.db", "label_studio.sqlite3", "mlflow.log"} <= {path.name for path in kept}
        named = [
            path for path in kept if any(name.encode() in path.read_bytes() for name in names) or "synthetic-" in path.name
        ]
        assert named == []


def test_runs_are_named_after_what_ran_and_each_flow_has_its_summary(demos):
    snapshot = summary(demos.whole)["snapshot"]
    with closing(sqlite3.connect(demos.whole / "prefect" / "prefect.db")) as database:
        runs = set(database.execute("SELECT flow.name, flow_run.name FROM flow_run JOIN flow ON flow.id = flow_run.flow_id"))
        pages: dict[str, str] = {}  # all of a key: other journeys ingest with the same services
        for key, data in database.execute("SELECT key, data FROM artifact WHERE type = 'markdown'"):
            pages[key] = pages.get(key, "") + data
    named = {"demo": "demo smoke", "ingest": "ingest manifest", "freeze": "freeze", "annotate": "annotate"}
    named |= {"retrain": f"retrain {snapshot[:8]} smoke", "rescore": f"rescore {snapshot[:8]}"}
    assert named.items() <= runs
    assert {f"{flow}-summary" for flow in named} <= pages.keys()
    assert "vitau-regions version 1, recipe smoke-" in pages["retrain-summary"]
    assert "| clips | 12 |" in pages["ingest-summary"]


def test_a_run_shows_few_metrics_with_the_rest_as_files_and_figures(demos):
    registry = MlflowClient(f"sqlite:///{demos.whole / 'mlflow' / 'mlflow.db'}")
    for model in ("vitau-palsy", "vitau-regions"):
        run = registry.get_run(registry.get_model_version(model, "1").run_id)
        results = [name for name in run.data.metrics if name.startswith(("test.", "shortcut_probe.", "val."))]
        assert 0 < len(results) <= 12
        assert run.data.tags["mlflow.note.content"].startswith(f"# {model}")
        kept = {path.name for path in (demos.whole / "mlflow" / "artifacts").rglob(f"{run.info.run_id}/artifacts/*")}
        assert {"metrics.json", "metrics.csv", "figures"} <= kept


def test_the_report_opens_in_a_browser_with_every_picture(demos, chromium, tmp_path):
    seen: dict[str, Any] = {}
    thread = threading.Thread(target=open_report, args=(chromium, demos.whole / "report.html", tmp_path / "report.png", seen))
    thread.start()
    thread.join(120)
    assert "Synthetic" in seen["text"]
    assert "Facial palsy: people held out from training" in seen["text"]
    assert seen["pictures"] > 0
    assert seen["broken"] == []
    assert seen["errors"] == []
    assert (tmp_path / "report.png").stat().st_size > 10_000
    assert f"{PALSIED} people" in seen["labeling"]
    assert "reader-a" in seen["labeling"]


def open_report(chromium, page_path, screenshot, seen: dict[str, Any]) -> None:
    """Open a page in a real browser and record what it shows."""
    errors: list[str] = []
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("requestfailed", lambda request: errors.append(request.url))
        page.goto(page_path.as_uri())
        page.screenshot(path=screenshot, full_page=True)
        pictures = page.evaluate("Array.from(document.images, image => [image.alt, image.complete && image.naturalWidth > 0])")
        seen |= {
            "text": page.inner_text("body"),
            "pictures": len(pictures),
            "broken": [alt for alt, whole in pictures if not whole],
            "errors": errors,
        }
        page.click("text=labeling progress")
        seen["labeling"] = page.inner_text("body")


def test_the_ingest_of_the_demo_measured_everyone(demos, command, tmp_path):
    done = command("flows", "measures", "--state", demos.whole, "--out", tmp_path / "measures", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out) == {"measured_clips": 0, "skipped_clips": 0, "people": 12, "skipped": 0}
    with (tmp_path / "measures" / "people.csv").open(newline="") as file:
        assert all(row["side"] and row["asymmetry"] for row in csv.DictReader(file))
