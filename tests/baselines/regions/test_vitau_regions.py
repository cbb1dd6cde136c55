from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from vitau.baselines.fitting import FittedFrames
from vitau.baselines.method import Budget, Fitted, Method
from vitau.baselines.regions.vitau_regions import VitauRegions
from vitau.data.dataset import Crops
from vitau.errors import TrainingError
from vitau.models.regions import RegionConfig, RegionModel
from vitau.training.config import Recipe
from vitau.training.recipes import find_recipe
from vitau.training.tasks import predict

BUDGET = Budget(epochs=1, batch_size=16, image_px=32, frames_per_person=2)


def quick(name: str, lr: float = 3e-3) -> Recipe:
    recipe = find_recipe(name)
    return replace(recipe, train=replace(recipe.train, lr=lr, schedule="constant"), pretrain=None)


@pytest.mark.parametrize("name", ["tiny-regions", "tiny-sided"])
def test_one_step_changes_the_scores(name: str, check_one_step: Callable[[Method, Method, Budget], None]) -> None:
    check_one_step(VitauRegions(recipe=quick(name)), VitauRegions(recipe=quick(name, lr=0.0)), BUDGET)


@pytest.mark.parametrize("name", ["tiny-regions", "tiny-sided"])
def test_eight_people_are_learned_by_heart(name: str, check_overfit: Callable[[Method, Budget], Fitted]) -> None:
    check_overfit(VitauRegions(recipe=quick(name)), replace(BUDGET, epochs=24))


def test_scores_are_those_of_vitaus_own_scoring_moved_to_one_half(palsied_people: Crops) -> None:
    for name in ("tiny-regions", "tiny-sided"):
        fitted = VitauRegions(recipe=find_recipe(name)).fit(palsied_people, palsied_people, BUDGET, seed=1)
        assert isinstance(fitted, FittedFrames)
        assert isinstance(fitted.network, RegionModel)
        sided = name == "tiny-sided"
        device = next(fitted.network.parameters()).device
        own = predict("regions", fitted.network, palsied_people, 64, device, sided=sided)
        assert np.allclose(fitted.predict(palsied_people), ((own.max(-1) if sided else own) + 1) / 2, atol=1e-6)


def test_the_recipes_input_counts_and_not_the_budgets(palsied_people: Crops) -> None:
    fitted = VitauRegions(recipe=find_recipe("tiny-regions")).fit(palsied_people, palsied_people, BUDGET, seed=0)
    assert isinstance(fitted, FittedFrames)
    assert fitted.image_px == 64


def test_names_tell_the_sides_apart_and_recognition_is_refused() -> None:
    paired, sided = VitauRegions(recipe=find_recipe("tiny-regions")), VitauRegions(recipe=find_recipe("tiny-sided"))
    assert (paired.name, paired.title, sided.name, sided.title) == ("vitau", "ViTAU", "vitau-sided", "ViTAU, sided")
    assert isinstance(sided.recipe.model, RegionConfig)
    with pytest.raises(ValueError, match="recipe tiny-palsy recognizes a palsy: give one of the regions"):
        VitauRegions(recipe=find_recipe("tiny-palsy"))


def test_a_recipe_that_needs_weights_says_which(palsied_people: Crops) -> None:
    with pytest.raises(TrainingError, match="starts from pSp's and StyleGAN2's public checkpoints, and none were given"):
        VitauRegions(recipe=find_recipe("paper-regions")).fit(palsied_people, palsied_people, BUDGET, seed=0)
