"""The recipes of a retraining by the settings, the weights that they start from, and the keys of their results."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Final

from flows.promotion.registered_models import PALSY, REGIONS
from flows.settings import SIZES, Settings
from flows.workspace import Workspace
from vitau.errors import TrainingError
from vitau.models.weights import HUB, IN_STORE, find_weights
from vitau.schema import Protocol
from vitau.training.config import Recipe
from vitau.training.pretraining.drawn_faces import DRAWING_VERSION
from vitau.training.recipes import BACKBONE, CAMERA, MOVEMENT, find_recipe, pretrained_recipe
from vitau.training.start import missing_weights

PAPER: Final = "paper"
FUSED: Final = ("tiny", "small")
"""Sizes whose networks are fused with movement: those that start from drawn people. Smoke recipes learn nothing anyway."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedTraining:
    """One training of a retraining.

    Attributes:
        model: Name of the registered model.
        recipe: Name of the recipe.
        snapshot: Digest of the snapshot.
        key: Identity of the training; a known one is not repeated.
        weights: Sources of the user's own weights.
        protocol: How people are kept from the models: held out, or left out one at a time before a training on everybody.
        balance_people: Draw every training person equally often.
    """

    model: str
    recipe: str
    snapshot: str
    key: str
    weights: tuple[str, ...] = ()
    protocol: Protocol = Protocol.SUBJECTS
    balance_people: bool = False


def choose_recipes(settings: Settings, size: str, *, confounded: bool = False) -> Mapping[str, str]:
    """Return the names of the recipes of a size by registered model.

    Args:
        settings: of the workspace.
        size: family of recipes.
        confounded: the shortcut probe separates the cohorts, so that the camera is changed too. The paper's recipes have no
            augmentation.

    Raises:
        ValueError: there is no such size.
        TrainingError: the settings name a backbone, or a kind of regions, that this size does not have.
    """
    if size not in SIZES:
        raise ValueError(f"there is no recipe size {size}: choose one of {', '.join(SIZES)}")
    if settings.regions == "fgnet" and size != PAPER:
        raise TrainingError(f"FG-Net's checkpoint has the size of the paper's model, not {size}: retrain with --size paper")
    wanted = settings.camera_augmentation
    camera = CAMERA if size != PAPER and (wanted == "always" or (wanted == "auto" and confounded)) else ""
    movement = MOVEMENT if size in FUSED and settings.movement == "fused" else ""
    palsy = f"{size}-palsy{movement}{camera}" + (f"{BACKBONE}{settings.backbone}" if settings.backbone else "")
    regions = f"{size}-{'regions' if settings.regions == 'paired' else settings.regions}{movement}{camera}"
    for name in (palsy, regions):
        find_recipe(name)
    return {PALSY: palsy, REGIONS: regions}


def plan_trainings(workspace: Workspace, size: str, snapshot: str, *, confounded: bool = False) -> dict[str, PlannedTraining]:
    """Return what a retraining would train, by registered model, after checking that the weights to start from exist.

    Args:
        workspace: the settings and the store.
        size: family of recipes.
        snapshot: digest.
        confounded: see :func:`choose_recipes`.

    Raises:
        ValueError: there is no such size.
        TrainingError: a recipe needs weights, and the settings name none.
        CheckpointError: the weights that the settings name do not exist.
    """
    planned = {}
    for model, name in choose_recipes(workspace.settings, size, confounded=confounded).items():
        weights = find_sources(workspace, find_recipe(name))
        key = training_key(name, snapshot, weights.digests)
        training = PlannedTraining(model=model, recipe=name, snapshot=snapshot, key=key, weights=weights.sources)
        planned[model] = balance(training) if workspace.settings.balance_people else training
    return planned


def balance(training: PlannedTraining) -> PlannedTraining:
    """Return a training that draws every person equally often, under a key of its own."""
    return replace(training, balance_people=True, key=derived_key(training, "balanced"))


def derived_key(training: PlannedTraining, change: str) -> str:
    """Return the key of a training that differs from another by something that is in no recipe."""
    return sha256(f"{change} {training.key}".encode()).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True, slots=True)
class Weights:
    """The sources of the weights that a recipe starts from, and the sha256 of their files."""

    sources: tuple[str, ...] = ()
    digests: tuple[str, ...] = ()


def find_sources(workspace: Workspace, recipe: Recipe) -> Weights:
    """Return the weights that the settings name for a recipe; none for a recipe that is pretrained on drawn people.

    Raises:
        TrainingError: the recipe needs weights, and the settings name none.
        CheckpointError: the weights that the settings name do not exist.
    """
    if not recipe.needs_weights:
        return Weights()
    settings = workspace.settings
    sources = settings.weights_palsy if recipe.kind == "palsy" else settings.weights_regions
    if not sources:
        raise TrainingError(missing_weights(recipe))
    absolute = (source if source == HUB or source.startswith(IN_STORE) else str(Path(source).resolve()) for source in sources)
    digests = find_weights(sources, workspace.store, recognition=recipe.kind == "palsy")
    return Weights(sources=tuple(absolute), digests=tuple(digests))


def training_key(recipe: str, snapshot: str, weights: Sequence[str] = ()) -> str:
    """Return the key of a training: a digest of the recipe, the drawing code, the snapshot and the weights it starts from."""
    parts = [str(find_recipe(recipe)), DRAWING_VERSION, snapshot, *weights]
    return sha256(" ".join(parts).encode()).hexdigest()[:16]


def pretraining_folder(workspace: Workspace, recipe: str) -> Path:
    """Return the folder of a recipe's pretraining, which all snapshots share."""
    name = sha256(f"{find_recipe(pretrained_recipe(recipe))} {DRAWING_VERSION}".encode()).hexdigest()[:16]
    return workspace.folder("pretrained") / name
