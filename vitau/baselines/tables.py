"""The rows of the paper's four tables: which methods are compared, and the paper's number of each.

Tables 3 and 4 are ablations of ViTAU's own region model: one recipe, whose loss, or whose part of the generator, differs. Where
the settings name drawn people, its rows pretrain on them, each with its own loss and part. Table 2 then has such a row too,
beside those of all methods with fresh weights.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal

from vitau.baselines.method import Method
from vitau.baselines.recognition.registry import recognition_methods
from vitau.baselines.regions.registry import region_methods
from vitau.baselines.regions.vitau_regions import VitauRegions
from vitau.evaluation.published import FEATURES, LOSSES, RECOGNITION, REGIONS, Published
from vitau.models.regions import RegionConfig
from vitau.store import Store
from vitau.training.config import Recipe
from vitau.training.pretraining.drawn_faces import DRAWING_VERSION
from vitau.training.recipes import find_recipe

TableName = Literal["recognition", "regions", "losses", "features"]
Part = Literal["all", "early", "middle", "late"]

TABLES: Final[tuple[TableName, ...]] = ("recognition", "regions", "losses", "features")
"""In the order of the paper, Table 1 to 4."""
LOSS_TITLES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "cross_entropy": "Cross-entropy loss",
        "kl": "KL divergence loss",
        "bce_with_logits": "Binary cross-entropy with logits loss",
        "mse": "MSE loss",
    }
)
"""Names in the configuration and in the paper, in the order of its Table 3."""
PART_TITLES: Final[Mapping[Part, str]] = MappingProxyType(
    {"early": "Early", "middle": "Middle", "late": "Late", "all": "All (ViTAU)"}
)
"""Parts of the generator's pyramid, in the order of the paper's Table 4; the paper does not define the thirds."""
OWN: Final = "vitau"
"""Name of ViTAU's row in both tasks."""
PRETRAINED: Final = "vitau-pretrained"
"""Name of its row that pretrains on drawn people first."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """A row of a table: the method, its title there, and the paper's number, ``None`` for a method that it leaves out."""

    method: Method
    title: str
    published: Published | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class RowSettings:
    """Settings of the rows beside their names.

    Attributes:
        recipes: first part of the names of ViTAU's region recipes.
        dinov2: sources of the user's DINOv2 weights.
        weights: sources of the user's weights of the region recipes.
        drawn_people: how many drawn people pretrain the rows of Tables 3 and 4; 0 for fresh weights.
        pretrained: folder of the pretrained models, in folders with the names of :func:`pretraining_name`.
    """

    recipes: str = "tiny"
    dinov2: tuple[str, ...] = ()
    weights: tuple[str, ...] = ()
    drawn_people: int = 0
    pretrained: str = ""


def table_rows(name: TableName, settings: RowSettings, store: Store | None = None) -> Sequence[Row]:
    """Return the rows of a table, in the paper's order; methods that it leaves out follow.

    Raises:
        TrainingError: there are no recipes of that size.
    """
    recognition = recognition_methods(settings.dinov2, store)
    if name == "recognition":
        return _rows(recognition, RECOGNITION)
    if name == "regions":
        regions = region_methods(recognition[OWN], size=settings.recipes)
        rows = _rows({key: _bring(method, settings, store) for key, method in regions.items()}, REGIONS)
        own = [row for row in _ablations("losses", settings) if row.method.name == PRETRAINED]
        return [*rows, *(replace(row, title="ViTAU, pretrained on drawn people", published=None) for row in own)]
    return [replace(row, method=_bring(row.method, settings, store)) for row in _ablations(name, settings)]


def _ablations(name: TableName, settings: RowSettings) -> list[Row]:
    """Return the rows of Table 3 or 4."""
    recipe = find_recipe(f"{settings.recipes}-regions")
    assert isinstance(recipe.model, RegionConfig), "a recipe of the regions"
    rows: list[Row] = []
    if name == "losses":
        for loss, title in LOSS_TITLES.items():
            pretrain = None if recipe.pretrain is None else replace(recipe.pretrain, loss=loss)
            changed = replace(recipe, train=replace(recipe.train, loss=loss), pretrain=pretrain)
            rows.append(Row(method=_variant(changed, loss, "mse", title, settings), title=title, published=LOSSES[loss]))
    else:
        for part, title in PART_TITLES.items():
            changed = replace(recipe, model=replace(recipe.model, features=part))
            rows.append(Row(method=_variant(changed, part, "all", title, settings), title=title, published=FEATURES[part]))
    return rows


def _variant(recipe: Recipe, name: str, usual: str, title: str, settings: RowSettings) -> VitauRegions:
    """Return the method of an ablation; the usual recipe has one name in all tables, so that it is trained once."""
    if not settings.drawn_people or recipe.drawn is None:
        return VitauRegions(recipe=recipe, variant=None if name == usual else (f"{OWN}-{name.replace('_', '-')}", title))
    recipe = replace(recipe, drawn=replace(recipe.drawn, num_people=settings.drawn_people))
    own_name = PRETRAINED if name == usual else f"{PRETRAINED}-{name.replace('_', '-')}"
    folder = Path(settings.pretrained) / pretraining_name(recipe)
    return VitauRegions(recipe=recipe, pretrained=folder, variant=(own_name, title))


def pretraining_name(recipe: Recipe) -> str:
    """Return the name of the folder of a recipe's pretrained model: a digest of all that determines it."""
    facts = [asdict(recipe.model), str(recipe.pretrain), str(recipe.drawn), DRAWING_VERSION]
    return sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def _bring(method: Method, settings: RowSettings, store: Store | None) -> Method:
    if not isinstance(method, VitauRegions) or not method.recipe.needs_weights:
        return method
    return replace(method, weights=settings.weights, store=store)


def _rows(methods: Mapping[str, Method], published: Mapping[str, Published]) -> list[Row]:
    return [Row(method=method, title=method.title, published=published.get(name)) for name, method in methods.items()]
