from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import nn

from vitau.baselines.fitting import Settings
from vitau.baselines.method import Budget, Fitted, Method
from vitau.baselines.regions.drml import SETTINGS, Cells, DrmlNetwork, RegionLayer, drml

BUDGET = Budget(epochs=1, batch_size=16, image_px=66, width=0.25, frames_per_person=2)


def test_the_authors_network_has_their_layers() -> None:
    network = DrmlNetwork()
    shapes = [tuple(layer.weight.shape) for layer in network.features if isinstance(layer, nn.Conv2d)]
    assert shapes == [(32, 3, 11, 11), (16, 32, 8, 8), (16, 16, 8, 8), (16, 16, 6, 6), (16, 16, 5, 5)]
    heads = [tuple(layer.weight.shape) for layer in network.head if isinstance(layer, nn.Linear)]
    assert heads == [(4096, 16 * 27 * 27), (2048, 4096), (8, 2048)]
    region_layer = network.features[2]
    assert isinstance(region_layer, RegionLayer)
    assert tuple(region_layer.cells.layers.get_parameter("2.weight").shape) == (64 * 32, 32, 3, 3)


def test_a_cell_of_the_region_layer_adds_its_own_convolution_of_what_is_positive() -> None:
    layer = RegionLayer(1, grid=2).eval()  # untrained batch norm divides by √(1 + 1e-5)
    for parameter in layer.cells.layers.get_submodule("2").parameters():
        nn.init.zeros_(parameter)
    with torch.no_grad():
        layer.cells.layers.get_parameter("2.weight")[:, 0, 1, 1] = torch.arange(4)  # cells 0 to 3 multiply by 0 to 3
    x = torch.tensor([[1.0, -1.0, 2.0, 2.0], [1.0, -1.0, 2.0, 2.0], [3.0, 3.0, -4.0, 4.0], [3.0, 3.0, -4.0, 4.0]])
    expected = torch.tensor([[1.0, -1.0, 4.0, 4.0], [1.0, -1.0, 4.0, 4.0], [9.0, 9.0, -4.0, 16.0], [9.0, 9.0, -4.0, 16.0]])
    with torch.no_grad():
        torch.testing.assert_close(layer(x[None, None])[0, 0], expected, rtol=1e-4, atol=1e-4)


def test_no_cell_reads_its_neighbors() -> None:
    layer = RegionLayer(1, grid=2).eval()
    x = torch.randn(1, 1, 6, 6)
    changed = x.clone()
    changed[..., 3:, 3:] += 1
    with torch.no_grad():
        difference = layer(changed) - layer(x)
    assert (difference[..., :3, :] == 0).all()
    assert (difference[..., :, :3] == 0).all()
    assert (difference[..., 3:, 3:] != 0).any()


def test_cells_lie_row_by_row_and_keep_their_channels_together() -> None:
    x = torch.arange(32.0).reshape(1, 2, 4, 4)
    torch.testing.assert_close(Cells(2, nn.Identity())(x), x)
    layers = nn.Conv2d(8, 4, 1, groups=4, bias=False)  # two channels of each of 4 cells to one
    with torch.no_grad():
        layers.weight.copy_(torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])[..., None, None])
        result = Cells(2, layers)(x)
    # nothing, the first channel, the second, and their sum
    assert result[0, 0].tolist() == [[0, 0, 2, 3], [0, 0, 6, 7], [24, 25, 36, 38], [28, 29, 44, 46]]


def test_an_input_that_does_not_fit_is_refused() -> None:
    for image_px in (58, 64, 67):
        with pytest.raises(ValueError, match=f"layers do not fit an input of {image_px} px: take 66, 74, 82, … px"):
            DrmlNetwork(image_px)
    assert DrmlNetwork(66, 0.1)(torch.zeros(2, 3, 66, 66)).shape == (2, 8)


def test_one_step_changes_the_scores(check_one_step: Callable[[Method, Method, Budget], None]) -> None:
    check_one_step(drml(), drml(replace(SETTINGS, lr=0.0)), BUDGET)


def test_eight_people_are_learned_by_heart(check_overfit: Callable[[Method, Budget], Fitted]) -> None:
    check_overfit(drml(Settings(lr=1e-3)), replace(BUDGET, epochs=64))
