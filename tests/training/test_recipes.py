"""Every recipe says what it costs, keeps the method's constants, and goes a step at its full size."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from vitau.data.dataset import Crops
from vitau.errors import TrainingError
from vitau.models.regions import RegionConfig, build_regions
from vitau.models.vit import ViTConfig, build_vit
from vitau.training.config import Augmentation, CameraChanges, Recipe, TrainConfig, settings_of
from vitau.training.fit import adamw
from vitau.training.recipes import RECIPES, find_recipe, pretrained_recipe
from vitau.training.tasks import CropBatches, objective

FULL_SIZE = ["small-palsy", "small-regions", "base-palsy", "paper-palsy", "paper-regions"]
"""`base-regions` is `paper-regions` with a smaller generator, `paper-sided` with two maps a region, and `paper-fgnet` with
another route; each takes a minute and 6 GB."""


def test_every_recipe_of_the_paper_goes_a_step_at_full_size() -> None:
    assert {name for name in RECIPES if name.startswith("paper-")} <= {*FULL_SIZE, "paper-sided", "paper-fgnet"}
    sided, paper = RECIPES["paper-sided"](), RECIPES["paper-regions"]()
    assert replace(sided, name=paper.name, model=paper.model) == paper
    assert isinstance(sided.model, RegionConfig)
    assert replace(sided.model, mode="paired") == paper.model


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_called_what_it_is_and_says_cost_and_score(name: str) -> None:
    recipe = RECIPES[name]()
    assert recipe.name == name
    assert recipe.kind == ("palsy" if name.endswith("palsy") else "regions")
    assert recipe.sided == name.endswith("sided")
    said = (RECIPES[name].__doc__ or "").lower()
    assert ("cost" in said and "score" in said) or name.startswith("smoke")


@pytest.mark.parametrize("name", ["base-palsy", "base-regions", "paper-palsy", "paper-regions"])
def test_full_size_recipes_are_trained_as_the_method_says(name: str) -> None:
    recipe = RECIPES[name]()
    batch_size, regions = 4 if name.startswith("paper") else 16, name.endswith("regions")
    expected = TrainConfig(batch_size=batch_size, save_every=500, loss=recipe.train.loss, keep_statistics=regions)
    if name.startswith("paper"):
        expected = replace(expected, augmentation=None)  # neither the paper nor FG-Net names any
    assert recipe.train == expected
    assert (expected.epochs, expected.lr, expected.weight_decay, expected.grad_clip) == (15, 5e-5, 5e-4, 0.1)
    assert recipe.model.dropout == 0.1


@pytest.mark.slow
@pytest.mark.parametrize("name", FULL_SIZE)
def test_a_full_size_recipe_goes_one_step(name: str, few_crops: Crops) -> None:
    _step(RECIPES[name](), name, few_crops)


def test_the_route_and_the_outputs_of_fg_net_s_checkpoint_go_one_step(few_crops: Crops) -> None:
    fgnet, small = RECIPES["paper-fgnet"]().model, RECIPES["small-regions"]()
    assert isinstance(fgnet, RegionConfig)
    assert isinstance(small.model, RegionConfig)
    model = replace(small.model, latent_route=fgnet.latent_route, num_outputs=fgnet.num_outputs)
    _step(replace(small, model=model), small.name, few_crops)


def _step(recipe: Recipe, name: str, few_crops: Crops) -> None:
    """Take one step; check that the loss is finite and that every part has a gradient."""
    model, batch = _fresh(recipe), 2 if name.startswith("small") else 1
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (batch, recipe.model_input_size, recipe.model_input_size, 3), dtype=np.uint8)
    crops = replace(few_crops.where(np.arange(48) < batch), pixels_MSS3=pixels, row_N=np.arange(batch))
    (frames,) = CropBatches(crops, replace(recipe.train, batch_size=batch), recipe.model_input_size, torch.device("cpu")).epoch(
        0
    )
    optimizer = adamw(model, recipe.train)
    loss = objective(recipe.kind, recipe.train, recipe.model.sigma if isinstance(recipe.model, RegionConfig) else None)
    before = loss(model, frames)
    before.backward()  # type: ignore[no-untyped-call]
    reached = {key.split(".")[0] for key, weight in model.named_parameters() if weight.grad is not None and weight.grad.any()}
    assert reached == ({"encoder", "generator", "interpreter"} if recipe.kind == "regions" else {"vit"})
    assert torch.isfinite(before)
    torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.train.grad_clip, error_if_nonfinite=True)
    optimizer.step()


@pytest.mark.parametrize(
    ("backbone", "size"),
    [("vit_base_patch14_dinov2", 252), ("vit_base_patch16_dinov3", 256), ("vit_base_patch16_224.mae", 256)],
)
def test_a_recipe_takes_another_backbone_by_name_and_its_input_is_whole_patches(backbone: str, size: int) -> None:
    recipe, own = find_recipe(f"paper-palsy@{backbone}"), RECIPES["paper-palsy"]()
    assert recipe == replace(own, name=recipe.name, model=ViTConfig(name=backbone, input_size=size))
    assert recipe.needs_weights


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("huge-palsy", "no recipe huge-palsy; there are tiny-palsy, "),
        ("tiny-palsy@vit_base_patch14_dinov2", "recipe tiny-palsy has no backbone of timm's to replace: choose base-palsy"),
        ("paper-regions@vit_base_patch14_dinov2", "recipe paper-regions has no backbone of timm's to replace"),
        (
            "paper-palsy+camera",
            r"recipe paper-palsy is the paper's, which has no augmentation: train another size with \+camera",
        ),
        ("base-palsy@resnet50", "resnet50 is no vision transformer of timm's: give a name such as vit_base_patch14_dinov2"),
    ],
)
def test_an_impossible_recipe_is_refused(name: str, message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        find_recipe(name)


@pytest.mark.parametrize("name", ["tiny-palsy", "tiny-sided", "base-palsy@vit_base_patch14_dinov2"])
def test_a_recipe_with_changes_of_the_camera_differs_in_nothing_else(name: str) -> None:
    known, separator, backbone = name.partition("@")
    recipe, plain = find_recipe(f"{known}+camera{separator}{backbone}"), find_recipe(name)
    assert recipe.train.augmentation == Augmentation(camera=CameraChanges())
    train = replace(recipe.train, augmentation=Augmentation())
    assert replace(recipe, name=name, train=train) == plain
    assert str(recipe) != str(plain), "the key of a training is a digest of it"
    assert settings_of(recipe.train) != settings_of(plain.train)
    assert pretrained_recipe(recipe.name) == name


def test_settings_without_changes_of_the_camera_identify_a_training_as_before() -> None:
    settings = settings_of(find_recipe("tiny-palsy").train)
    assert set(settings["augmentation"]) == {"flip", "rotate_deg", "scale", "shift", "gain", "bias", "tint", "noise"}


def test_full_size_recipes_start_from_public_weights_and_small_ones_from_drawn_people() -> None:
    needing = {name for name in RECIPES if find_recipe(name).needs_weights}
    assert needing == {name for name in RECIPES if name.startswith(("base", "paper"))}
    assert {name for name in RECIPES if find_recipe(name).pretrain} == set(RECIPES) - needing


def test_the_recipe_of_fg_net_s_checkpoint_has_its_route_and_outputs() -> None:
    model, paper = find_recipe("paper-fgnet").model, find_recipe("paper-regions").model
    assert isinstance(paper, RegionConfig)
    assert model == replace(paper, latent_route="mapping", num_outputs=32)


def test_base_regions_is_paper_regions_with_a_smaller_generator_and_its_parts_fit() -> None:
    base, paper = RECIPES["base-regions"]().model, RECIPES["paper-regions"]().model
    assert isinstance(base, RegionConfig)
    assert isinstance(paper, RegionConfig)
    smaller = replace(paper.generator, size=256)
    encoder = replace(paper.encoder, num_styles=smaller.num_styles)
    assert base == replace(paper, encoder=encoder, generator=smaller)
    assert _unreached(base, num_maps=8) == set()


def test_the_parts_of_fg_net_s_recipe_fit_at_full_size() -> None:
    model = RECIPES["paper-fgnet"]().model
    assert isinstance(model, RegionConfig)
    assert _unreached(model, num_maps=8) == set()


def _unreached(config: RegionConfig, num_maps: int) -> set[str]:
    """Return the weights without a gradient, by shapes without numbers."""
    with torch.device("meta"):
        model = build_regions(config).train()
        heatmaps = model(torch.empty(2, 3, 256, 256))
    assert heatmaps.shape == (2, num_maps, 128, 128)
    heatmaps.sum().backward()
    return {key for key, weight in model.named_parameters() if weight.requires_grad and weight.grad is None}


def _fresh(recipe: Recipe) -> torch.nn.Module:
    torch.manual_seed(0)
    model = build_regions(recipe.model) if isinstance(recipe.model, RegionConfig) else build_vit(recipe.model)
    return model.train()
