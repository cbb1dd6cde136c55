"""Frozen DINOv2 features, a control that the paper leaves out.

M. Oquab and others, *DINOv2: Learning robust visual features without supervision*, Transactions on Machine Learning Research,
2024.

The authors': the network and its weights, which the user brings. Ours: timm's ``vit_small_patch14_dinov2`` at 224 px, the
final class token, standardized, and a logistic regression whose penalty the validation people choose. The side
of the image is rounded down to whole patches. Without weights the features would be those of a random network, so fitting
raises an error.
"""

import re
from collections.abc import Sequence
from functools import lru_cache, partial
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from vitau.baselines.method import Budget
from vitau.baselines.recognition.landmarks.estimators import FeatureMethod
from vitau.baselines.recognition.landmarks.landmarks_alone import logistic
from vitau.data.dataset import Crops
from vitau.errors import TrainingError
from vitau.models.inputs import to_input
from vitau.models.vit import PalsyViT, ViTConfig, build_vit
from vitau.models.weights import bring_weights
from vitau.store import Store

BACKBONE: Final = "vit_small_patch14_dinov2"
_INPUT_PX: Final = 224
_PENALTIES: Final = (0.01, 0.1, 1e-3)


def dinov2(weights: Sequence[str] = (), store: Store | None = None, *, backbone: str = BACKBONE) -> FeatureMethod:
    """Return the method.

    Args:
        weights: sources of the user's weights, see :func:`vitau.models.weights.bring_weights`.
        store: of ``store:`` in the sources.
        backbone: timm's name of the network.

    Raises:
        ValueError: the name does not give the side of a patch.
    """
    found = re.search(r"patch(\d+)", backbone)
    if found is None:
        raise ValueError(f"{backbone} does not give the side of its patches: take a name such as {BACKBONE}")
    patch = int(found[1])

    @lru_cache(maxsize=1)
    def network(image_px: int, device: str) -> PalsyViT:
        return _load(tuple(weights), store, ViTConfig(name=backbone, input_size=image_px, dropout=0.0)).to(device)

    def features(crops: Crops, budget: Budget) -> NDArray[np.float32]:
        side = budget.image_px or _INPUT_PX
        return class_tokens(network(side - side % patch, budget.device), crops, budget)

    return FeatureMethod(
        name="dinov2",
        title="Frozen DINOv2 features",
        features=features,
        unit="frame",
        candidates=[partial(logistic, penalty) for penalty in _PENALTIES],
    )


def class_tokens(network: PalsyViT, crops: Crops, budget: Budget) -> NDArray[np.float32]:
    """Return the final class token (N, D) of every frame."""
    tokens = []
    with torch.inference_mode():
        for rows in crops.batches(budget.batch_size):
            pixels = torch.from_numpy(crops.pixels(rows)).to(budget.device)
            final_BND = network.final_tokens(network.tokens(to_input(pixels, network.input_size)))
            tokens.append(final_BND[:, 0].float().cpu().numpy())
    return np.concatenate(tokens)


def _load(weights: Sequence[str], store: Store | None, config: ViTConfig) -> PalsyViT:
    if not weights or store is None:
        raise TrainingError(
            f"the method dinov2 needs weights of timm's {config.name}, and none were given: "
            "download them where there is a network, and give their path"
        )
    network = build_vit(config)
    bring_weights(network, weights, store)
    return network.eval()
