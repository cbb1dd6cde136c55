"""The start of a training: fresh weights, a pretrained model, or weights that the user brings."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import torch

from vitau.errors import TrainingError
from vitau.models.checkpoint import Model, load_model, model_digest
from vitau.models.regions import RegionConfig, build_regions
from vitau.models.vit import ViTConfig, build_vit
from vitau.models.weights import bring_weights
from vitau.store import Store
from vitau.training.config import Recipe

MODEL: Final = "model"
"""Folder of the model within the results of a training."""


def start_model(
    recipe: Recipe, pretrained: Path | None = None, weights: Sequence[str] = (), store: Store | None = None
) -> tuple[Model, dict[str, Any]]:
    """Build a recipe's model with the weights that its training starts from; return it and their lineage.

    Args:
        recipe: the model and its training.
        pretrained: a model folder, or the results of a pretraining.
        weights: sources of the user's own weights instead, see :func:`vitau.models.weights.bring_weights`.
        store: of ``store:`` in the sources.

    Raises:
        TrainingError: both were given, or neither although the recipe needs public weights, or the model cannot be built.
        CheckpointError: the weights are missing, damaged or of another shape.
    """
    if pretrained is not None and weights:
        raise TrainingError("a training starts from --pretrained or from --weights: give one of them")
    if pretrained is not None:
        return _load_pretrained(recipe, pretrained)
    if recipe.needs_weights and not weights:
        raise TrainingError(missing_weights(recipe))
    torch.manual_seed(recipe.train.seed)
    try:
        fresh = build_regions(recipe.model) if isinstance(recipe.model, RegionConfig) else build_vit(recipe.model)
    except ValueError as impossible:
        raise TrainingError(f"recipe {recipe.name}: {impossible}") from impossible
    if not weights:
        return fresh, {}
    assert store is not None
    return fresh, {"weights": bring_weights(fresh, weights, store)}


def missing_weights(recipe: Recipe) -> str:
    """Return the sentence that says which weights a recipe needs and how to bring them."""
    if isinstance(recipe.model, ViTConfig):
        files = f"timm's weights of {recipe.model.name}"
    elif recipe.name == "paper-fgnet":
        files = "pSp's and FG-Net's public checkpoints"
    else:
        files = "pSp's and StyleGAN2's public checkpoints"
    variable = "VITAU_WEIGHTS_PALSY" if recipe.kind == "palsy" else "VITAU_WEIGHTS_REGIONS"
    return (
        f"recipe {recipe.name} starts from {files}, and none were given: download them where there is a network, and give "
        f"their paths or store:KEY with --weights, or to the flow in {variable}"
    )


def _load_pretrained(recipe: Recipe, pretrained: Path) -> tuple[Model, dict[str, Any]]:
    torch.manual_seed(recipe.train.seed)
    folder = pretrained / MODEL if (pretrained / MODEL).exists() else pretrained
    model, card = load_model(folder)
    if model.config != recipe.model:
        raise TrainingError(
            f"the model in {folder} was made by recipe {card.get('recipe')} and has another shape than {recipe.name}'s: "
            f"pretrain with --recipe {recipe.name}"
        )
    lineage = {
        "pretrained": str(card.get("recipe")),
        "pretrained_digest": model_digest(folder),
        "pretrained_on_synthetic": bool(card.get("synthetic")),
    }
    return model, lineage | ({"drawn": card["drawn"]} if "drawn" in card else {})
