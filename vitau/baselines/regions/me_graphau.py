"""ME-GraphAU-style, stage 1: a vector per region, related to its most similar regions by a graph that each face has of its own.

Luo, Song, Xie, Shen, Gunes, *Learning Multi-dimensional Edge Feature-based AU Relation Graph for Facial Action Unit
Recognition*, IJCAI 2022. The authors': a linear block per label on the features of a backbone, the graph of the 4 most similar
nodes by dot product, one graph convolution, the cosine to a learned vector, the weighted asymmetric loss, 224 px, AdamW at 1e-4
with a weight decay of 5e-4, cosine schedule. Ours: a ResNet-50 of timm as backbone, one of the two that the authors report, and
no stage 2, which learns features of the graph's edges. Weights are fresh; those of ImageNet may be brought.

Axes: B images, N places, C channels, A regions (8), D width of a node.
"""

from dataclasses import dataclass, field
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from vitau.baselines.fitting import FittedFrames, FrameMethod, Settings
from vitau.baselines.method import Budget
from vitau.baselines.recognition.networks.classifier import build_resnet
from vitau.baselines.regions.losses import region_weights, weighted_asymmetric
from vitau.baselines.regions.prevalence import prevalences
from vitau.data.dataset import Crops
from vitau.data.protocols import Task
from vitau.schema import AUS
from vitau.training.tasks import Batch

NEIGHBORS: Final = 4
"""Nodes that a node is linked to, itself among them."""
NODE_WIDTH: Final = 512


@dataclass(frozen=True, kw_only=True, slots=True)
class MeGraphAu:
    """Train a graph of regions on a backbone's features.

    Attributes:
        backbone: timm's name of a ResNet.
        settings: of the optimizer.
    """

    backbone: str = "resnet50"
    settings: Settings = field(default_factory=lambda: Settings(lr=1e-4, weight_decay=5e-4, schedule="cosine"))
    name: str = "me-graphau"
    title: str = "ME-GraphAU-style, stage 1"
    task: Task = "regions"

    def fit(self, train: Crops, valid: Crops, budget: Budget, *, seed: int) -> FittedFrames:
        """Train on palsied people with labels; see :class:`vitau.baselines.method.Method`."""
        weight_A = region_weights(torch.from_numpy(prevalences(train)).float()).to(budget.device)

        def objective(network: nn.Module, batch: Batch) -> Tensor:
            return weighted_asymmetric(network(batch.crop_BCHW), batch.affected_BA, batch.known_BA, weight_A)

        def build(budget: Budget, _image_px: int) -> nn.Module:
            graph = RegionGraph(self.backbone, NODE_WIDTH, budget.width)
            return nn.Sequential(graph, CosineHead(graph.node_width))

        method = FrameMethod(
            name=self.name,
            title=self.title,
            task=self.task,
            image_px=224,
            build=build,
            objective=objective,
            read=_read,
            settings=self.settings,
        )
        return method.fit(train, valid, budget, seed=seed)


class RegionGraph(nn.Module):
    """The network from an image (B, 3, S, S) to a vector per region (B, 8, D).

    Args:
        backbone: timm's name of a ResNet.
        node_width: D at a width of 1.
        width: factor of all channels.
    """

    def __init__(self, backbone: str, node_width: int, width: float) -> None:
        super().__init__()
        resnet: Any = build_resnet(backbone, width, num_classes=0, global_pool="")
        self.backbone = resnet
        self.node_width = max(1, round(node_width * width))
        self.shared = LinearBlock(resnet.num_features, self.node_width)
        self.of_region = nn.ModuleList(LinearBlock(self.node_width, self.node_width) for _ in AUS)
        self.graph = GraphConvolution(len(AUS), self.node_width)

    def forward(self, crop_BCHW: Tensor) -> Tensor:
        """Return the nodes (B, 8, D) after the graph convolution."""
        place_BNC = self.backbone.forward_features(crop_BCHW).flatten(2).transpose(1, 2)
        shared_BND = self.shared(place_BNC)
        node_BAD = torch.stack([block(shared_BND).mean(1) for block in self.of_region], dim=1)
        related_BAD: Tensor = self.graph(node_BAD)
        return related_BAD


class LinearBlock(nn.Module):
    """A linear layer, batch norm over all places, and ReLU."""

    def __init__(self, narrow: int, wide: int) -> None:
        super().__init__()
        self.linear = nn.Linear(narrow, wide)
        self.norm = nn.BatchNorm1d(wide)

    def forward(self, x_BNC: Tensor) -> Tensor:
        """Return (B, N, D)."""
        y_BDN: Tensor = self.norm(self.linear(x_BNC).transpose(1, 2))
        return y_BDN.transpose(1, 2).relu()


class GraphConvolution(nn.Module):
    """One layer on the face's own graph: ReLU(x + norm(Â·V(x) + U(x))), where Â is that of :func:`neighbor_graph`."""

    def __init__(self, num_nodes: int, width: int, neighbors: int = NEIGHBORS) -> None:
        super().__init__()
        self.neighbors = neighbors
        self.of_neighbors = nn.Linear(width, width)
        self.of_itself = nn.Linear(width, width)
        self.norm = nn.BatchNorm1d(num_nodes)

    def forward(self, node_BAD: Tensor) -> Tensor:
        """Return nodes of the same shape."""
        gathered_BAD = neighbor_graph(node_BAD, self.neighbors) @ self.of_neighbors(node_BAD)
        changed_BAD: Tensor = self.norm(gathered_BAD + self.of_itself(node_BAD))
        return (node_BAD + changed_BAD).relu()


def neighbor_graph(node_BAD: Tensor, neighbors: int) -> Tensor:
    """Link each node to those with the largest dot products, and normalize: D^−½ A D^−½ with the degrees of the rows.

    Returns:
        (B, A, A); a link has no gradient. Row i holds the weights of the nodes that node i gathers. Ties link more nodes.
    """
    similarity_BAA = node_BAD @ node_BAD.transpose(1, 2)
    least_BA1 = similarity_BAA.topk(neighbors, dim=-1).values[..., -1:]
    linked_BAA = (similarity_BAA >= least_BA1).to(node_BAD)
    scale_BA = linked_BAA.sum(-1).rsqrt()
    return linked_BAA * scale_BA[:, :, None] * scale_BA[:, None, :]


class CosineHead(nn.Module):
    """The cosine of each node to a learned vector of its region; both go through ReLU, so that it lies in [0, 1]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.learned_AD = nn.Parameter(torch.empty(len(AUS), width))
        nn.init.xavier_uniform_(self.learned_AD)

    def forward(self, node_BAD: Tensor) -> Tensor:
        """Return the probabilities (B, 8)."""
        return functional.cosine_similarity(node_BAD.relu(), self.learned_AD.relu(), dim=-1).clamp(0, 1)


def _read(network: nn.Module, batch: Batch) -> Tensor:
    probability_BA: Tensor = network(batch.crop_BCHW)
    return probability_BA
