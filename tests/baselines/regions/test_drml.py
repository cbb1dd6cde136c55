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
    assert sum(isinstance(layer, nn.Sequential) for layer in network.features[2].cells.layers) == 64


def test_a_cell_of_the_region_layer_adds_its_own_convolution_of_what_is_positive() -> None:
    layer = RegionLayer(1, grid=2).eval()  # untrained batch norm divides by √(1 + 1e-5)
    for number, cell in enumerate(layer.cells.layers):
        nn.init.zeros_(cell[2].weight)
        nn.init.zeros_(cell[2].bias)
        with torch.no_grad():
            cell[2].weight[0, 0, 1, 1] = number  # cells 0 to 3 multiply by 0 to 3
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


def test_the_first_cells_are_larger_where_the_side_does_not_divide() -> None:
    class Fill(nn.Module):
        def __init__(self, value: float) -> None:
            super().__init__()
            self.value = value

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.full_like(x, self.value)

    filled = Cells(2, [Fill(1), Fill(2), Fill(3), Fill(4)])(torch.zeros(1, 1, 3, 3))
    assert filled[0, 0].tolist() == [[1, 1, 2], [1, 1, 2], [3, 3, 4]]


def test_an_input_that_the_convolutions_consume_is_refused() -> None:
    with pytest.raises(ValueError, match="leave nothing of an input of 64 px: take at least 66 px"):
        DrmlNetwork(64)
    assert DrmlNetwork(66, 0.1)(torch.zeros(2, 3, 66, 66)).shape == (2, 8)


def test_one_step_changes_the_scores(check_one_step: Callable[[Method, Method, Budget], None]) -> None:
    check_one_step(drml(), drml(replace(SETTINGS, lr=0.0)), BUDGET)


def test_eight_people_are_learned_by_heart(check_overfit: Callable[[Method, Budget], Fitted]) -> None:
    check_overfit(drml(Settings(lr=1e-3)), replace(BUDGET, epochs=60))
