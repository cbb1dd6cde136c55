import csv
import json
import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vitau.errors import RegistryError
from vitau.evaluation.crossvalidation.shortcuts import ShortcutProbe
from vitau.evaluation.explanations.results import ExplanationMetrics, Explanations
from vitau.evaluation.metrics import CascadeMetrics, Estimate, PalsyMetrics, RegionMetrics, RegionSideMetrics, SideMetrics
from vitau.registry import packaging, registry
from vitau.registry.bundle import folder_digest
from vitau.registry.model_card import model_card
from vitau.registry.tracking import failure
from vitau.scoring.predict import Predictor

PROBE = ShortcutProbe(
    auroc=Estimate(value=0.95, interval=(0.9, 1.0)),
    num_people=51,
    num_palsied=21,
    by_column={"saturation": 1.0, "sharpness": 0.8},
)
LOW = Estimate(value=0.61)
METRICS = {
    "test": {"auroc": 0.8, "auroc_interval": [0.7, 0.9], "n_subjects": 30, "f1": None, "protocol": "subjects"},
    "best_epoch": 4,
}


def test_a_folder_is_registered_only_once(tracking_uri, registered, make_bundle):
    name, folder, version, run_id = registered
    assert registry.register(tracking_uri, name, folder, metrics=METRICS, lineage={}) == (version, run_id)
    other, _ = registry.register(tracking_uri, name, make_bundle(0.6, seed=1), metrics=METRICS, lineage={})
    assert other == version + 1


def test_a_downloaded_folder_equals_the_registered_one_and_has_its_card_and_metrics(tracking_uri, registered, tmp_path):
    name, folder, _, _ = registered
    pulled = registry.download(tracking_uri, f"models:/{name}@champion", tmp_path)
    assert Predictor(pulled).digest == Predictor(folder).digest
    assert folder_digest(pulled) == folder_digest(folder)
    assert "**Synthetic: this model was trained on drawings of faces." in (pulled / "README.md").read_text()
    assert "- auroc on test people: 0.8 (95 % interval over people 0.70 to 0.90)" in (pulled / "README.md").read_text()
    assert json.loads((pulled / "metrics.json").read_text()) == METRICS["test"]
    shutil.rmtree(tmp_path / "code")
    assert not list(tmp_path.rglob("*.pkl")), "something was pickled"


def test_run_and_version_have_the_lineage_and_the_metrics(tracking_uri, registered):
    from mlflow import MlflowClient

    name, _, version, run_id = registered
    client = MlflowClient(tracking_uri)
    run = client.get_run(run_id)
    auroc = {"test.auroc": 0.8, "test.auroc_interval.low": 0.7, "test.auroc_interval.high": 0.9}
    assert run.data.metrics == {**auroc, "test.n_subjects": 30.0}
    assert run.data.tags["mlflow.note.content"].startswith(f"# {name}")
    assert "one run each" in client.get_experiment(run.info.experiment_id).tags["mlflow.note.content"]
    assert "python -m flows lineage DIGEST" in client.get_registered_model(name).description
    with Path(client.download_artifacts(run_id, "metrics.csv")).open(newline="") as file:
        assert dict(csv.reader(file)) == {"metric": "value", "best_epoch": "4.0", "test.n_subjects": "30.0"} | {
            metric: str(value) for metric, value in auroc.items()
        }
    registry.log_figures(tracking_uri, run_id, {"roc": "<svg/>"})
    assert [file.path for file in client.list_artifacts(run_id, "figures")] == ["figures/roc.svg"]
    found = client.get_model_version(name, str(version))
    assert (found.tags["snapshot"], found.tags["synthetic"], run.data.tags["ledger_offset"]) == ("5" * 64, "true", "120")


