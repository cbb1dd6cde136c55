"""AUNCE-style: a vector per region that is learned by comparing faces, then judged by linear layers.

Shang, Liu, Teng, Li, *Learning contrastive feature representations for facial action unit detection*, arXiv 2402.06165, 2024.
The authors': the encoder of ME-GraphAU without its cosine, a unit vector per label, InfoNCE per label at a temperature of 0.5
on two views of an image, three kinds of positives at 0.2, 0.6 and 0.2, and a linear classifier on the frozen encoder. Ours: the
three kinds enter as weights of three losses, which is what drawing one at random is on average; negatives have equal weights;
the views are those of ViTAU's augmentation; a ResNet-50 instead of a Swin transformer. The classifier already trains beside
the encoder, on detached vectors, so that validation people can choose the encoder's epoch. Weights are fresh; those of
ImageNet may be brought.

Axes: B images, A regions (8), D width of a vector.
"""

from dataclasses import dataclass, field, replace
from typing import Final, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from vitau.baselines.fitting import FittedFrames, FrameMethod, Settings
from vitau.baselines.method import Budget
from vitau.baselines.regions.losses import mean_of_known, region_weights, weighted_softmax
from vitau.baselines.regions.me_graphau import RegionGraph
from vitau.baselines.regions.prevalence import prevalences
from vitau.data.dataset import Crops
from vitau.data.protocols import Task
from vitau.schema import AUS
from vitau.training.augment import augment, draw_changes
from vitau.training.config import Augmentation
from vitau.training.tasks import Batch

TEMPERATURE: Final = 0.5
POSITIVES: Final = (0.2, 0.6, 0.2)
"""Weights of the positives: the least similar face with the same label, the mean of those faces, and the own second view."""
VECTOR_WIDTH: Final = 1024
NONE: Final = -1e9
"""Similarity of a missing negative, whose exponential is 0."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Aunce:
    """Train the encoder by comparison, and linear layers on it.

    Attributes:
        backbone: timm's name of a ResNet.
        settings: of the optimizer, in both stages.
    """

    backbone: str = "resnet50"
    settings: Settings = field(default_factory=lambda: Settings(lr=1e-4, weight_decay=5e-4, schedule="cosine"))
    name: str = "aunce"
    title: str = "AUNCE-style"
    task: Task = "regions"

    def fit(self, train: Crops, valid: Crops, budget: Budget, *, seed: int) -> FittedFrames:
        """Train on palsied people with labels, for the budget's epochs in each stage.

        See :class:`vitau.baselines.method.Method`.
        """
        weight_A = region_weights(torch.from_numpy(prevalences(train)).float()).to(budget.device)

        def classify(network: nn.Module, vector_BAD: Tensor, batch: Batch) -> Tensor:
            return weighted_softmax(network.get_submodule("head")(vector_BAD), batch.affected_BA, batch.known_BA, weight_A)

        def compare(network: nn.Module, batch: Batch) -> Tensor:
            encoder = network.get_submodule("encoder")
            one_BAD, other_BAD = (encoder(view(batch)) for _ in range(2))
            loss = info_nce(one_BAD, other_BAD, batch.affected_BA, batch.known_BA)
            return loss + classify(network, one_BAD.detach(), batch)

        def judge(network: nn.Module, batch: Batch) -> Tensor:
            return classify(network, network.get_submodule("encoder")(batch.crop_BCHW), batch)

        def build(budget: Budget, _image_px: int) -> nn.Module:
            return AunceNetwork(self.backbone, budget.width)

        method = FrameMethod(
            name=self.name,
            title=self.title,
            task=self.task,
            image_px=224,
            build=build,
            objective=compare,
            read=_read,
            settings=self.settings,
        )
        compared = method.fit(train, valid, budget, seed=seed)
        linear = replace(method, build=lambda _budget, _image_px: frozen(compared.network), objective=judge)
        return linear.fit(train, valid, budget, seed=seed)


class AunceNetwork(nn.Module):
    """The encoder, from an image to unit vectors (B, 8, D), and the classifier on it; ``width`` multiplies all channels."""

    def __init__(self, backbone: str, width: float) -> None:
        super().__init__()
        graph = RegionGraph(backbone, VECTOR_WIDTH, width)
        self.encoder = UnitVectors(graph)
        self.head = RegionClassifier(graph.node_width)

    def forward(self, crop_BCHW: Tensor) -> Tensor:
        """Return two logits per region (B, 8, 2), spared and affected."""
        logit_BA2: Tensor = self.head(self.encoder(crop_BCHW))
        return logit_BA2


class UnitVectors(nn.Module):
    """Vectors of the regions at length 1; a frozen one stays in evaluation mode."""

    def __init__(self, graph: RegionGraph) -> None:
        super().__init__()
        self.graph = graph
        self.frozen = False

    def forward(self, crop_BCHW: Tensor) -> Tensor:
        """Return (B, 8, D)."""
        return functional.normalize(self.graph(crop_BCHW), dim=-1)

    def train(self, mode: bool = True) -> Self:
        """Set the mode of the layers."""
        super().train(mode and not self.frozen)
        return self


class RegionClassifier(nn.Module):
    """Two linear layers per region, D to 32 to 2, without an activation between: the evaluation stays linear."""

    def __init__(self, width: int, hidden: int = 32) -> None:
        super().__init__()
        self.of_region = nn.ModuleList(nn.Sequential(nn.Linear(width, hidden), nn.Linear(hidden, 2)) for _ in AUS)

    def forward(self, vector_BAD: Tensor) -> Tensor:
        """Return logits (B, 8, 2)."""
        return torch.stack([layers(vector_BAD[:, row]) for row, layers in enumerate(self.of_region)], dim=1)


def frozen(network: nn.Module) -> AunceNetwork:
    """Return the network with an encoder that no longer changes."""
    assert isinstance(network, AunceNetwork)
    network.encoder.frozen = True
    network.encoder.requires_grad_(requires_grad=False)
    return network


def view(batch: Batch) -> Tensor:
    """Return a randomly changed copy of the images, by torch's random state."""
    device = batch.crop_BCHW.device
    generator = torch.Generator(device).manual_seed(int(torch.randint(1 << 62, ())))
    changes = draw_changes(len(batch.crop_BCHW), batch.crop_BCHW.shape[-1], Augmentation(), generator)
    return augment(batch.crop_BCHW, batch.landmarks_BL2, changes)[0]


