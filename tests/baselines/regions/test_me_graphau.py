import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import nn

from vitau.baselines.fitting import Settings
from vitau.baselines.method import Budget, Fitted, Method
from vitau.baselines.regions.me_graphau import CosineHead, GraphConvolution, LinearBlock, MeGraphAu, RegionGraph, neighbor_graph

BUDGET = Budget(epochs=1, batch_size=16, image_px=64, width=0.25, frames_per_person=2)
TINY = MeGraphAu(backbone="resnet18")
QUICK = replace(TINY, settings=Settings(lr=2e-3, schedule="cosine"))

NODES = torch.tensor([[[2.0, 0.0], [1.0, 1.0], [0.0, 3.0]]])
"""Dot products: (4, 2, 0), (2, 2, 3), (0, 3, 9)."""


def test_a_node_is_linked_to_its_largest_dot_products() -> None:
    graph = neighbor_graph(NODES, 1)[0]
    assert (graph > 0).tolist() == [[True, False, False], [False, False, True], [False, False, True]]


def test_ties_link_more_nodes_and_the_degrees_of_the_rows_normalize() -> None:
    # rows: {0, 1}; the second largest of (2, 2, 3) is 2, so all three; {1, 2}
    r = 1 / math.sqrt(6)
    expected = torch.tensor([[1 / 2, r, 0], [r, 1 / 3, r], [0, r, 1 / 2]])
    torch.testing.assert_close(neighbor_graph(NODES, 2)[0], expected)


def test_each_face_has_a_graph_of_its_own_without_gradient() -> None:
    nodes = torch.cat([NODES, NODES.flip(1)]).requires_grad_()
    graphs = neighbor_graph(nodes, 1)
    assert not graphs.requires_grad
    torch.testing.assert_close(graphs[1], graphs[0].flip(0, 1))


def test_the_graph_convolution_adds_what_it_gathers_from_neighbors_and_itself() -> None:
    layer = GraphConvolution(3, 2, neighbors=2).eval()
    with torch.no_grad():
        layer.of_neighbors.weight.copy_(torch.eye(2))
        layer.of_itself.weight.copy_(-2 * torch.eye(2))
        layer.of_neighbors.bias.zero_()
        layer.of_itself.bias.zero_()
        result = layer(NODES)[0]
    r = 1 / math.sqrt(6)
    gathered = torch.tensor([[1 + r, r], [2 * r + 1 / 3, 1 / 3 + 3 * r], [r, r + 3 / 2]])
    # untrained batch norm divides by √(1 + 1e-5); x + (gathered − 2x), where it is positive
    changed = (gathered - 2 * NODES[0]) / math.sqrt(1 + 1e-5)
    torch.testing.assert_close(result, (NODES[0] + changed).clamp(min=0))
    assert result[2, 1].item() == 0  # 3 + (r + 1.5 − 6) < 0


def test_the_cosine_ignores_negative_parts_and_lengths() -> None:
    head = CosineHead(2)
    with torch.no_grad():
        head.learned_AD.copy_(torch.tensor([[3.0, 4.0]] * 8))
        head.learned_AD[1] = torch.tensor([5.0, -1.0])
        scores = head(torch.tensor([[[10.0, 0.0], [1.0, 1.0], [-1.0, 2.0], *([[4.0, 3.0]] * 5)]]))[0]
    assert scores[:4].tolist() == pytest.approx([0.6, 1 / math.sqrt(2), 0.8, 24 / 25])


def test_a_linear_block_norms_each_channel_over_all_places_and_images() -> None:
    block = LinearBlock(1, 1)
    nn.init.ones_(block.linear.weight)
    nn.init.zeros_(block.linear.bias)
    with torch.no_grad():
        result = block(torch.tensor([[[0.0], [2.0]], [[4.0], [6.0]]]))  # mean 3, variance 5
    expected = [0.0, 0.0, 1 / math.sqrt(5), 3 / math.sqrt(5)]
    assert result.flatten().tolist() == pytest.approx(expected, rel=1e-4)


def test_the_authors_backbone_gives_a_node_per_region() -> None:
    network = RegionGraph("resnet50", 512, 0.25).eval()
    assert network.backbone.num_features == 512
    with torch.no_grad():
        assert network(torch.zeros(1, 3, 64, 64)).shape == (1, 8, 128)


def test_one_step_changes_the_scores(check_one_step: Callable[[Method, Method, Budget], None]) -> None:
    check_one_step(TINY, replace(TINY, settings=replace(TINY.settings, lr=0.0)), BUDGET)


def test_eight_people_are_learned_by_heart(check_overfit: Callable[[Method, Budget], Fitted]) -> None:
    check_overfit(QUICK, replace(BUDGET, epochs=36, image_px=48, width=0.125))
