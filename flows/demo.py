"""The demo flow, the main job on drawn people: ingest, label, freeze, train, score, report."""

import csv
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from flows.annotate import AnnotateSummary, annotate
from flows.annotation.push_tasks import open_projects
from flows.erasure.keys import open_keys
from flows.execution.identities import known_name, names_of
from flows.freeze import freeze
from flows.ingest import IngestSummary, ingest
from flows.promotion.registered_models import PALSY, REGIONS, training_result
from flows.reports.run_summary import publish_summary
from flows.rescore import RescoreSummary, fetch_champion, rescore
from flows.retrain import retrain
from flows.settings import Settings
from flows.workspace import PrivatePath, Workspace, open_workspace
from labeling.label_studio import simulated_readers
from vitau.catalog.catalog import Training
from vitau.catalog.rekeying.keys import PseudonymKeys
from vitau.evaluation.training_result import Pretraining
from vitau.judging.judges import folder_digest
from vitau.judging.styles import NUM_PEOPLE, compare_styles
from vitau.progress import stopwatch
from vitau.schema import AUS, Cohort, RegionLabels, Side, Snapshot
from vitau.scoring.predict import Predictor
from vitau.store.atomic import write_atomic

SEED: Final = 7
SOURCE: Final = "synthetic"
NUM_PEOPLE_PER_LEFT: Final = 16


@flow(name="demo", flow_run_name="demo {size}", validate_parameters=False, on_completion=[publish_summary])
def demo(state: PrivatePath, cohort: PrivatePath, size: str, settings: Settings) -> dict[str, Any]:
    """Run the main job on a drawn cohort and return its summary."""
    workspace = open_workspace(settings)
    seconds: dict[str, float] = {}
    offset = workspace.catalog.ledger_offset()
    with stopwatch(seconds, "ingest"):
        ingested = ingest(PrivatePath(cohort.path / "manifest.csv"), settings=settings)
    with stopwatch(seconds, "annotate"):
        labeled = simulate_labeling(workspace, cohort.path / "truth.csv")
    with stopwatch(seconds, "freeze"):
        snapshot = freeze(settings=settings)
    known = {training.key for training in workspace.catalog.trainings()}
    with stopwatch(seconds, "train"):
        trained = retrain(snapshot.digest, size, settings=settings)
    with stopwatch(seconds, "score"):
        scored = rescore(snapshot.digest, report=PrivatePath(state.path / "report.html"), settings=settings)
    with stopwatch(seconds, "styles"):
        styles = judge_styles(workspace, fetch_champion(workspace), len(workspace.catalog.subjects()))
    seconds["pretraining_once"] = max(pretraining(training).seconds for training in trained.values())
    new = count_new(ingested, labeled.ledger_offset - offset, known, trained, scored)
    summary = summarize(workspace, ingested, labeled, snapshot, trained, scored)
    num_patients = sum(subject.cohort is Cohort.PALSY for subject in workspace.catalog.subjects())
    summary["left_to_label"] = num_patients - labeled.labeled
    return summary | {"styles": styles, "seconds": seconds, "new": new}


def count_new(
    ingested: IngestSummary,
    num_answers: int,
    known: Collection[str],
    trained: Mapping[str, Training],
    scored: RescoreSummary,
) -> int:
    """Count what a run of the demo added: clips, answers of all rounds, trainings whose key was not known, and scored people.

    A training counts also if its model was refused, and so nobody was scored by it.
    """
    num_trained = sum(training.key not in known for training in trained.values())
    return ingested.new_clips + num_answers + num_trained + scored.new_subjects


def simulate_labeling(workspace: Workspace, truth: Path) -> AnnotateSummary:
    """Run two simulated readers and a simulated adjudicator in Label Studio, between runs of the real flow."""
    settings = workspace.settings
    truths = read_truth(truth, open_keys(workspace), workspace.catalog.pseudonyms())
    for name in left_to_label(truths):
        del truths[name]
    annotate(settings=settings)
    while simulate_readers(workspace, truths):
        annotate(settings=settings)  # refills the queues
    simulate_adjudicator(workspace, truths)
    return annotate(settings=settings)


