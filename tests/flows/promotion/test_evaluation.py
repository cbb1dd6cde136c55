"""Costs of a model are counted, so they do not depend on the machine."""

import pytest
import torch

from flows.promotion.evaluation import face_flops, num_parameters
from vitau.models.checkpoint import save_model
from vitau.models.encoder import EncoderConfig
from vitau.models.generator import GeneratorConfig
from vitau.models.regions import RegionConfig, build_regions
from vitau.models.vit import ViTConfig, build_vit
from vitau.scoring.predict import Predictor

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
