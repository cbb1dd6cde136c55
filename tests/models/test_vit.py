"""The recognition model computes what timm's does, split before its last block, with dropout where a ViT has it."""

from functools import partial

import pytest
import torch
from timm.layers import PatchEmbed
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from vitau.models.vit import ConvStem, ViTConfig, build_vit
from vitau.scoring.gradcam import gradcam

SMALL = {"input_size": 32, "patch_size": 8, "width": 16, "depth": 2, "heads": 2}


@pytest.mark.parametrize("stem", ["patch", "conv", "deep"])
@pytest.mark.parametrize("register_tokens", [0, 3])
def test_weights_results_and_gradients_are_those_of_timm(stem, register_tokens):
    config = ViTConfig(**SMALL, stem=stem, register_tokens=register_tokens)
    model, theirs = seeded(lambda: build_vit(config)), seeded(lambda: build_timm(config))
    assert {name: values.tolist() for name, values in model.vit.state_dict().items()} == {
        name: values.tolist() for name, values in theirs.state_dict().items()
    }
    crop = torch.randn(2, 3, 32, 32)
    for training in (True, False):
        logits = [seeded(partial(one.train(training), crop)) for one in (model, theirs)]
        assert torch.equal(*logits)
        for result in logits:
            result.square().sum().backward()
    assert all(torch.equal(a.grad, b.grad) for a, b in zip(model.parameters(), theirs.parameters(), strict=True))
    assert model.tokens(crop).shape == (2, 1 + register_tokens + 16, 16)


def seeded(build):
    torch.manual_seed(1)
    return build()


def build_timm(config):
    def stem(img_size, patch_size, in_chans, embed_dim, **_):
        return ConvStem(config.stem == "deep", config.stem_width, img_size, patch_size, in_chans, embed_dim)

    return VisionTransformer(
        img_size=config.input_size,
        patch_size=config.patch_size,
        num_classes=2,
        embed_dim=config.width,
        depth=config.depth,
        num_heads=config.heads,
        reg_tokens=config.register_tokens,
        embed_layer=PatchEmbed if config.stem == "patch" else stem,
        drop_rate=config.dropout,
        pos_drop_rate=config.dropout,
        proj_drop_rate=config.dropout,
    )


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


BACKBONES = {
    "vit_tiny_patch16_224": ([0.5] * 3, [0.5] * 3),
    "vit_base_patch16_224.mae": ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    "vit_small_patch14_dinov2": ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    "vit_small_patch16_dinov3": ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    "vit_base_patch16_clip_quickgelu_224.openai": ([0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]),
}


@pytest.mark.parametrize("name", BACKBONES)
def test_a_backbone_answers_as_timm_s_own_on_an_input_with_its_own_mean_and_deviation(name):
    torch.manual_seed(0)
    size = 56 if "patch14" in name else 64
    model = build_vit(ViTConfig(name=name, input_size=size)).eval()
    crop = torch.rand(2, 3, size, size) * 2 - 1
    mean, std = (torch.tensor(values)[:, None, None] for values in BACKBONES[name])
    torch.testing.assert_close(model(crop), model.vit(((crop + 1) / 2 - mean) / std), rtol=1e-4, atol=1e-5)
    maps = gradcam(model, crop, [1])
    assert maps.shape == (2, 1, size, size)
    assert maps.amax() == 1
    assert set(model.state_dict()) == {f"vit.{key}" for key in model.vit.state_dict()}, "constants are not saved"


def test_a_backbone_whose_positions_differ_by_block_is_refused():
    with pytest.raises(ValueError, match="has rotary positions per block, which are not supported"):
        build_vit(ViTConfig(name="vit_small_patch16_rope_mixed_224", input_size=64))


def test_a_convolutional_stem_has_overlapping_convolutions_only_of_side_3_and_1():
    model = build_vit(ViTConfig(**SMALL, stem="conv"))
    sides = [layer.kernel_size for layer in model.vit.patch_embed.modules() if isinstance(layer, nn.Conv2d)]
    assert sides == [(3, 3)] * 3 + [(1, 1)]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (ViTConfig(name="vit_of_nobody"), "timm has no vision transformer named 'vit_of_nobody': take one of"),
        (ViTConfig(name="vit_tiny_patch16_224.mae"), "timm has no weights named 'vit_tiny_patch16_224.mae': leave out what"),
        (ViTConfig(name="resnet18"), "timm has no vision transformer named 'resnet18': take one of"),
        (ViTConfig(input_size=60, patch_size=16), "patches of 16 px do not tile an input of 60 px: choose a divisor"),
        (ViTConfig(**{**SMALL, "heads": 3}), "3 heads do not divide a width of 16: choose a divisor"),
        (
            ViTConfig(input_size=36, patch_size=12, stem="conv"),
            "a convolutional stem halves the image, so patches of 12 px are",
        ),
    ],
)
def test_impossible_shapes_are_refused(config, message):
    with pytest.raises(ValueError, match=message):
        build_vit(config)