def left_to_label(truths: Collection[str]) -> list[str]:
    """Return the last drawn patients, which nobody labels so that a person can: one of 16, five of the demo's 80."""
    return list(truths)[len(truths) - len(truths) // NUM_PEOPLE_PER_LEFT :]


@task(cache_policy=NO_CACHE)
def judge_styles(workspace: Workspace, champion: Path, num_subjects: int) -> dict[str, Any]:
    """Judge the champion on other drawn people, in style and out of style, once per model; a small demo draws fewer of them."""
    num_people = min(NUM_PEOPLE, num_subjects // 2 * 2)
    found = workspace.folder("styles") / f"{folder_digest(champion)[:16]}-{num_people}.json"
    if not found.exists():
        write_atomic(found, json.dumps(compare_styles(Predictor(champion), num_people)) + "\n")
    result: dict[str, Any] = json.loads(found.read_text(encoding="utf-8"))
    return result


@task(cache_policy=NO_CACHE)
def simulate_readers(workspace: Workspace, truths: dict[str, RegionLabels]) -> int:
    """Answer all open tasks of both readers, most of them correctly; return their number."""
    client = workspace.label_studio
    readers, _ = open_projects.fn(workspace)
    return sum(simulated_readers.answer_open_tasks(client, reader, truths, seed=SEED) for reader in readers)


@task(cache_policy=NO_CACHE)
def simulate_adjudicator(workspace: Workspace, truths: dict[str, RegionLabels]) -> None:
    """Answer all open tasks of the adjudicator, nearly all correctly."""
    _, adjudication = open_projects.fn(workspace)
    simulated_readers.answer_open_tasks(
        workspace.label_studio, adjudication, truths, seed=SEED, accuracy=simulated_readers.ADJUDICATOR_ACCURACY
    )


def read_truth(path: Path, keys: PseudonymKeys, known: Collection[str] = ()) -> dict[str, RegionLabels]:
    """Read the true labels of the drawn patients, by pseudonym."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["palsied"] == "1"]
    truths = {}
    for row in rows:
        name = known_name(keys, SOURCE, row["subject"], known) or names_of(keys, SOURCE, row["subject"])[0]
        truths[name] = RegionLabels(subject=name, affected={au: row[au] == "1" for au in AUS}, side=Side(row["side"]))
    return truths


def summarize(
    workspace: Workspace,
    ingested: IngestSummary,
    labeled: AnnotateSummary,
    snapshot: Snapshot,
    trained: Mapping[str, Training],
    scored: RescoreSummary,
) -> dict[str, Any]:
    """Return the summary: counts, digests, and the metrics on the test people, each with its protocol."""
    return {
        "synthetic": snapshot.synthetic,
        "readers": "simulated",
        "subjects": len(workspace.catalog.subjects()),
        "clips": ingested.clips,
        "frames": ingested.frames,
        "detection_rate": round(ingested.detection_rate, 4),
        "quarantined": dict(ingested.quarantined),
        "skipped": len(ingested.skipped),
        "agreement": labeled.agreement and round(labeled.agreement, 4),
        "krippendorff_alpha": labeled.alpha and round(labeled.alpha, 4),
        "adjudicated": labeled.adjudicated,
        "ledger_offset": labeled.ledger_offset,
        "snapshot": snapshot.digest,
        "splits": {split.value: number for split, number in snapshot.subjects.items()},
        "palsy": test_metrics(trained[PALSY]),
        "regions": test_metrics(trained[REGIONS]),
        "pretrained_on_drawn_people": {name: pretraining(training).drawn_people for name, training in trained.items()},
        "models": {name: training.version for name, training in trained.items()},
        "scored_subjects": scored.subjects,
        "overlays": scored.overlays,
        "not_scored": scored.not_scored,
    }


def test_metrics(training: Training) -> dict[str, Any]:
    """Return the metrics on test people as the summary stores them."""
    test = training_result(training).test
    assert test is not None, "the drawn cohort has test people"
    return test.to_json()


def pretraining(training: Training) -> Pretraining:
    """Return the size and duration of a model's pretraining."""
    found = training_result(training).pretraining
    assert found is not None, "every recipe of the demo is pretrained"
    return found
