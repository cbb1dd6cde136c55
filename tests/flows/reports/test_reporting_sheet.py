"""The reporting sheet has what is recorded, with its place, and marks the rest as not recorded; no service runs."""

import json
import re
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pyarrow as pa
import pytest
from mlflow import MlflowClient

from flows.execution.clip_worker import frames_version
from flows.reports.reporting_sheet import build_reporting_sheet
from flows.retraining.recipes import PlannedTraining
from flows.retraining.registration import register
from flows.workspace import Workspace
from labeling.consensus.agreement import agreement_report
from labeling.consensus.standing_answers import standing_answers
from tests.databases import empty_registry
from tests.flows.workspaces import offline_settings
from vitau.catalog.catalog import FrameTable
from vitau.data import snapshot as snapshots
from vitau.evaluation.metrics import Estimate, RegionMetrics, SideMetrics
from vitau.evaluation.training_result import TrainingResult
from vitau.models.checkpoint import save_model
from vitau.models.vit import ViTConfig, build_vit
from vitau.registry import registry
from vitau.registry.bundle import folder_digest
from vitau.registry.download import pull
from vitau.registry.tracking import EXPERIMENT
from vitau.registry.tripod import ITEMS, NOT_RECORDED, Fact, render
from vitau.schema import AU, AUS, Clip, Cohort, LedgerRow, Side, Stage, Subject

SPLITS = ("train", "train", "val", "test")
TEST = {
    "protocol": "subjects",
    "n_subjects": 2,
    "n_palsied": 1,
    "n_frames": 4,
    **dict.fromkeys(("accuracy", "balanced_accuracy", "f1", "auroc", "ece", "brier"), 0.75),
    **{f"{name}_interval": [0.5, 1.0] for name in ("accuracy", "balanced_accuracy", "f1", "auroc", "ece")},
    "brier_interval": None,
}
METRICS = {
    "kind": "palsy",
    "protocol": "subjects",
    "synthetic": False,
    "ledger_offset": 64,
    "seed": 3,
    "best_epoch": 2,
    "seconds": 12.5,
    "threshold": 0.4321,
    "calibration": {"scale": 1.5, "bias": -0.25},
    "abstention": {"low": 0.2, "high": 0.5, "error": 0.1, "palsied_people": 10, "other_people": 9},
    "run_id": "abc",
    "environment": {"vitau": "9.9", "torch": "8.8", "device": "an abacus"},
    "test": TEST,
}
RESULT = TrainingResult.from_json(METRICS)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """Eight people of two sources, half of them palsied, read by two readers; one of them errs once."""
    folder = tmp_path_factory.mktemp("evidence")
    settings = offline_settings(folder)
    made = Workspace(settings)
    catalog = made.catalog
    for number in range(8):
        cohort, source = (Cohort.PALSY, "yfp") if number % 2 else (Cohort.CONTROL, "ckplus")
        name, clip = f"s{number}", f"{number:064x}"
        catalog.add_subject(Subject(pseudonym=name, cohort=cohort, source=source))
        catalog.add_clip(
            Clip(sha256=clip, subject=name, source=source, suffix=".mp4", licence="research only" if number else None)
        )
        catalog.add_frame_table(
            FrameTable(
                clip=clip,
                recipe=frames_version(),
                key=key(number),
                num_frames=5,
                num_faces=4,
                quarantine_key=f"q{number}",
                quarantined={"blurred": 2, "no_face": 1},
            )
        )
    for reader in ("reader-a", "reader-b"):
        catalog.append_answers([answer(f"s{number}", reader, au) for number in range(1, 8, 2) for au in AUS])
    frozen = snapshots.freeze(pa.Table.from_pylist(rows(), snapshots.snapshot_schema()), made.store, 64)
    catalog.add_snapshot(frozen)
    corrected = replace(answer("s1", "reader-b", AU.AU9), affected=False, version="2")
    catalog.append_answers([corrected])  # after the snapshot: the sheet must not contain it
    yield made, frozen.digest
    catalog.engine.dispose()


def key(number):
    return f"subjects/s{number}/clips/{number:064x}/frames-1.parquet"


def answer(subject, reader, au):
    errs = (subject, reader, au) == ("s1", "reader-b", AU.AU9)
    return LedgerRow(
        subject=subject,
        au=au,
        reader=reader,
        stage=Stage.READER,
        affected=(au is AU.AU12) != errs,
        side=Side.LEFT,
        annotation=f"{subject}-{reader}",
        version="1",
        answered_at="2026-11-23T09:30:00Z",
    )


