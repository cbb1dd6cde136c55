"""The rows of the paper's four tables: which methods are compared, and the paper's number of each.

Tables 3 and 4 are ablations of ViTAU's own region model: one recipe, whose loss, or whose part of the generator, differs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final, Literal

from vitau.baselines.method import Method
from vitau.baselines.recognition.registry import recognition_methods
from vitau.baselines.regions.registry import region_methods
from vitau.baselines.regions.vitau_regions import VitauRegions
from vitau.evaluation.published import FEATURES, LOSSES, RECOGNITION, REGIONS, Published
from vitau.models.regions import RegionConfig
from vitau.store import Store
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
    """

    recipes: str = "tiny"
    dinov2: tuple[str, ...] = ()
    weights: tuple[str, ...] = field(default=())


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
        return _rows({key: _bring(method, settings, store) for key, method in regions.items()}, REGIONS)
    recipe = find_recipe(f"{settings.recipes}-regions")
    assert isinstance(recipe.model, RegionConfig), "a recipe of the regions"
    variants: list[tuple[VitauRegions, str, Published]] = []
    if name == "losses":
        for loss, title in LOSS_TITLES.items():
            changed = replace(recipe, train=replace(recipe.train, loss=loss))
            variants.append((VitauRegions(recipe=changed, variant=_variant(loss, "mse", title)), title, LOSSES[loss]))
    else:
        for part, title in PART_TITLES.items():
            changed = replace(recipe, model=replace(recipe.model, features=part))
            variants.append((VitauRegions(recipe=changed, variant=_variant(part, "all", title)), title, FEATURES[part]))
    return [
        Row(method=_bring(method, settings, store), title=title, published=published) for method, title, published in variants
    ]


def _variant(name: str, usual: str, title: str) -> tuple[str, str] | None:
    """Return name and title of an ablation; ``None`` for the usual recipe, so that it is trained once for all tables."""
    return None if name == usual else (f"{OWN}-{name.replace('_', '-')}", title)


def _bring(method: Method, settings: RowSettings, store: Store | None) -> Method:
    if not isinstance(method, VitauRegions) or not method.recipe.needs_weights:
        return method
    return replace(method, weights=settings.weights, store=store)


def _rows(methods: Mapping[str, Method], published: Mapping[str, Published]) -> list[Row]:
    return [Row(method=method, title=method.title, published=published.get(name)) for name, method in methods.items()]
