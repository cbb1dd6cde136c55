"""The refinement network as it is loaded, against its definition."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from vitau.measures.landmarks.refinement.network import PointNet, _fuse, to_input


def patches(seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (2, 96, 96, 3), dtype=np.uint8)


def test_an_input_has_no_brightness_and_contrast_of_its_own() -> None:
    patch_BHWC = patches(0)
    pixels_BCHW = torch.from_numpy(patch_BHWC).permute(0, 3, 1, 2).float()
    expected = (pixels_BCHW - pixels_BCHW.mean((1, 2, 3), keepdim=True)) / (pixels_BCHW.std((1, 2, 3), keepdim=True) + 4.0)
    assert torch.allclose(to_input(patch_BHWC), expected, atol=1e-5)
    assert not to_input(np.full((1, 96, 96, 3), 7, np.uint8)).any()


def test_a_fused_network_finds_the_same_points() -> None:
    torch.manual_seed(0)
    network, fused = PointNet(11).eval(), PointNet(11).eval()
    fused.load_state_dict(network.state_dict())
    _fuse(fused)
    crop_BCHW = to_input(patches(1))
    with torch.inference_mode():
        expected, found = network(crop_BCHW)[0], fused(crop_BCHW)[0]
        cells = functional.pixel_unshuffle(crop_BCHW, 4)
        assert torch.allclose(network.stem(cells), fused.stem(crop_BCHW), atol=1e-5)
    assert torch.allclose(found, expected, atol=1e-3)
