"""A training writes its curves into one MLflow run, also after a kill; its images show drawn faces only."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mlflow import MlflowClient

from tests.databases import empty_registry
from vitau.errors import RegistryError
from vitau.models.regions import RegionConfig, build_regions
from vitau.progress import Reporter
from vitau.registry import registry
from vitau.registry.tracking import EXPERIMENT, tracked_run
from vitau.store import Store
from vitau.training.recipes import RECIPES
from vitau.training.reporting import heatmap_images
from vitau.training.run import train

MakeSnapshot = Callable[..., tuple[Store, str]]
EPOCHS = 3


@pytest.fixture
def mlflow_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A tracking store of this test's own, in a SQLite file."""
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.2")
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLES_BEFORE_LOGGING", "1")
    url = f"sqlite:///{shutil.copy(empty_registry(), tmp_path / 'mlflow.db')}"
    MlflowClient(url).create_experiment(EXPERIMENT, artifact_location=(tmp_path / "artifacts").as_uri())
    return url


def _steps(client: MlflowClient, run_id: str, metric: str) -> list[int]:
    return [value.step for value in client.get_metric_history(run_id, metric)]


def test_a_killed_training_resumes_its_run_and_writes_nothing_twice(
    make_snapshot: MakeSnapshot, mlflow_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vitau.training.reporting.observers.STEPS_BETWEEN", 1)
    store, digest = make_snapshot(24)
    recipe = RECIPES["tiny-regions"]()
    recipe = replace(recipe, train=replace(recipe.train, epochs=EPOCHS, batch_size=4))

    class Killed(Reporter):
        def line(self, text: str) -> None:
            if text.startswith("epoch 2"):
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(recipe, store, digest, tmp_path / "out", mlflow_url=mlflow_url, reporter=Killed())
    result = train(recipe, store, digest, tmp_path / "out", mlflow_url=mlflow_url, reporter=Reporter(quiet=True))
    client = MlflowClient(mlflow_url)
    (run,) = client.search_runs([client.get_experiment_by_name(EXPERIMENT).experiment_id])
    assert run.info.run_id == result.run_id
    assert run.info.status == "FINISHED"
    assert _steps(client, run.info.run_id, "train_loss") == [1, 2, 3]
    assert _steps(client, run.info.run_id, "validation_auroc") == [1, 2, 3]
    steps = _steps(client, run.info.run_id, "loss")
    assert steps == list(range(1, len(steps) + 1))
    assert len(steps) % EPOCHS == 0
    assert "system/cpu_utilization_percentage" in run.data.metrics
    assert (run.data.params["recipe"], run.data.params["loss"]) == ("tiny-regions", "mse")
    names = sorted(artifact.path for artifact in client.list_artifacts(run.info.run_id, "heatmaps"))
    assert names == [f"heatmaps/epoch-00{number}.png" for number in (1, 2, 3)]


def test_the_run_of_the_training_is_the_run_of_the_version(mlflow_url: str, tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    folder.mkdir()
    (folder / "weights").write_bytes(b"weights")
    with tracked_run(mlflow_url, "tiny-palsy", key="k", settings={"recipe": "tiny-palsy"}, tell=print) as run:
        run.epoch(1, {"train_loss": 0.5})
    lineage = {"recipe": "tiny-palsy", "snapshot": "5" * 64}
    _, run_id = registry.register(mlflow_url, "vitau-palsy", folder, metrics={"run_id": run.id}, lineage=lineage)
    assert run_id == run.id
    assert MlflowClient(mlflow_url).get_run(run_id).data.metrics["train_loss"] == 0.5
    _, other = registry.register(mlflow_url, "vitau-other", folder, metrics={"run_id": "0" * 32}, lineage=lineage)
    assert other != run.id


def test_curves_that_cannot_be_written_are_said_once_and_the_training_goes_on(mlflow_url: str, tmp_path: Path) -> None:
    said: list[str] = []
    with tracked_run(mlflow_url, "tiny-palsy", key="k", settings={}, tell=said.append) as run:
        MlflowClient(mlflow_url).delete_run(run.id)
        run.step(1, 0.5)
        run.epoch(1, {"train_loss": 0.5, "validation_auroc": 0.9})
    assert len(said) == 1
    assert said[0].startswith("MLflow ")
    assert said[0].endswith("; the training goes on, and the curves of this run have gaps")


def test_a_server_that_is_down_at_the_start_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with (
        pytest.raises(
            RegistryError,
            match=r"^the model registry at http://127\.0\.0\.1:9 cannot be reached \(Connection refused\): start it",
        ),
        tracked_run("http://127.0.0.1:9", "tiny-palsy", key="k", settings={}, tell=print),
    ):
        pass


@pytest.mark.parametrize("mode", ["paired", "sided"])
def test_an_image_shows_drawn_faces_with_predicted_heatmaps_above_true_ones(mode: str) -> None:
    config = RECIPES["tiny-regions" if mode == "paired" else "tiny-sided"]().model
    assert isinstance(config, RegionConfig)
    torch.manual_seed(0)
    model = build_regions(config).train()
    png = heatmap_images.draw_heatmaps(model, config, torch.device("cpu"))
    image = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    tile, faces = heatmap_images.TILE, heatmap_images.NUM_FACES
    assert image.shape == (tile // 4 + 2 * faces * tile, 9 * tile, 3)
    assert model.training
    truth = image[tile // 4 + tile : tile // 4 + 2 * tile, tile:].astype(int)
    orange, blue = truth[..., 2] - truth[..., 0] > 90, truth[..., 0] - truth[..., 2] > 60
    assert orange.any()
    assert blue.any()
