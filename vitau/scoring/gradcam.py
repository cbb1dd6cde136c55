"""Grad-CAM (Selvaraju et al., ICCV 2017) of both models."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from vitau.models.regions import RegionModel
from vitau.models.vit import PalsyViT

Step = Callable[[Tensor], Tensor]

# B image, T target, K map of the layer, H row, W column


def gradcam(model: PalsyViT | RegionModel, crop_BCHW: Tensor, targets: Sequence[int] | None = None) -> Tensor:
    """Compute Grad-CAM maps at the resolution of the input.

    Args:
        model: in evaluation mode.
        crop_BCHW: the model's input, float32 in [−1, 1], any number of images.
        targets: outputs to explain, all by default: classes of the recognition model (0 healthy, 1 palsied), or regions by
            their index in ``schema.AUS``.

    Returns:
        float32 (B, T, H, W) in [0, 1]. Every map is divided by its own maximum, so maps show the position, not the strength; a
        map that is 0 everywhere stays 0.

    Raises:
        ValueError: the model is in training mode, or a target does not exist.
    """
    map_BTHW = cam(model, crop_BCHW, targets)
    map_BTHW = functional.interpolate(map_BTHW, size=crop_BCHW.shape[-2:], mode="bilinear", align_corners=False)
    peak_BT11 = map_BTHW.amax((2, 3), keepdim=True)
    return map_BTHW / torch.where(peak_BT11 > 0, peak_BT11, 1.0)


def cam(model: PalsyViT | RegionModel, crop_BCHW: Tensor, targets: Sequence[int] | None = None) -> Tensor:
    """Compute the maps L = ReLU(Σ_k α_k A^k) of a layer A, with α_k the mean of ∂y/∂A^k (METHOD §5).

    For the ViT, A is the input of the last block on the patch grid, without class and register tokens, and y is a class's logit
    less the other's: a constant added to both changes no decision. For the region model, A is the activation of the last
    convolution before the heatmap output, and y are the means of the heatmaps before clamping. The clamp has no gradient where
    a heatmap is surest. The network up to the layer runs once without gradients. The rest is differentiated once per target,
    for all images together.

    Returns:
        float32 (B, T, h, w), at the resolution of the layer, not normalized.
    """
    if model.training:
        raise ValueError("Grad-CAM of a model in training mode mixes the images of a batch: call model.eval() first")
    to_layer, to_scores, to_maps = split(model)
    with torch.no_grad():
        layer = to_layer(crop_BCHW)
    with torch.enable_grad():
        layer.requires_grad_()
        score_BU = to_scores(layer)
        chosen = range(score_BU.shape[1]) if targets is None else targets
        unknown = [target for target in chosen if not 0 <= target < score_BU.shape[1]]
        if unknown:
            raise ValueError(f"there is no target {unknown[0]}: this model has {score_BU.shape[1]}, counted from 0")
        slopes = [torch.autograd.grad(score_BU[:, target].sum(), layer, retain_graph=True)[0] for target in chosen]
    weight_BTK = torch.stack([to_maps(slope).mean((2, 3)) for slope in slopes], dim=1)
    return torch.einsum("btk,bkhw->bthw", weight_BTK, to_maps(layer.detach())).relu()


def split(model: PalsyViT | RegionModel) -> tuple[Step, Step, Step]:
    """Return functions: input to layer, layer to scores (B, U), layer to maps (B, K, H, W)."""
    if isinstance(model, PalsyViT):
        return model.tokens, lambda layer: class_differences(model.tail(layer)), model.token_maps
    return model.features, lambda layer: unclamped_scores(model, model.tail(layer)), lambda layer: layer


def class_differences(logit_BU: Tensor) -> Tensor:
    """Return each logit less the mean of the others, same shape; of two classes: healthy − palsied, palsied − healthy."""
    others_BU = (logit_BU.sum(1, keepdim=True) - logit_BU) / (logit_BU.shape[1] - 1)
    return logit_BU - others_BU


def unclamped_scores(model: RegionModel, heatmaps_BAHW: Tensor) -> Tensor:
    """Compute the scores (B, 8) of the regions as the model does, but from heatmaps that are not clamped."""
    if model.config.mode == "sided":
        return torch.stack([half.mean((2, 3)) for half in heatmaps_BAHW.chunk(2, dim=-1)], dim=-1).amax(-1)
    return heatmaps_BAHW.mean((2, 3))
