"""The recognition model is timm's, split before its last block, with dropout where a ViT has it."""

import pytest
import torch
from torch import nn

from vitau.models.vit import ViTConfig, build_vit

SMALL = {"input_size": 32, "patch_size": 8, "width": 16, "depth": 2, "heads": 2}


@pytest.mark.parametrize("stem", ["patch", "conv", "deep"])
@pytest.mark.parametrize("register_tokens", [0, 3])
def test_the_split_model_answers_as_the_whole(stem, register_tokens):
    model = build_vit(ViTConfig(**SMALL, stem=stem, register_tokens=register_tokens)).eval()
    crop = torch.randn(2, 3, 32, 32)
    assert model(crop).shape == (2, 2)
    torch.testing.assert_close(model(crop), model.vit(crop))
    assert model.tokens(crop).shape == (2, 1 + register_tokens + 16, 16)


def test_token_maps_lie_on_the_grid_without_class_and_register_tokens():
    model = build_vit(ViTConfig(**SMALL, register_tokens=2))
    tokens = torch.arange(19.0)[None, :, None].expand(1, 19, 16)
    assert model.token_maps(tokens)[0, 5].tolist() == [[3, 4, 5, 6], [7, 8, 9, 10], [11, 12, 13, 14], [15, 16, 17, 18]]


def test_the_full_size_model_reads_256_px_and_has_dropout_at_positions_projections_and_head():
    with torch.device("meta"):
        model = build_vit(ViTConfig(name="vit_base_patch16_224", input_size=256))
        assert model(torch.randn(1, 3, 256, 256)).shape == (1, 2)
    assert model.vit.patch_embed.grid_size == (16, 16)
    places = {name for name, layer in model.vit.named_modules() if isinstance(layer, nn.Dropout) and layer.p == 0.1}
    assert {"pos_drop", "head_drop", "blocks.0.attn.proj_drop", "blocks.0.mlp.drop1", "blocks.11.mlp.drop2"} <= places
    assert sum(weight.numel() for weight in model.parameters()) == 85_846_274


def test_a_convolutional_stem_has_overlapping_convolutions_only_of_side_3_and_1():
    model = build_vit(ViTConfig(**SMALL, stem="conv"))
    sides = [layer.kernel_size for layer in model.vit.patch_embed.modules() if isinstance(layer, nn.Conv2d)]
    assert sides == [(3, 3)] * 3 + [(1, 1)]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (ViTConfig(name="vit_of_nobody"), "timm has no vision transformer named 'vit_of_nobody': take one of"),
        (ViTConfig(name="resnet18"), "timm has no vision transformer named 'resnet18': take one of"),
        (ViTConfig(input_size=60, patch_size=16), "patches of 16 px do not tile an input of 60 px: choose a divisor"),
        (
            ViTConfig(input_size=36, patch_size=12, stem="conv"),
            "a convolutional stem halves the image, so patches of 12 px are",
        ),
    ],
)
def test_impossible_shapes_are_refused(config, message):
    with pytest.raises(ValueError, match=message):
        build_vit(config)
