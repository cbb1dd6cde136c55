"""Grad-CAM (Selvaraju et al., ICCV 2017) of both models: where the network looked for an answer."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from vitau.models.regions import RegionModel
from vitau.models.vit import PalsyViT

Step = Callable[[Tensor], Tensor]

# B image, T target, K map of the layer, H row, W column


def gradcam(model: PalsyViT | RegionModel, crop_BCHW: Tensor, targets: Sequence[int] | None = None) -> Tensor:
    """Show where the network looked for its answers, laid over the input.

    Args:
        model: in evaluation mode.
        crop_BCHW: the model's input, float32 in [−1, 1], any number of images.
        targets: which answers: logits of the recognition model (0 healthy, 1 palsied), regions by their place in ``schema.AUS``
            for the region model; all by default.

    Returns:
        float32 (B, T, H, W) in [0, 1], of the input's side. Every map is divided by its own maximum, so maps say where, not how
        much; a map without any evidence stays 0.

    Raises:
        ValueError: the model is in training mode, or there is no such target.
    """
    map_BTHW = cam(model, crop_BCHW, targets)
    map_BTHW = functional.interpolate(map_BTHW, size=crop_BCHW.shape[-2:], mode="bilinear", align_corners=False)
    peak_BT11 = map_BTHW.amax((2, 3), keepdim=True)
    return map_BTHW / torch.where(peak_BT11 > 0, peak_BT11, 1.0)


def cam(model: PalsyViT | RegionModel, crop_BCHW: Tensor, targets: Sequence[int] | None = None) -> Tensor:
    """Return the maps of :func:`gradcam` as they are computed: L = ReLU(Σ_k α_k A^k) with α_k the mean of ∂y/∂A^k (METHOD §5).

    The layer A is what enters the last block for the ViT, laid out on the patch grid without class and register tokens, and the
    last convolution before the heatmap output for the region model, whose answers y are the decoded scores. Up to the layer
    everything runs once and without gradients; the rest is differentiated once per target, for all images together.

    Returns:
        float32 (B, T, h, w), of the layer's side, not normalised.
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
    """Return the ways from the input to the layer, from there to the scores (B, U), and from there to maps (B, K, H, W)."""
    if isinstance(model, PalsyViT):
        return model.tokens, model.tail, model.token_maps
    return model.features, lambda layer: model.scores(model.tail(layer)), lambda layer: layer