def rows():
    return [
        {
            "subject": f"s{number}",
            "clip": f"{number:064x}",
            "frame_index": frame,
            "frames_key": key(number),
            "source": "yfp" if number % 2 else "ckplus",
            "cohort": "palsy" if number % 2 else "control",
            "split": SPLITS[number // 2],
            "side": "left" if number % 2 else None,
            **{au.value: (au is AU.AU12) if number % 2 else False for au in AUS},
        }
        for number in range(8)
        for frame in range(2)
    ]


def table(sheet):
    """Item and fact -> value and where."""
    found = {}
    for line in sheet.splitlines():
        if re.match(r"\| \d+[a-g]? ", line):
            item, _, _, about, value, where = (cell.strip() for cell in line.strip("|").split(" | "))
            found[item, about] = value, where
    return found


@pytest.fixture(scope="module")
def sheet(workspace):
    made, digest = workspace
    return table(build_reporting_sheet(made, "vitau-palsy", "tiny-palsy", digest, RESULT, None)), digest


def test_people_clips_and_frames_are_those_of_the_snapshot(sheet):
    found, digest = sheet
    where = f"snapshot {digest[:12]}"
    assert found["12a", "split train"] == ("4 people, 4 clips, 8 frames", where)
    assert found["12a", "split test"] == ("2 people, 2 clips, 4 frames", where)
    assert found["5a", "people by source"] == ("ckplus: 4, yfp: 4", where)
    assert found["13", "people by split and cohort"][0].startswith("test control: 1, test palsy: 1, train control: 2")
    assert found["16", "test: people by source"] == ("ckplus: 1, yfp: 1", where)
    assert found["20b", "train: palsied people by affected side"] == ("left: 2", where)
    assert found["18e", "licences of the clips"] == ("not noted: 1, research only: 7", "catalog, clips")
    assert found["11", "frames left out, by first reason"][0] == "blurred: 16, no_face: 8"
    assert found["20a", "frames of the clips"][0] == "40 sampled, 32 with a face"


def test_readers_agreement_and_rule_are_those_of_the_ledger_at_the_offset(sheet, workspace):
    found, _ = sheet
    ledger = workspace[0].catalog.ledger(upto=64)
    overall = agreement_report(standing_answers(ledger), ["reader-a", "reader-b"]).overall
    value, where = found["8b", "Krippendorff's α, 95 % interval over people"]
    assert value == f"{overall.alpha:.3f} [{overall.alpha_interval[0]:.3f}, {overall.alpha_interval[1]:.3f}]"
    assert where == "label ledger up to offset 64"
    assert found["8b", "blind readers, by pseudonym"][0] == "reader-a, reader-b"
    rule = "unanimous; applied again it gives the frozen labels of 3 of 4 palsied people"
    assert found["8a", "consensus rule"][0] == rule, "the reader who errs leaves one person without an answer"


def test_the_model_and_its_numbers_are_those_of_the_training(sheet):
    found, _ = sheet
    assert found["12c", "seed"] == ("3", "training of tiny-palsy, metrics.json")
    assert "lr 3e-05" in found["12c", "training"][0]
    assert found["12c", "software and hardware"][0] == "vitau 9.9, torch 8.8, device an abacus"
    assert found["15", "threshold"][0] == "0.4321, chosen on validation people"
    assert found["12f", "calibration"][0] == "log-odds × 1.500 -0.250, fitted on validation people"
    assert found["15", "abstention band"][0] == "scores from 0.200 to 0.500 are uncertain, by validation people"
    assert found["23a", "auroc"][0] == "0.750 [0.500, 1.000]"
    assert found["23a", "brier, calibration"][0] == "0.750"
    assert found["22", "run in MLflow"][0] == "abc"


def test_the_sheet_of_a_region_model_names_thresholds_and_sides(workspace):
    made, digest = workspace
    sides = SideMetrics(num_subjects=4, accuracy=Estimate(value=0.75, interval=(0.25, 1.0)), ece=Estimate(value=0.1))
    test = RegionMetrics(num_subjects=4, by_au={}, sides=sides)
    more = {"kind": "regions", "region_thresholds": {"AU1": 0.0123}, "side_scales": {"face": 9.0, "region": 5.0}}
    result = TrainingResult.from_json(METRICS | more | {"test": test.to_json()})
    found = table(build_reporting_sheet(made, "vitau-regions", "tiny-sided", digest, result, None))
    assert found["15", "thresholds of the regions"][0] == "AU1: 0.0123; chosen on validation people"
    assert found["15", "sides"][0].startswith("probability that the right is the affected side, ")
    assert found["23a", "accuracy of the affected side"][0] == "0.750 [0.250, 1.000]"
    assert found["23a", "ece, calibration of the affected side"][0] == "0.100"
    paired = METRICS | more | {"side_scales": None, "test": RegionMetrics(num_subjects=4, by_au={}).to_json()}
    found = table(build_reporting_sheet(made, "vitau-regions", "tiny-regions", digest, TrainingResult.from_json(paired), None))
    assert found["15", "sides"][0] == "not predicted"


def test_the_flow_registers_the_sheet_and_a_pull_brings_it(workspace, tmp_path):
    made, digest = workspace
    uri = f"sqlite:///{shutil.copy(empty_registry(), tmp_path / 'mlflow.db')}"
    MlflowClient(uri).create_experiment(EXPERIMENT, artifact_location=(tmp_path / "artifacts").as_uri())
    config = ViTConfig(input_size=32, patch_size=8, width=32, depth=1, heads=2, stem="conv")
    save_model(tmp_path / "results" / "model", build_vit(config), config, threshold=0.4321, synthetic=False)
    (tmp_path / "results" / "metrics.json").write_text(json.dumps(METRICS))
    registering = Workspace(made.settings.model_copy(update={"mlflow_url": uri, "work": tmp_path / "work"}))
    trained = PlannedTraining(model="vitau-palsy", recipe="base-palsy", snapshot=digest, key="key")
    training = register.fn(registering, trained, tmp_path / "results", None)
    registering.catalog.engine.dispose()
    folder = pull(uri, f"models:/vitau-palsy/{training.version}", tmp_path / "pulled").folder
    sheet = (folder / "EVIDENCE.md").read_text()
    assert table(sheet)["12a", "split test"][0] == "2 people, 2 clips, 4 frames"
    assert MlflowClient(uri).download_artifacts(training.run_id, "EVIDENCE.md", str(tmp_path))
    assert (tmp_path / "EVIDENCE.md").read_text() == sheet
    assert folder_digest(folder) == training.model_digest, "scores are stored under the digest of what was registered"


def test_two_runs_at_once_register_a_training_once(workspace, tmp_path, monkeypatch):
    made, digest = workspace
    config = ViTConfig(input_size=32, patch_size=8, width=32, depth=1, heads=2, stem="conv")
    save_model(tmp_path / "results" / "model", build_vit(config), config, threshold=0.4321, synthetic=False)
    (tmp_path / "results" / "metrics.json").write_text(json.dumps(METRICS))
    trained = PlannedTraining(model="vitau-palsy", recipe="base-palsy", snapshot=digest, key="two at once")
    registering = [Workspace(made.settings.model_copy(update={"work": tmp_path / name})) for name in ("one", "two")]
    calls = []

    def slow(*_arguments, **_options):
        calls.append("registered")
        time.sleep(1)
        return len(calls), "run"

    monkeypatch.setattr(registry, "register", slow)
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda one: register.fn(one, trained, tmp_path / "results", None), registering))
    assert (calls, found[0]) == (["registered"], found[1])
    for one in registering:
        one.catalog.engine.dispose()


