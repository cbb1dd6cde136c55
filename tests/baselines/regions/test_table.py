from pathlib import Path

import pytest

from vitau.baselines.regions.resnet50 import resnet50
from vitau.baselines.regions.table import region_methods
from vitau.baselines.regions.vitau_regions import VitauRegions
from vitau.errors import TrainingError


class Recognition:
    name, title, task = "recognition", "Recognition", "palsy"

    def fit(self, *_arguments: object, **_options: object) -> None: ...


def test_the_rows_follow_table_2_then_the_sided_model_and_the_controls() -> None:
    methods = region_methods(Recognition())
    assert [method.name for method in methods] == [
        *("drml", "jaa-net", "au-rcnn", "me-graphau", "aunce", "vitau"),
        *("vitau-sided", "resnet50", "repeated-palsy", "prevalence"),
    ]
    assert [method.title for method in methods[:6]] == [
        *("DRML", "JAA-Net-style", "AU R-CNN-style", "ME-GraphAU-style, stage 1", "AUNCE-style", "ViTAU"),
    ]
    assert {method.task for method in methods} == {"regions"}


def test_vitau_starts_from_the_pretraining_of_its_own_recipe(tmp_path: Path) -> None:
    methods = region_methods(Recognition(), size="small", pretrained={"small-sided": tmp_path})
    paired, sided = (method for method in methods if isinstance(method, VitauRegions))
    assert (paired.recipe.name, paired.pretrained) == ("small-regions", None)
    assert (sided.recipe.name, sided.pretrained) == ("small-sided", tmp_path)


def test_an_unknown_size_and_a_region_method_as_recognition_are_refused() -> None:
    with pytest.raises(TrainingError, match="no recipe huge-regions"):
        region_methods(Recognition(), size="huge")
    with pytest.raises(ValueError, match="resnet50 finds regions"):
        region_methods(resnet50())
