"""Untrained tiny models in the layout of a registered folder, and synthetic faces to score."""

import shutil

import cv2
import numpy as np
import pytest
import torch

from tests.databases import empty_registry
from vitau.media.synthetic.cohort import write_clip
from vitau.media.synthetic.drawing import draw_crop, draw_frame
from vitau.media.synthetic.people import draw_person
from vitau.models.checkpoint import save_model
from vitau.models.encoder import EncoderConfig
from vitau.models.generator import GeneratorConfig
from vitau.models.regions import RegionConfig, build_regions
from vitau.models.vit import ViTConfig, build_vit
from vitau.registry import registry
from vitau.registry.tracking import EXPERIMENT
from vitau.scoring.predict import Predictor

VIT = ViTConfig(input_size=32, patch_size=8, width=32, depth=2, heads=2, stem="conv")
GENERATOR = GeneratorConfig(size=32, style_dim=32, mapping_layers=2, channel_multiplier=1 / 32, max_channels=24)
ENCODER = EncoderConfig(
    input_size=64, units=(1, 1, 1, 1), widths=(8, 24, 48, 96), style_dim=32, num_styles=GENERATOR.num_styles
)
REGIONS = RegionConfig(encoder=ENCODER, generator=GENERATOR, heatmap_size=32, sigma=5.0)


@pytest.fixture(scope="session")
def make_bundle(tmp_path_factory):
    """Return a function that writes a model folder with both models and the given threshold of recognition."""

    def make(threshold, seed=0, **about):
        folder = tmp_path_factory.mktemp("bundle")
        torch.manual_seed(seed)
        card = {"synthetic": True, "recipe": "tiny", "protocol": "subjects", "snapshot": "5" * 64, **about}
        save_model(folder / "model", build_regions(REGIONS), REGIONS, threshold=None, **card)
        save_model(folder / "recognition", build_vit(VIT), VIT, threshold=threshold, **card)
        return folder

    return make


@pytest.fixture(scope="session")
def strict(make_bundle):
    """Load a model that recognizes no palsy."""
    return Predictor(make_bundle(0.999), device="cpu")


@pytest.fixture(scope="session")
def lenient(make_bundle):
    """Load a model that recognizes a palsy in every face."""
    return Predictor(make_bundle(0.001), device="cpu")


@pytest.fixture(scope="session")
def crops():
    """Draw four synthetic people at rest, (4, 256, 256, 3) uint8 RGB."""
    rng = np.random.default_rng(3)
    return np.stack([draw_crop(draw_person(5, index), "rest", 0.0, rng, 256).image for index in range(4)])


@pytest.fixture(scope="session")
def photo(tmp_path_factory):
    """Write the photo of a synthetic person."""
    path = tmp_path_factory.mktemp("photo") / "person.png"
    image = draw_frame(draw_person(5, 1), "rest", 0.0).image
    cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    return path


@pytest.fixture(scope="session")
def clip(tmp_path_factory):
    """Write the clip of a synthetic person."""
    path = tmp_path_factory.mktemp("clip") / "person.mp4"
    write_clip(path, draw_person(5, 1))
    return path


@pytest.fixture(scope="session")
def landscape(tmp_path_factory):
    """Write an image without a face."""
    path = tmp_path_factory.mktemp("landscape") / "hills.jpg"
    rows = np.linspace(0, 255, 240, dtype=np.uint8)
    cv2.imwrite(str(path), np.dstack([np.tile(rows[:, None], (1, 320))] * 3))
    return path


@pytest.fixture(scope="session")
def tracking_uri(tmp_path_factory):
    """Create a registry for this session in a SQLite file."""
    from mlflow import MlflowClient

    folder = tmp_path_factory.mktemp("mlflow")
    uri = f"sqlite:///{shutil.copy(empty_registry(), folder / 'mlflow.db')}"
    MlflowClient(uri).create_experiment(EXPERIMENT, artifact_location=(folder / "artifacts").as_uri())
    return uri


@pytest.fixture(scope="session")
def registered(tracking_uri, make_bundle):
    """Register a champion; return its name, folder, version and run."""
    folder, name = make_bundle(0.001, warnings=["Confounded sources: beware."]), "vitau-regions"
    interval = {"auroc": 0.8, "auroc_interval": [0.7, 0.9], "n_subjects": 30, "f1": None, "protocol": "subjects"}
    lineage = {"snapshot": "5" * 64, "ledger_offset": "120", "recipe": "tiny", "protocol": "subjects", "synthetic": "true"}
    metrics = {"test": interval, "best_epoch": 4}
    version, run_id = registry.register(tracking_uri, name, folder, metrics=metrics, lineage=lineage)
    registry.set_champion(tracking_uri, name, version)
    return name, folder, version, run_id
