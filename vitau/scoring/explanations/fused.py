"""The explanation of a fused score: by how much its log-odds fall if a place of the face were like the other side.

It asks the same question of both parts. The network is asked by mirror occlusion. A feature of movement is 0 where both sides
are alike, so that its contribution is lost. A window that covers a part of its place takes that part. Both are log-odds of the
fused score, and are added.

Axes: B image, H row, W column, L landmark (68), F feature, G row or column of windows.
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vitau.asymmetry.explaining.places import place_sums, squares
from vitau.asymmetry.fusion import Fusion
from vitau.measures.geometry import Floats
from vitau.models.vit import PalsyViT
from vitau.schema import CROP_SIZE
from vitau.scoring.explanations.mirror import NUM_CELLS, WINDOW_CELLS, mirror_falls, on_cells

RIGHT: Final = 0
LEFT: Final = 1
_CELL_PX: Final = CROP_SIZE / NUM_CELLS


def fused_maps(
    model: PalsyViT, fusion: Fusion, crop_BCHW: Tensor, landmarks_BL2: NDArray[Any], movement_BF: NDArray[Any]
) -> Tensor:
    """Compute what the log-odds of a palsy of the whole score rest on, by place.

    Args:
        model: the network, in evaluation mode.
        fusion: of its score with movement.
        crop_BCHW: the network's input, float32 in [−1, 1].
        landmarks_BL2: dlib's landmarks (B, 68, 2), px of a crop of 256 px.
        movement_BF: features of each crop's person; NaN where the network answers alone.

    Returns:
        float32 (B, 16, 16), a map of cells, at least 0. Zeros mean that no place is evidence of a palsy.

    Raises:
        ValueError: the model is in training mode.
    """
    fall_BGG = fusion.task.network * mirror_falls(model, crop_BCHW)
    moved_BGG = np.stack([_falls(fusion, *of_face) for of_face in zip(landmarks_BL2, movement_BF, strict=True)])
    return on_cells((fall_BGG + torch.from_numpy(moved_BGG).to(fall_BGG)).clamp(min=0))


def movement_places(fusion: Fusion, movement_F: NDArray[Any]) -> tuple[int, Mapping[str, float]]:
    """Return the weaker side by movement, ``RIGHT`` or ``LEFT``, and what each place adds to the log-odds of a palsy.

    A person with an unknown feature has no place.
    """
    if not np.isfinite(movement_F).all():
        return RIGHT, {}
    feature_F = np.asarray(movement_F, np.float64)
    side = RIGHT if fusion.model.log_odds(feature_F[None]).right_P[0] >= 0 else LEFT
    sums = place_sums(fusion.model.explain(feature_F))
    return side, {place: fusion.task.movement * value for place, value in sums.items()}


def _falls(fusion: Fusion, landmarks_L2: NDArray[Any], movement_F: NDArray[Any]) -> Floats:
    """Return the fall (G, G) by the contributions of movement that each window takes on the weaker side."""
    num_windows = NUM_CELLS - WINDOW_CELLS + 1
    side, added = movement_places(fusion, movement_F)
    fall_GG, square = np.zeros((num_windows, num_windows)), squares(landmarks_L2, side)
    for place, log_odds in added.items():
        (x, y), half = square[place]
        fall_GG += log_odds * np.outer(_covered(y, half, num_windows), _covered(x, half, num_windows))
    return fall_GG


def _covered(middle: float, half: float, num_windows: int) -> Floats:
    """Return the share of an interval that each window covers along one axis, (G,)."""
    start_G = np.arange(num_windows) * _CELL_PX - 0.5  # px of a crop are at the centers of its pixels
    end_G = start_G + WINDOW_CELLS * _CELL_PX
    share_G: Floats = np.clip(np.minimum(end_G, middle + half) - np.maximum(start_G, middle - half), 0, None) / (2 * half)
    return share_G
