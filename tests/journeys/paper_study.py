"""The steps of a study in the shape of the paper's: from a drafted manifest to scores of new people, through the commands.

Its cameras differ by cohort, so the first decision is a refusal. A named policy accepts them; the model then has a warning.
"""

import csv
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlflow import MlflowClient

from flows.promotion.registered_models import PALSY, REGIONS
from tests.journeys.drawn_study import NUM_CLIPS, NUM_CONTROLS, NUM_PATIENTS, NUM_UNKNOWN, DrawnStudy
from vitau.models.checkpoint import CARD
from vitau.registry import registry
from vitau.registry.bundle import README

CONFOUNDED = "confounded-sources"
WARNING = "Confounded sources: how people were recorded separates palsied people from the others (shortcut probe, AUROC 1.00)"


@dataclass(frozen=True, kw_only=True)
class Workplace:
    """The commands of a study on a store, a catalog and a registry of its own.

    Attributes:
        command: runs ``python -m MODULE ARGUMENTS…``.
        environment: of all commands.
        cohort: the drawn study.
        folder: for outputs.
    """

    command: Callable[..., Any]
    environment: Mapping[str, str]
    cohort: DrawnStudy
    folder: Path
    timeout_s: int = field(default=3000)

    def run(self, *arguments: object, code: int = 0, module: str = "flows", **settings: str) -> Any:
        """Run a command, and check its exit code."""
        done = self.command(module, *arguments, env={**self.environment, **settings}, timeout_s=self.timeout_s)
        assert done.code == code, done.err
        return done

    @property
    def mlflow(self) -> str:
        """Address of the registry."""
        return self.environment["VITAU_MLFLOW_URL"]

    def champions(self) -> list[int | None]:
        """Return the versions of both champions."""
        return [registry.champion(self.mlflow, model) for model in (PALSY, REGIONS)]


def open_workplace(command: Any, services: Any, label_studio: Any, mlflow: str, cohort: DrawnStudy, folder: Path) -> Workplace:
    """Return the workplace of a study beside the session's services, with a Label Studio and an MLflow of its own."""
    environment = services.environment | {
        "VITAU_STORE": (label_studio.state / "store").as_uri(),  # which it may serve
        "VITAU_CATALOG": f"sqlite:///{folder / 'catalog.db'}",
        "VITAU_WORK": str(folder / "work"),
        "VITAU_LABEL_STUDIO_URL": label_studio.url,
        "VITAU_MLFLOW_URL": mlflow,
        "VITAU_IDENTITY_FLOOR": "0.15",  # drawn faces look alike
        "VITAU_IDENTITY_WARNING": "0.15",
    }
    return Workplace(command=command, environment=environment, cohort=cohort, folder=folder)


def freeze_study(place: Workplace) -> str:
    """Draft, ingest, import labels and freeze; return the digest of the snapshot of all patients and controls."""
    manifest = place.cohort.yfp / "manifest.csv"
    place.run("draft-yfp", place.cohort.yfp, manifest)
    with manifest.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert (len(rows), len({row["subject"] for row in rows})) == (NUM_CLIPS, NUM_PATIENTS)
    assert json.loads(place.run("ingest", manifest).out)["clips"] == NUM_CLIPS
    assert json.loads(place.run("ingest", place.cohort.ckplus, "--layout", "ckplus").out)["clips"] == NUM_CONTROLS
    place.run("labels", "import", place.cohort.labels, "--source", "yfp")
    place.run("annotate")
    return str(json.loads(place.run("freeze").out)["snapshot"])


