"""Identity adversary, a control that the paper leaves out: the features that tell a palsy may not tell the person.

Y. Ganin et al., *Domain-adversarial training of neural networks*, JMLR 17(59), 2016.

The authors': a second head whose gradient is reversed before it reaches the features. Ours: its classes are the training
people, those of the frame's own cohort alone, since a person's cohort is what the first head must keep; the features, the
first head and the settings of :mod:`vitau_vit <vitau.baselines.recognition.networks.vitau_vit>`; a constant strength of 0.3.

Axes: B images, P training people, D features.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from vitau.baselines.fitting import FittedFrames, FrameMethod, Settings, check_people
from vitau.baselines.method import Budget
from vitau.baselines.recognition.networks.classifier import palsy_score
from vitau.baselines.recognition.networks.vitau_vit import PATCH, SETTINGS, build
from vitau.data.dataset import Crops
from vitau.data.protocols import Task
from vitau.models.vit import PalsyViT
from vitau.training.tasks import Batch

STRENGTH: Final = 0.3
"""Factor of the reversed gradient."""


@dataclass(frozen=True, kw_only=True, slots=True)
class IdentityAdversary:
    """The method; the number of its second head's classes is that of the training people."""

    settings: Settings = SETTINGS
    name: str = "identity-adversary"
    title: str = "Identity adversary"
    task: Task = "palsy"

    def fit(self, train: Crops, valid: Crops, budget: Budget, *, seed: int) -> FittedFrames:
        """Train on some people; without validation people the last epoch is kept.

        Raises:
            TrainingError: a class has no people, or the loss is not finite.
        """
        check_people(train, self.task)
        _, first_P = np.unique(train.subject_N, return_index=True)
        palsied_P = torch.from_numpy(train.palsied_N[first_P])
        method = FrameMethod(
            name=self.name,
            title=self.title,
            task=self.task,
            image_px=256,
            multiple_px=PATCH,
            build=lambda budget, image_px: AnonymousViT(build(budget, image_px), palsied_P),
            objective=palsy_and_identity_loss,
            read=palsy_score,
            settings=self.settings,
        )
        return method.fit(train, valid, budget, seed=seed)


class AnonymousViT(nn.Module):
    """A transformer with a second head, which tells the training people of a cohort apart.

    Args:
        images: the transformer.
        palsied_P: the cohorts of the people.
    """

    palsied_P: Tensor

    def __init__(self, images: PalsyViT, palsied_P: Tensor) -> None:
        super().__init__()
        self.images = images
        self.people = nn.Linear(images.vit.embed_dim, len(palsied_P))
        self.register_buffer("palsied_P", palsied_P)

    def forward(self, crop_BCHW: Tensor) -> Tensor:
        """Return the logits (B, 2), healthy and palsied."""
        return self.images(crop_BCHW)  # type: ignore[no-any-return]  # torch leaves a module's call without types

    def identify(self, feature_BD: Tensor, palsied_B: Tensor) -> Tensor:
        """Return the logits (B, P) of the people of each frame's cohort, −inf for the others; the gradient is reversed."""
        reversed_BD = (1 + STRENGTH) * feature_BD.detach() - STRENGTH * feature_BD
        logit_BP: Tensor = self.people(reversed_BD)
        return logit_BP.masked_fill(palsied_B[:, None] != self.palsied_P, -torch.inf)


def palsy_and_identity_loss(network: nn.Module, batch: Batch) -> Tensor:
    """Compute the cross-entropies of the palsy and of the person; a scalar."""
    assert isinstance(network, AnonymousViT), "the network of this method"
    feature_BD = network.images.features(network.images.tokens(batch.crop_BCHW))
    palsy = functional.cross_entropy(network.images.vit.head(feature_BD), batch.palsied_B.long())
    return palsy + functional.cross_entropy(network.identify(feature_BD, batch.palsied_B), batch.person_B)