def info_nce(one_BAD: Tensor, other_BAD: Tensor, affected_BA: Tensor, known_BA: Tensor) -> Tensor:
    """Compare each face with the other views of all faces in the batch, region by region; a scalar.

    For a positive similarity s⁺ and the similarities s of faces with the other label, it is
    −log(exp(s⁺/τ) / (exp(s⁺/τ) + Σ exp(s/τ))). The three kinds of positives are weighted by ``POSITIVES``. All three count the
    own second view as a face with the same label. A face whose region has no known label takes no part.

    Args:
        one_BAD: unit vectors of the first views.
        other_BAD: of the second views.
        affected_BA: labels.
        known_BA: whether there is a label.
    """
    similarity_BBA = torch.einsum("iad,jad->ija", one_BAD, other_BAD) / TEMPERATURE
    both_BBA = known_BA[:, None] & known_BA[None]
    same_BBA = both_BBA & (affected_BA[:, None] == affected_BA[None])
    hardest_BA = similarity_BBA.masked_fill(~same_BBA, -NONE).amin(1)
    mean_BA = (similarity_BBA * same_BBA).sum(1) / same_BBA.sum(1).clamp(min=1)
    own_BA = similarity_BBA.diagonal().T
    negative_BA = similarity_BBA.masked_fill(~(both_BBA & ~same_BBA), NONE).logsumexp(1)
    losses = [functional.softplus(negative_BA - positive_BA) for positive_BA in (hardest_BA, mean_BA, own_BA)]
    total_BA = torch.stack([share * loss_BA for share, loss_BA in zip(POSITIVES, losses, strict=True)]).sum(0)
    return mean_of_known(total_BA, known_BA)


def _read(network: nn.Module, batch: Batch) -> Tensor:
    probability_BA: Tensor = network(batch.crop_BCHW).softmax(-1)[..., 1]
    return probability_BA
