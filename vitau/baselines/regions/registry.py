"""The region methods by name, in the order of the paper's Table 2; the sided model and the controls follow."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from vitau.baselines.method import Method
from vitau.baselines.movement import Movement
from vitau.baselines.regions.au_rcnn import au_rcnn
from vitau.baselines.regions.aunce import Aunce
from vitau.baselines.regions.drml import drml
from vitau.baselines.regions.jaanet import JaaNet
from vitau.baselines.regions.me_graphau import MeGraphAu
from vitau.baselines.regions.prevalence import Prevalence
from vitau.baselines.regions.repeated_palsy import RepeatedPalsy
from vitau.baselines.regions.resnet50 import resnet50
from vitau.baselines.regions.vitau_regions import VitauRegions
from vitau.training.recipes import find_recipe


def region_methods(
    recognition: Method, *, size: str = "tiny", pretrained: Mapping[str, Path] | None = None
) -> Mapping[str, Method]:
    """Return the methods by name: the rows of Table 2 in its order, ViTAU last of them, then its sided model and the controls.

    Args:
        recognition: the method whose score a control repeats for every region.
        size: first part of the names of ViTAU's recipes, ``tiny``, ``small``, ``base`` or ``paper``.
        pretrained: name of a recipe → model folder, or results of its pretraining, to start from.

    Raises:
        TrainingError: there are no recipes of that size.
        ValueError: ``recognition`` finds regions itself.
    """
    paired, sided = find_recipe(f"{size}-regions"), find_recipe(f"{size}-sided")
    start = pretrained or {}
    methods: list[Method] = [
        drml(),
        JaaNet(),
        au_rcnn(),
        MeGraphAu(),
        Aunce(),
        VitauRegions(recipe=paired, pretrained=start.get(paired.name)),
        VitauRegions(recipe=sided, pretrained=start.get(sided.name)),
        resnet50(),
        RepeatedPalsy(recognition=recognition),
        Prevalence(),
        Movement(task="regions"),
    ]
    return MappingProxyType({method.name: method for method in methods})
