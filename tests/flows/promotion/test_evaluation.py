"""A model comes whole from the store; its costs are counted, so they do not depend on the machine."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch

from flows.promotion.evaluation import face_flops, load_model, num_parameters
from flows.workspace import Workspace
from tests.flows.workspaces import offline_settings
from vitau.catalog.catalog import Training
from vitau.data import layout
from vitau.errors import ChecksumError
from vitau.models.checkpoint import save_model
from vitau.models.encoder import EncoderConfig
from vitau.models.generator import GeneratorConfig
from vitau.models.regions import RegionConfig, build_regions
from vitau.models.vit import ViTConfig, build_vit
from vitau.registry.bundle import folder_digest
from vitau.scoring.predict import Predictor
from vitau.store.folder import FolderStore

VIT = ViTConfig(input_size=32, patch_size=8, width=32, depth=2, heads=2, stem="conv")
GENERATOR = GeneratorConfig(size=32, style_dim=32, mapping_layers=2, channel_multiplier=1 / 32, max_channels=24)
ENCODER = EncoderConfig(
    input_size=64, units=(1, 1, 1, 1), widths=(8, 24, 48, 96), style_dim=32, num_styles=GENERATOR.num_styles
)
REGIONS = RegionConfig(encoder=ENCODER, generator=GENERATOR, heatmap_size=32, sigma=5.0)


@pytest.fixture(scope="module")
def recognition(tmp_path_factory):
    """A bundle with recognition alone."""
    folder = tmp_path_factory.mktemp("recognition")
    save_model(folder / "model", build_vit(VIT), VIT, threshold=0.5)
    return Predictor(folder, device="cpu")


@pytest.fixture(scope="module")
def regions(tmp_path_factory):
    """A bundle with both models; its threshold lets recognition judge everyone healthy."""
    folder = tmp_path_factory.mktemp("regions")
    save_model(folder / "model", build_regions(REGIONS), REGIONS, threshold=None)
    save_model(folder / "recognition", build_vit(VIT), VIT, threshold=1.0)
    return Predictor(folder, device="cpu")


def test_parameters_of_both_models_count(recognition, regions):
    own = sum(parameter.numel() for parameter in build_regions(REGIONS).parameters())
    assert num_parameters(recognition) == sum(parameter.numel() for parameter in build_vit(VIT).parameters())
    assert num_parameters(regions) == num_parameters(recognition) + own


def test_operations_of_both_models_count_even_if_recognition_finds_no_palsy(recognition, regions):
    assert face_flops(regions) > face_flops(recognition) > 0


def test_operations_are_those_of_the_layers_and_of_attention(recognition):
    """Per block: 12 products of width by width for each token, and 2 of tokens by tokens by width, of 2 operations each."""
    tokens, width = (32 // 8) ** 2 + 1, 32
    blocks = VIT.depth * 2 * (12 * tokens * width**2 + 2 * tokens**2 * width)
    stem_and_head = face_flops(recognition) - blocks
    assert 0 < stem_and_head < blocks


def test_the_count_is_the_same_with_any_number_of_threads(regions):
    threads = torch.get_num_threads()
    counts = set()
    try:
        for num_threads in (1, 2):
            torch.set_num_threads(num_threads)
            counts.add(face_flops(regions))
    finally:
        torch.set_num_threads(threads)
    assert len(counts) == 1


@pytest.fixture
def registered(regions, tmp_path):
    """A workspace whose store has the bundle with both models, and its training."""
    settings = offline_settings(tmp_path)
    workspace, digest = Workspace(settings), folder_digest(regions.folder)
    for path in filter(lambda path: path.is_file(), regions.folder.rglob("*")):
        workspace.store.put(layout.model_file_key(digest, path.relative_to(regions.folder).as_posix()), path)
    training = Training(
        key="k",
        model="vitau-regions",
        recipe="r",
        snapshot="s",
        model_digest=digest,
        model_key=layout.model_key(digest),
        version=1,
        run_id="",
        metrics={},
    )
    yield workspace, training
    workspace.catalog.engine.dispose()


def test_two_runs_at_once_load_a_candidate_whole(registered, regions, monkeypatch):
    workspace, training = registered
    download = FolderStore.download

    def slow(*arguments, **options):
        time.sleep(0.2)
        return download(*arguments, **options)

    monkeypatch.setattr(FolderStore, "download", slow)

    def load(start_s):
        time.sleep(start_s)
        return load_model(workspace, training).digest

    with ThreadPoolExecutor(3) as pool:
        assert set(pool.map(load, (0, 0.1, 0.5))) == {regions.digest}


def test_what_a_killed_run_left_of_a_candidate_is_replaced_and_other_weights_are_refused(registered, regions):
    workspace, training = registered
    left = workspace.folder("candidates") / training.model_digest / "model"
    left.mkdir(parents=True)
    (left / "model.json").write_text("half of a c")
    assert load_model(workspace, training).digest == regions.digest
    with pytest.raises(ChecksumError, match=r"vitau-regions version 1 under .* are not those that were registered"):
        load_model(workspace, replace(training, model_digest="0" * 64))
