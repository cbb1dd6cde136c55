"""Mirror occlusion: which places of a face make recognition answer "palsied", found by mirroring each of them."""

from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from vitau.models.vit import PalsyViT

# B image, C channel, H row, W column, G row or column of windows, N window

NUM_CELLS: Final = 16
"""Cells per side of the picture: windows lie one cell apart."""
WINDOW_CELLS: Final = 3
"""Side of a window in cells. Of windows of 2 to 8 cells, 3 pointed best, on drawn and on rendered faces."""
PIXELS_PER_PASS: Final = 1 << 20
"""Pixels of the pictures in one forward pass, which bounds the memory: 256 pictures of 64 px, 16 of 256 px."""


def mirror_occlusion(model: PalsyViT, crop_BCHW: Tensor) -> Tensor:
    """Compute where a face differs from its mirror image in a way that makes it palsied to the model.

    A window is replaced by the same window of the mirrored picture. The fall of the logit difference, palsied − healthy, is
    drawn at the window's center; where it rises, the map is 0. A mirrored place is a face's own skin, in its own light, so
    that the picture stays a face. An aligned face has its midline in the middle.

    Args:
        model: in evaluation mode.
        crop_BCHW: the model's input, float32 in [−1, 1].

    Returns:
        float32 (B, 16, 16), a map of cells, at least 0, in units of the logit difference. A map of zeros means that no window
        is evidence of a palsy.

    Raises:
        ValueError: the model is in training mode.
    """
    return on_cells(mirror_falls(model, crop_BCHW).clamp(min=0))


def mirror_falls(model: PalsyViT, crop_BCHW: Tensor) -> Tensor:
    """Compute by how much the logit difference, palsied − healthy, falls when each window is mirrored: float32 (B, 14, 14).

    Raises:
        ValueError: the model is in training mode.
    """
    if model.training:
        raise ValueError("an explanation by a model in training mode changes at random: call model.eval() first")
    with torch.inference_mode():
        return torch.stack([_falls(model, crop_CHW) for crop_CHW in crop_BCHW])


def on_cells(fall_BGG: Tensor) -> Tensor:
    """Return values of windows as a map (B, 16, 16) of cells, each at the center of its window, with zeros around."""
    return functional.pad(fall_BGG, ((NUM_CELLS - fall_BGG.shape[-1]) // 2,) * 4)


def palsy_evidence(model: PalsyViT, crop_BCHW: Tensor) -> Tensor:
    """Compute the logit difference palsied − healthy (B,), in passes of bounded memory."""
    size = max(1, PIXELS_PER_PASS // crop_BCHW[0, 0].numel())
    logit_B2 = torch.cat([model(crop_BCHW[start : start + size]) for start in range(0, len(crop_BCHW), size)])
    return logit_B2[:, 1] - logit_B2[:, 0]


def _falls(model: PalsyViT, crop_CHW: Tensor) -> Tensor:
    """Return the fall (G, G) by the window's row and column."""
    size = crop_CHW.shape[-1]
    edges = [round(cell * size / NUM_CELLS) for cell in range(NUM_CELLS + 1)]
    spans = [slice(start, end) for start, end in zip(edges, edges[WINDOW_CELLS:], strict=False)]
    mirrored_CHW = crop_CHW.flip(-1)
    window_NCHW = crop_CHW.repeat(len(spans) ** 2, 1, 1, 1)
    for index, (rows, columns) in enumerate((rows, columns) for rows in spans for columns in spans):
        window_NCHW[index, :, rows, columns] = mirrored_CHW[:, rows, columns]
    before_1, after_N = palsy_evidence(model, crop_CHW[None]), palsy_evidence(model, window_NCHW)
    return (before_1 - after_N).reshape(len(spans), len(spans))