def test_a_fact_without_a_record_is_marked_as_not_recorded(workspace):
    made, digest = workspace
    bare = {name: value for name, value in METRICS.items() if name not in {"environment", "run_id", "test"}}
    sheet = build_reporting_sheet(made, "vitau-palsy", "tiny-palsy", digest, TrainingResult.from_json(bare), None)
    found = table(sheet)
    for item, about in [
        ("12c", "software and hardware"),
        ("22", "run in MLflow"),
        ("23a", "performance on test people"),
        ("5b", "dates of the recordings"),
        ("20b", "age, sex, skin, cause and grade of the palsy"),
        ("17", "consent of the clips"),
        ("12c", "weights it started from (sha256)"),
    ]:
        assert found[item, about][0] == NOT_RECORDED, about
    assert {item for item, _ in found} == set(ITEMS), "every item is on the sheet"
    assert re.search(r"Without any record: 2, 3a, 3b, .*18a, .*\(\d+ of 52 items\)\.", sheet)


def test_frames_of_other_code_are_not_described(workspace, monkeypatch):
    made, digest = workspace
    monkeypatch.setattr("flows.reports.reporting_sheet.frames_version", lambda: "another")
    found = table(build_reporting_sheet(made, "vitau-palsy", "tiny-palsy", digest, RESULT, None))
    assert found["7", "preprocessing"][0] == found["6b", "what a frame must be (gate 1)"][0] == NOT_RECORDED


def test_the_sheet_contains_no_pseudonym_of_a_person(workspace):
    made, digest = workspace
    assert not re.search(r"\bs\d\b", build_reporting_sheet(made, "vitau-palsy", "tiny-palsy", digest, RESULT, None))


def test_a_value_without_a_record_is_refused():
    with pytest.raises(ValueError, match="the fact about age has no source: name the place where it is recorded"):
        render("m", [Fact(item="20b", about="age", value="40")], synthetic=False)
    with pytest.raises(ValueError, match="answers item 28, which TRIPOD"):
        render("m", [Fact(item="28", about="age", value=None)], synthetic=False)


def test_a_drawn_population_is_said_on_top_and_bars_do_not_break_the_table():
    sheet = render("m", [Fact(item="1", about="a|b", value="c\nd", where="e")], synthetic=True)
    assert "**Synthetic:" in sheet
    assert "| a\\|b | c d | e |" in sheet