def test_requirements_are_pinned_and_only_the_code_that_scoring_needs_is_shipped(tracking_uri, registered, tmp_path):
    registry.download(tracking_uri, f"models:/{registered[0]}/{registered[2]}", tmp_path)
    requirements = (tmp_path / "requirements.txt").read_text().split()
    assert {line.split("==")[0] for line in requirements} == set(packaging.REQUIREMENTS)
    assert all("==" in line for line in requirements)
    package = tmp_path / "code" / "vitau"
    assert sorted(path.relative_to(package).as_posix() for path in package.rglob("*.py")) == sorted(packaging.SHIPPED)


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("models:/{name}/99", "no version 99 of {name}; there are 1"),
        ("models:/{name}@challenger", "no alias challenger of {name}; there are champion"),
        ("models:/nothing/1", "no model nothing in the registry; there are {models}"),
        ("models:/{name}", "models:/{name} is not the address of a model: write models:/NAME@champion or models:/NAME/VERSION"),
    ],
)
def test_an_error_names_what_is_missing_and_what_exists(tracking_uri, registered, tmp_path, uri, message):
    from mlflow import MlflowClient

    name, models = registered[0], sorted(model.name for model in MlflowClient(tracking_uri).search_registered_models())
    with pytest.raises(RegistryError) as error:
        registry.download(tracking_uri, uri.format(name=name), tmp_path)
    assert str(error.value).split(", 2")[0] == message.format(name=name, models=", ".join(models))


def test_only_an_existing_version_can_become_champion(tracking_uri, registered):
    with pytest.raises(RegistryError, match=f"^no version 99 of {registered[0]}; there are 1"):
        registry.set_champion(tracking_uri, registered[0], 99)
    assert registry.champion(tracking_uri, registered[0]) == registered[2]
    assert registry.champion(tracking_uri, "nothing") is None


UNREACHABLE = """API request to http://nosuch/api failed with exception HTTPConnectionPool(host='nosuch', port=80): Max retries
exceeded with url: /api (Caused by NameResolutionError("HTTPConnection(host='nosuch', port=80): Failed to resolve 'nosuch'
([Errno -2] Name or service not known)"))"""
REFUSED = "API request to endpoint /x failed with error code {status} != 200. Response body: '{body}'"
LONG = "Names cannot contain '/' or ':'. " * 9 + "Choose another."


@pytest.mark.parametrize(
    ("raised", "sentence"),
    [
        (UNREACHABLE, "cannot be reached (Name or service not known): start it, or correct its address"),
        (
            REFUSED.format(status=401, body="You are not authenticated."),
            "does not accept the log-in: set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD",
        ),
        (
            REFUSED.format(status=403, body="reader may read models and not change them"),
            "refuses the request (403): reader may read models and not change them",
        ),
        (
            REFUSED.format(status=404, body="<!doctype html>\n<html lang=en>"),
            "answers 404 with a web page: correct its address",
        ),
        (f"INVALID_PARAMETER_VALUE: {LONG}", f"refuses the request: {LONG}"),
    ],
)
def test_what_the_registry_refuses_is_a_whole_sentence(raised, sentence):
    from mlflow.exceptions import MlflowException

    assert failure(MlflowException(raised)) == sentence


