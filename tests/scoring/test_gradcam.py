"""Grad-CAM equals the reference package and is independent of the batch."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from pytorch_grad_cam import GradCAM
from torch.nn import functional

from vitau.models.encoder import EncoderConfig
from vitau.models.generator import GeneratorConfig
from vitau.models.regions import RegionConfig, build_regions
from vitau.models.vit import ViTConfig, build_vit
from vitau.scoring.gradcam import cam, gradcam


def varied(model):
    """Set batch-norm statistics as in a trained model; otherwise the first images dominate."""
    generator = torch.Generator().manual_seed(1)
    for name, buffer in model.named_buffers():
        if name.endswith("running_var"):
            buffer.uniform_(0.5, 1.5, generator=generator)
    return model.eval()


@pytest.fixture(scope="module")
def palsy():
    torch.manual_seed(0)
    return varied(build_vit(ViTConfig(input_size=64, patch_size=8, width=32, depth=3, heads=4, stem="conv", register_tokens=2)))


@pytest.fixture(scope="module")
def regions():
    torch.manual_seed(0)
    generator = GeneratorConfig(size=32, style_dim=8, mapping_layers=2, channel_multiplier=1 / 64, max_channels=12)
    encoder = EncoderConfig(input_size=64, units=(1, 1, 1, 1), widths=(4, 8, 8, 16), style_dim=8, num_styles=8)
    return varied(build_regions(RegionConfig(encoder=encoder, generator=generator, heatmap_size=32)))


@pytest.fixture(params=[1, 3])
def crop(request):
    return torch.randn(request.param, 3, 64, 64, generator=torch.Generator().manual_seed(2))


def reference_cam(model, layer, crop, score, reshape=None):
    """Return the map of the reference package before it normalizes and resizes."""
    with GradCAM(model=model, target_layers=[layer], reshape_transform=reshape) as reference:
        reference(crop, targets=[score] * len(crop))
        held = reference.activations_and_grads
        activations, slopes = held.activations[0].numpy(), held.gradients[0].numpy()
        return np.maximum(reference.get_cam_image(crop, layer, None, activations, slopes), 0)


def test_maps_of_the_recognition_model_equal_the_reference(palsy, crop):
    ours = cam(palsy, crop)
    assert ours.shape == (len(crop), 2, 8, 8)
    for target in (0, 1):
        expected = reference_cam(palsy, palsy.vit.blocks[-2], crop, lambda out, t=target: out[t] - out[1 - t], palsy.token_maps)
        np.testing.assert_allclose(ours[:, target] / expected.max(), expected / expected.max(), rtol=0, atol=1e-5)


def test_maps_of_the_region_model_equal_the_reference(regions, crop):
    ours = cam(regions, crop)
    assert ours.shape == (len(crop), 8, 32, 32)
    activation = regions.interpreter.blocks()[-1][1]
    expected = [reference_cam(regions, activation, crop, lambda out, t=target: out[t].mean()) for target in range(8)]
    peak = np.max(expected)
    np.testing.assert_allclose(ours.transpose(0, 1) / peak, np.stack(expected) / peak, rtol=0, atol=1e-5)


def test_a_constant_that_is_added_to_both_classes_changes_no_map(palsy, crop):
    shifted = build_vit(palsy.config).eval()
    shifted.load_state_dict(palsy.state_dict())
    with torch.no_grad():
        shifted.vit.head.weight += torch.randn(1, 32, generator=torch.Generator().manual_seed(3))  # the same for both
    torch.testing.assert_close(cam(shifted, crop), cam(palsy, crop), rtol=0, atol=1e-6)


@pytest.mark.parametrize("mode", ["paired", "sided"])
def test_a_region_model_that_is_surest_still_has_a_map(regions, crop, mode):
    """Heatmaps beyond ±1 everywhere: their clamped mean is constant, so that it has no gradient."""
    sure = build_regions(replace(regions.config, mode=mode)).eval()
    sure.load_state_dict(regions.state_dict())
    with torch.no_grad():
        sure.interpreter.blocks()[-1][-1].bias.fill_(100.0)
        assert sure(crop).min() > 1
    maps = cam(sure, crop)
    assert maps.amax((0, 2, 3)).count_nonzero() >= 4
    if mode == "paired":
        torch.testing.assert_close(maps, cam(regions, crop))


@pytest.mark.parametrize("name", ["palsy", "regions"])
def test_maps_of_an_image_do_not_depend_on_its_batch(name, request):
    model, crops = request.getfixturevalue(name), torch.randn(4, 3, 64, 64)
    torch.testing.assert_close(gradcam(model, crops)[2:3], gradcam(model, crops[2:3]), rtol=0, atol=1e-4)


def test_maps_have_the_size_of_the_input_and_a_maximum_of_one(regions, crop):
    maps = gradcam(regions, crop, targets=[4, 1])
    assert maps.shape == (len(crop), 2, 64, 64)
    assert maps.dtype == torch.float32
    assert maps.min() >= 0
    peaks = maps.amax((2, 3))
    assert ((peaks == 1) | (peaks == 0)).all()
    assert peaks.any()
    raw = functional.interpolate(cam(regions, crop, targets=[4, 1]), size=(64, 64), mode="bilinear")
    torch.testing.assert_close(maps * raw.amax((2, 3), keepdim=True), raw)


def test_a_map_of_zeros_stays_zero(palsy, crop):
    palsy = build_vit(palsy.config).eval()
    torch.nn.init.zeros_(palsy.vit.head.weight)
    assert gradcam(palsy, crop).abs().max() == 0


def test_no_weight_is_left_with_a_gradient(regions, crop):
    regions.zero_grad(set_to_none=True)
    gradcam(regions, crop)
    assert all(weight.grad is None for weight in regions.parameters())


def test_everything_before_the_layer_runs_once_whatever_the_number_of_targets(regions, crop):
    runs = []
    with regions.encoder.register_forward_hook(lambda *_: runs.append(torch.is_grad_enabled())):
        gradcam(regions, crop)
    assert runs == [False]


def test_training_mode_and_unknown_targets_are_refused(palsy, crop):
    with pytest.raises(ValueError, match=r"^there is no target 2: this model has 2, counted from 0$"):
        gradcam(palsy, crop, targets=[0, 2])
    with pytest.raises(
        ValueError, match=r"^Grad-CAM of a model in training mode mixes the images of a batch: call model.eval\(\)"
    ):
        gradcam(build_vit(palsy.config), crop)