def check_refusal(place: Workplace, snapshot: str, size: str) -> None:
    """Retrain by the default policy: both models are registered, and the probe is the reason why neither is champion."""
    trained = place.run("retrain", snapshot, "--size", size, "--protocol", "lopo")
    for model, outcome in json.loads(trained.out).items():
        assert outcome["shortcut_probe"]["auroc"] == 1, model
        assert f"{model} version 1: refused; champion is none" in trained.err
    assert trained.err.count("shortcut probe, AUROC is 1.000 [1.000, 1.000]: the recordings separate the cohorts") == 2
    assert trained.err.count(needed()) == 2
    assert place.champions() == [None, None]
    named = place.run("promote", PALSY, "1", code=1)
    assert needed() in named.err
    entries = json.loads(place.run("history", "--json").out)
    for entry in entries:
        probe = next(check for check in entry["verdict"]["reasons"] if check["check"] == "shortcut probe")
        assert (entry["action"], entry["after"], entry["problem"]) == ("refused", None, None)
        assert (probe["holds"], probe["numbers"]["challenger"]) == (False, 1)
        assert needed() in probe["sentence"]
        assert entry["evidence"]["kind"] == f"leave one person out, n = {NUM_PATIENTS}"
    assert {entry["model"] for entry in entries} == {PALSY, REGIONS}
    nobody = place.run("score-new", place.cohort.unknown, "--out", place.folder / "refused", code=1)
    assert "champion" in nobody.err
    assert not (place.folder / "refused").exists()


def needed() -> str:
    """Return the end of the sentence with the reason."""
    return f"a champion of such people needs VITAU_POLICY={CONFOUNDED}"


def check_promotion(place: Workplace) -> None:
    """Promote by the policy that accepts confounded sources: the same versions are judged anew, and carry the warning."""
    decided = place.run("promote", VITAU_POLICY=CONFOUNDED)
    assert [(own["version"], own["action"], own["new"]) for own in json.loads(decided.out)] == [(1, "promoted", True)] * 2
    assert place.champions() == [1, 1]
    for model in (PALSY, REGIONS):
        version = MlflowClient(place.mlflow).get_model_version(model, "1")
        assert version.tags["warning"].startswith(WARNING)
        assert version.tags["decision_policy"].endswith(CONFOUNDED)
        assert version.tags["evidence"] == f"leave one person out, n = {NUM_PATIENTS}"
        assert f"**{WARNING}" in version.description


def check_outputs(place: Workplace, snapshot: str) -> None:
    """Score everybody, and new people by the flow and by the pulled model: every output has the warning, sides and regions."""
    page = place.folder / "report.html"
    rescored = json.loads(place.run("rescore", snapshot, "--out", page).out)
    assert any(warning.startswith(WARNING) for warning in rescored["warnings"])
    assert WARNING in page.read_text()
    out = place.folder / "scores"
    scored = json.loads(place.run("score-new", place.cohort.unknown, "--out", out).out)
    assert (scored["people"], scored["skipped"]) == (NUM_UNKNOWN, 0)
    with (out / "people.csv").open(newline="", encoding="utf-8") as file:
        people = list(csv.DictReader(file))
    assert len(people) == NUM_UNKNOWN
    assert all(person["warning"].startswith(WARNING) for person in people)
    text = (out / "report.html").read_text()
    assert WARNING in text
    check_pulled(place)


def check_pulled(place: Workplace) -> None:
    """Pull the champion as a user does, and score new people on this machine."""
    model, out = place.folder / "pulled", place.folder / "by-hand"
    uri = ("--tracking-uri", place.mlflow)
    place.run("pull", f"models:/{REGIONS}@champion", model, *uri, module="vitau.cli")
    assert f"**{WARNING}" in (model / README).read_text()
    for card in (model / "model" / CARD, model / "recognition" / CARD):
        assert json.loads(card.read_text())["warnings"][0].startswith(WARNING)
    done = place.run("score", model, place.cohort.unknown, "--out", out, "--analyze-all", "--json", module="vitau.cli")
    assert f"Warning: {WARNING}" in done.err
    found = json.loads(done.out)
    assert found["warnings"][0].startswith(WARNING)
    assert len(found["people"]) == NUM_UNKNOWN
    assert all(person["side"] in {"right", "left"} and len(person["regions"]) == 8 for person in found["people"])
    assert WARNING in (out / "report.html").read_text()