def test_an_unreachable_registry_is_an_error_within_seconds(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    start = time.monotonic()
    with pytest.raises(
        RegistryError,
        match=r"^the model registry at http://127\.0\.0\.1:9 cannot be reached \(Connection refused\): start it, or correct "
        r"its address$",
    ):
        registry.download("http://127.0.0.1:9", "models:/vitau-regions@champion", tmp_path)
    assert time.monotonic() - start < 20


def test_a_version_of_confounded_people_has_the_warning_in_its_tags_and_on_its_card(tracking_uri, make_bundle):
    from mlflow import MlflowClient

    metrics = {"shortcut_probe": PROBE.to_json(), "test": {"within_source": {"by_source": {"Klinik “A”/B": {"auroc": 0.5}}}}}
    version, run_id = registry.register(tracking_uri, "confounded", make_bundle(0.4, seed=5), metrics=metrics, lineage={})
    client = MlflowClient(tracking_uri)
    found = client.get_model_version("confounded", str(version))
    assert (found.tags["shortcut_probe_auroc"], found.tags["warning"]) == ("0.950", PROBE.warning)
    assert f"**{PROBE.warning}**" in found.description
    run = client.get_run(run_id)
    assert run.data.metrics["shortcut_probe.auroc"] == 0.95
    table = Path(client.download_artifacts(run_id, "metrics.csv")).read_text()
    assert "test.within_source.by_source.Klinik _A__B.auroc,0.5" in table


def test_the_card_has_the_shortcut_probe_beside_the_auroc_of_the_model():
    test = {"n_subjects": 30, "n_palsied": 15, "auroc": 0.98}
    card = model_card("vitau-palsy", {"test": test, "shortcut_probe": replace(PROBE, auroc=LOW).to_json()}, {})
    lines = card.splitlines()
    about = "auroc of the cohort from how people were recorded (21 palsied people and 30 others, out-of-fold)"
    assert lines[lines.index("- auroc on test people: 0.98") + 1] == f"- shortcut probe, {about}: 0.61"
    assert "- nuisance columns that say most alone: saturation 1.00, sharpness 0.80" in lines
    assert "Confounded" not in card
    few = replace(PROBE, auroc=Estimate(), num_people=9, num_palsied=4)
    card = model_card("vitau-palsy", {"shortcut_probe": few.to_json()}, {})
    assert "- shortcut probe: undefined for 4 palsied people and 5 others; 5 of each are needed" in card.splitlines()


def test_the_card_has_the_auroc_within_sources_or_the_reason_why_there_is_none():
    own = {"n_subjects": 9, "n_palsied": 4, "auroc": 0.6}
    mixed = {"n_sources": 2, "auroc": 0.7, "auroc_interval": [0.5, 0.9], "by_source": {"yfp": own}}
    lines = model_card("vitau-palsy", {"test": {"n_subjects": 30, "within_source": mixed}}, {}).splitlines()
    assert "- auroc within sources with both cohorts: 0.7 (95 % interval over people 0.50 to 0.90)" in lines
    assert "- auroc within yfp (4 palsied of 9 people): 0.6" in lines
    apart = {"n_sources": 2, "by_source": {}}
    lines = model_card("vitau-palsy", {"test": {"n_subjects": 30, "within_source": apart}}, {}).splitlines()
    assert "- auroc within a source: undefined, none of 2 sources has both cohorts" in lines


def test_the_card_names_the_pretraining():
    card = model_card("vitau-palsy", {"pretraining": {"drawn_people": 9000, "seconds": 1.0}}, {"synthetic": "true"})
    assert "- pretrained on 9000 drawn people who are in no data set" in card.splitlines()


def test_the_card_names_the_weights_that_a_training_started_from():
    card = model_card("vitau-regions", {"weights": ["0" * 64, "1" * 64]}, {})
    named = [line for line in card.splitlines() if "weights with the sha256" in line]
    assert named == [f"- started from weights with the sha256 {digit * 64}" for digit in "01"]


def test_the_card_says_how_recognition_decides():
    band = {"low": 0.2, "high": 0.6, "error": 0.1, "palsied_people": 10, "other_people": 12}
    rule = {"threshold": 0.5, "calibration": {"scale": 1.25, "bias": -0.5}, "abstention": band}
    card = model_card("vitau-palsy", {}, {}, rule).splitlines()
    assert "- calibration, fitted on 10 palsied and 12 other validation people: log-odds × 1.25 -0.5" in card
    assert "- uncertain from 0.200 to 0.600: beyond, at most 10% of each class of such people are wrong" in card
    assert not any("calibration" in line for line in model_card("vitau-palsy", {}, {}, {"threshold": 0.5}).splitlines())


def test_the_card_says_what_both_models_find_together():
    cascade = CascadeMetrics(
        num_subjects=30,
        num_palsied=12,
        by_au={},
        false_alarms=Estimate(value=0.11, interval=(0.05, 0.2)),
        missed=Estimate(value=0.25),
    )
    test = RegionMetrics(num_subjects=12, by_au={}, cascade=cascade).to_json()
    card = model_card("vitau-regions", {"test": test}, {}).splitlines()
    assert "- both models together, on 12 palsied people and 18 others:" in card
    assert "  - others who get an affected region: 0.110 [0.05, 0.20]" in card
    assert "  - palsied people whose regions are not analyzed: 0.250" in card


def test_the_card_of_a_region_model_names_what_it_predicts_about_sides_and_how_well():
    sides = SideMetrics(num_subjects=15, accuracy=Estimate(value=14 / 15, interval=(0.8, 1.0)), ece=Estimate(value=0.04))
    each = RegionSideMetrics(num_subjects=16, ece=Estimate(value=0.05))
    accuracy = Estimate(value=0.825, interval=(0.75, 0.9))
    test = RegionMetrics(num_subjects=16, accuracy=accuracy, by_au={}, sides=sides, region_sides=each)
    metrics = {"kind": "regions", "region_thresholds": {"AU1": 0.1}, "side_scales": {"face": 9.0, "region": 5.0}}
    lines = model_card("vitau-regions", {**metrics, "test": test.to_json()}, {}).splitlines()
    assert lines[4:9] == [
        "- n subjects on test people: 16",
        "- accuracy, mean of 8 regions, on test people: 0.825 (95 % interval over people 0.75 to 0.90)",
        "- a region is affected above its own threshold, which was chosen on validation people",
        "- side: named for the face and for each region, with probabilities fitted to validation people",
        "- side named correctly for 14 of 15 one-sided test people: 0.9333 (95 % interval over people 0.80 to 1.00)",
    ]
    assert lines[9] == "- calibration error (ECE) of the side on test people: 0.04"
    assert lines[10] == "- calibration error (ECE) of the sides of regions on test people: 0.05"
    assert "- side: not predicted" in model_card("vitau-regions", {"kind": "regions", "side_scales": None}, {}).splitlines()
    assert "side" not in model_card("vitau-palsy", {"kind": "palsy", "side_scales": None}, {})


def test_the_card_of_recognition_has_its_calibration_error():
    test = PalsyMetrics(num_subjects=30, ece=Estimate(value=0.0321, interval=(0.01, 0.06)))
    lines = model_card("vitau-palsy", {"kind": "palsy", "test": test.to_json()}, {}).splitlines()
    assert "- calibration error (ECE) on test people: 0.0321 (95 % interval over people 0.01 to 0.06)" in lines


def test_explanations_come_with_the_folder_and_few_of_their_numbers_are_metrics(tracking_uri, make_bundle, tmp_path):
    from mlflow import MlflowClient

    names = ("pointing", "chance", "chance_on_face", "face_mass", "face_area", "deletion", "insertion", "randomized", "empty")
    values = dict.fromkeys(names, np.full(6, 0.25)) | {"pointing": np.array([1.0, 1, 1, 1, 1, 0.5])}
    found = Explanations(
        num_people=6, num_frames=12, seen_in_training=False, by_name={"mirror_occlusion": ExplanationMetrics.of_people(values)}
    )
    folder = make_bundle(0.4, seed=3)
    version, run_id = registry.register(
        tracking_uri, "vitau-explained", folder, metrics=METRICS | {"explanations": found.to_json()}, lineage={}
    )
    pulled = registry.download(tracking_uri, f"models:/vitau-explained/{version}", tmp_path)
    assert Explanations.from_json(json.loads((pulled / "explanations.json").read_text())) == found
    assert "- explanations, on 6 palsied people" in (pulled / "README.md").read_text()
    assert "explanations.json" in (pulled / "SHA256SUMS").read_text()
    assert folder_digest(pulled) == folder_digest(folder)
    assert len(MlflowClient(tracking_uri).get_run(run_id).data.metrics) <= 12
