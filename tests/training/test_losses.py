"""Every loss of the heatmaps leads to maps that decode to the labels, and trains every part of the generator."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from vitau.data.dataset import Crops
from vitau.models.heatmaps import decode, decode_sides, sided_heatmaps, true_heatmaps
from vitau.models.regions import RegionConfig, build_regions
from vitau.training.config import TrainConfig
from vitau.training.losses import REGION_LOSSES, heatmap_cross_entropy, kl
from vitau.training.recipes import RECIPES
from vitau.training.tasks import CropBatches, objective

CPU = torch.device("cpu")
LOSSES = ("mse", "kl", "cross_entropy", "bce_with_logits")
FEATURES = ("all", "early", "middle", "late")


@pytest.fixture(scope="module")
def face() -> Tensor:
    """Landmarks (1, 68, 2) of a plain face, px of a 256 crop."""
    points = np.load(Path(__file__).parents[1] / "data/oracle/heatmaps.npz")["landmarks"][:1]
    return torch.from_numpy(points)


def _least(name: str, true_BAHW: Tensor) -> Tensor:
    """Find the maps, free in every pixel, for which a loss is least."""
    maps_BAHW = torch.zeros_like(true_BAHW).requires_grad_()
    optimizer = torch.optim.Adam([maps_BAHW], lr=0.05)
    for _ in range(150):
        optimizer.zero_grad()
        REGION_LOSSES[name](maps_BAHW, true_BAHW, torch.ones(true_BAHW.shape[:2])).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return maps_BAHW.detach()


@pytest.mark.parametrize("loss", LOSSES)
def test_the_maps_for_which_a_loss_is_least_decode_to_the_labels_and_are_empty_elsewhere(loss: str, face: Tensor) -> None:
    affected = torch.arange(8)[None] % 3 == 0
    true = true_heatmaps(face, affected, 16)
    maps = _least(loss, true)
    assert torch.equal(decode(maps) > 0, affected)
    assert maps[true == 0].abs().max() < 0.05
    assert torch.equal(maps[true.abs() > 0.1].sign(), true[true.abs() > 0.1].sign())
    assert decode(maps).abs().min() > 0.05


@pytest.mark.parametrize("loss", LOSSES)
def test_the_sides_are_read_from_the_maps_for_which_a_loss_is_least(loss: str, face: Tensor) -> None:
    sided = torch.stack([torch.arange(8) % 3 == 0, torch.arange(8) % 2 == 0], dim=-1)[None]
    assert torch.equal(decode_sides(_least(loss, sided_heatmaps(face, sided, 16))) > 0, sided)


def test_a_pixel_s_three_answers_are_the_textbook_s_classes() -> None:
    torch.manual_seed(0)
    heatmaps, known = torch.randn(2, 8, 4, 4), torch.ones(2, 8)
    true = torch.randint(-1, 2, (2, 8, 4, 4))
    logits = torch.stack([heatmaps, torch.zeros_like(heatmaps), -heatmaps], dim=1)
    expected = functional.cross_entropy(logits, 1 - true)
    assert torch.allclose(heatmap_cross_entropy(heatmaps, true.float(), known), expected, atol=1e-6)


def test_the_divergence_of_maps_is_none_from_what_they_say_and_more_from_anything_else() -> None:
    torch.manual_seed(0)
    heatmaps = torch.randn(2, 8, 4, 4)
    said = torch.sinh(heatmaps)  # what the places of a pixel differ by, up to a factor
    place = torch.softmax(torch.cat([heatmaps.flatten(2), -heatmaps.flatten(2)], 2), 2)
    target = torch.cat([said.clamp(min=0).flatten(2), (-said).clamp(min=0).flatten(2)], 2)
    target = target / target.sum(2, keepdim=True)
    expected = torch.distributions.kl_divergence(*(torch.distributions.Categorical(p) for p in (target, place))).mean()
    assert torch.allclose(kl(heatmaps, said / said.abs().max(), torch.ones(2, 8)), expected, atol=1e-5)
    assert kl(heatmaps, torch.zeros_like(heatmaps), torch.ones(2, 8)) == 0


@pytest.mark.parametrize("loss", ["kl", "cross_entropy"])
def test_an_unknown_region_teaches_nothing(loss: str) -> None:
    torch.manual_seed(0)
    heatmaps, true = torch.randn(3, 8, 4, 4), torch.rand(3, 8, 4, 4)
    known = torch.ones(3, 8, dtype=torch.bool)
    known[1, 2] = False
    other = true.clone()
    other[1, 2] = -1
    loss_of = REGION_LOSSES[loss]
    assert torch.equal(loss_of(heatmaps, true, known), loss_of(heatmaps, other, known))
    assert not torch.equal(loss_of(heatmaps, true, known | True), loss_of(heatmaps, other, known | True))
    assert loss_of(heatmaps, true, torch.zeros_like(known)) == 0


@pytest.mark.parametrize("features", FEATURES)
@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_takes_a_step_with_every_part_of_the_generator(loss: str, features: str, few_crops: Crops) -> None:
    config = RECIPES["tiny-regions"]().model
    assert isinstance(config, RegionConfig)
    torch.manual_seed(0)
    model = build_regions(replace(config, features=features))  # type: ignore[arg-type]
    train = TrainConfig(batch_size=48, loss=loss)
    before = {name: weight.detach().clone() for name, weight in model.named_parameters() if weight.requires_grad}
    value = objective("regions", train, config.sigma)(model, next(iter(CropBatches(few_crops, train, 64, CPU).epoch(0))))
    value.backward()  # type: ignore[no-untyped-call]
    torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.0).step()
    assert torch.isfinite(value)
    after = dict(model.named_parameters())
    changed = {name.partition(".")[0] for name, weight in before.items() if not torch.equal(weight, after[name])}
    assert changed == {"encoder", "generator", "interpreter"}
