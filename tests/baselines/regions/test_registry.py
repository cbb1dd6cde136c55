from pathlib import Path

import pytest

from vitau.baselines.recognition.networks.vgg16 import vgg16
from vitau.baselines.regions.registry import region_methods
from vitau.baselines.regions.resnet50 import resnet50
from vitau.baselines.regions.vitau_regions import VitauRegions
from vitau.errors import TrainingError


def test_the_rows_follow_table_2_then_the_sided_model_and_the_controls() -> None:
    methods = list(region_methods(vgg16()).values())
    assert [method.name for method in methods] == [
        *("drml", "jaa-net", "au-rcnn", "me-graphau", "aunce", "vitau"),
        *("vitau-sided", "resnet50", "repeated-palsy", "prevalence", "movement"),
    ]
    assert [method.title for method in methods[:6]] == [
        *("DRML", "JAA-Net-style", "AU R-CNN-style", "ME-GraphAU-style, stage 1", "AUNCE-style", "ViTAU"),
    ]
    assert {method.task for method in methods} == {"regions"}


def test_vitau_starts_from_the_pretraining_of_its_own_recipe(tmp_path: Path) -> None:
    methods = region_methods(vgg16(), size="small", pretrained={"small-sided": tmp_path}).values()
    paired, sided = (method for method in methods if isinstance(method, VitauRegions))
    assert (paired.recipe.name, paired.pretrained) == ("small-regions", None)
    assert (sided.recipe.name, sided.pretrained) == ("small-sided", tmp_path)


def test_an_unknown_size_and_a_region_method_as_recognition_are_refused() -> None:
    with pytest.raises(TrainingError, match="no recipe huge-regions"):
        region_methods(vgg16(), size="huge")
    with pytest.raises(ValueError, match="resnet50 finds regions"):
        region_methods(resnet50())
