"""A retraining of the size base is refused without public weights, and registered with their sha256.

The checkpoints have the public names and shapes and random numbers: they prove that the parts fit, and teach nothing.
"""

import json
import re

import cv2
import numpy as np
import pyarrow as pa
import pytest
import timm
import torch
from pydantic import SecretStr
from safetensors.torch import save_file

from flows.promotion.registered_models import PALSY, REGIONS, known_training
from flows.settings import Settings
from flows.workspace import Workspace
from vitau.data import snapshot as snapshots
from vitau.data.parquet import write_table
from vitau.models.checkpoint import CARD
from vitau.models.regions import RegionConfig, build_regions
from vitau.registry.bundle import README
from vitau.registry.download import pull
from vitau.schema import AUS
from vitau.store import sha256_of
from vitau.training.recipes import base_palsy, base_sided

pytestmark = [pytest.mark.journey, pytest.mark.full, pytest.mark.slow, pytest.mark.timeout(3600)]

SPLITS = ("train", "train", "val", "val", "test", "test")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Files in the layouts of timm's ViT and of pSp, of the sizes of the recipes base."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    vit, regions = base_palsy().model, base_sided().model
    assert isinstance(regions, RegionConfig)
    save_file(timm.create_model(vit.name).state_dict(), folder / "vit.safetensors")
    model = build_regions(regions)
    state = {f"encoder.{key}": value for key, value in model.encoder.state_dict().items()}
    state |= {f"decoder.{key}": value for key, value in model.generator.state_dict().items()}
    torch.save({"state_dict": state, "latent_avg": model.latent_avg, "opts": {"output_size": 256}}, folder / "psp.pt")
    return folder


@pytest.fixture(scope="module")
def environment(services, own_mlflow, tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    return services.environment | {
        "VITAU_STORE": (folder / "store").as_uri(),
        "VITAU_CATALOG": f"sqlite:///{folder / 'catalog.db'}",
        "VITAU_SIGNING_KEY": "signs the decisions of these tests only",
        "VITAU_MLFLOW_URL": own_mlflow,
        "VITAU_WORK": str(folder / "work"),
    }


@pytest.fixture(scope="module")
def workspace(environment):
    opened = Workspace(
        Settings(
            store=environment["VITAU_STORE"],
            catalog=SecretStr(environment["VITAU_CATALOG"]),
            signing_key=SecretStr(environment["VITAU_SIGNING_KEY"]),
            label_studio_url="http://127.0.0.1:9",
            label_studio_token=SecretStr("none"),
            mlflow_url=environment["VITAU_MLFLOW_URL"],
        )
    )
    yield opened
    opened.catalog.engine.dispose()


@pytest.fixture(scope="module")
def snapshot(workspace):
    """The digest of a snapshot with two synthetic people for each split, one image each."""
    rng, rows = np.random.default_rng(0), []
    for number, split in enumerate(SPLITS):
        palsied, name = number % 2 == 0, f"p{number:03d}"
        key = f"subjects/{name}/clips/{number:064x}/frames-0.parquet"
        image = rng.integers(0, 255, (256, 256, 3), np.uint8)
        frame = {
            "frame_index": 0,
            "crop": cv2.imencode(".png", image)[1].tobytes(),
            "crop_landmarks": rng.uniform(60, 200, 136).astype(np.float32).tolist(),
        }
        write_table(workspace.store, key, pa.Table.from_pylist([frame]))
        rows.append(
            {"subject": name, "clip": f"{number:064x}", "frame_index": 0, "frames_key": key, "source": "synthetic"}
            | {"cohort": "palsy" if palsied else "control", "side": "left" if palsied else None, "split": split}
            | {au.value: palsied for au in AUS}
        )
    frozen = snapshots.freeze(pa.Table.from_pylist(rows, schema=snapshots.snapshot_schema()), workspace.store, 1)
    workspace.catalog.add_snapshot(frozen)
    return frozen.digest


def test_without_weights_it_is_refused_before_anything_is_trained(command, environment, snapshot):
    refused = command("flows", "retrain", snapshot, "--size", "base", env=environment)
    assert refused.code == 1
    assert re.search(  # within 10 s: tests/flows/retraining/test_recipes.py
        r"recipe base-palsy starts from timm's weights of vit_small_patch16_224, and none", refused.err
    )


def test_with_weights_both_models_are_registered_and_their_cards_have_the_sha256(
    command, environment, workspace, snapshot, weights, tmp_path
):
    vit, psp = weights / "vit.safetensors", weights / "psp.pt"
    given = ("--weights-palsy", vit, "--weights-regions", psp, "--regions", "sided")
    trained = command("flows", "retrain", snapshot, "--size", "base", *given, env=environment, timeout_s=3000)
    assert trained.code == 0, trained.err
    for model, file in ((PALSY, vit), (REGIONS, psp)):
        version = json.loads(trained.out)[model]["version"]
        assert known_training(workspace, model, version).recipe == {PALSY: "base-palsy", REGIONS: "base-sided"}[model]
        folder = pull(environment["VITAU_MLFLOW_URL"], f"models:/{model}/{version}", tmp_path / model).folder
        assert json.loads((folder / "model" / CARD).read_text())["weights"] == [sha256_of(file)]
        assert sha256_of(file) in (folder / README).read_text(), "the card that people read names the weights too"
