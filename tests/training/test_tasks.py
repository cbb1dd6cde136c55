"""Batches are reproducible, losses skip unknown labels, and sides are swapped in a mirrored image."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from vitau.data.dataset import Crops
from vitau.evaluation.metrics import RegionMetrics
from vitau.models.regions import RegionModel
from vitau.models.vit import ViTConfig, build_vit
from vitau.training.config import Augmentation, TrainConfig, settings_of
from vitau.training.losses import WithSides, bce_with_logits, cross_entropy, mse
from vitau.training.recipes import RECIPES
from vitau.training.tasks import (
    CropBatches,
    balanced_order,
    choose_region_thresholds,
    fit_region_scale,
    fit_side_scales,
    measure,
    objective,
    predict,
)

CPU = torch.device("cpu")
CONFIG = TrainConfig(batch_size=10)


def test_an_epoch_goes_through_every_frame_once_in_an_order_of_its_own(few_crops: Crops) -> None:
    batches = CropBatches(few_crops, replace(CONFIG, augmentation=None), 16, CPU)
    zero, one = ([batch.landmarks_BL2[:, 0, 0] for batch in batches.epoch(number)] for number in (0, 1))
    assert len(zero) == len(batches) == 5
    assert sorted(torch.cat(zero).tolist()) == sorted(few_crops.landmarks_NL2[:, 0, 0].tolist())
    assert torch.cat(zero).tolist() != torch.cat(one).tolist()
    assert torch.equal(torch.cat(zero), torch.cat([batch.landmarks_BL2[:, 0, 0] for batch in batches.epoch(0)]))


def test_a_mirrored_face_is_affected_on_the_other_side(few_crops: Crops) -> None:
    torch.manual_seed(0)
    seen = [batch.sided_BA2 for batch in CropBatches(few_crops, CONFIG, 16, CPU).epoch(0)]
    sided_NA2 = torch.cat(seen)
    assert sided_NA2[..., 0].any()
    assert sided_NA2[..., 1].any()
    assert not (sided_NA2[..., 0] & sided_NA2[..., 1]).any()
    unturned = CropBatches(few_crops, replace(CONFIG, augmentation=Augmentation(flip=False)), 16, CPU)
    assert not torch.cat([batch.sided_BA2 for batch in unturned.epoch(0)])[..., 1].any()


def test_the_sides_are_asked_in_training_and_the_answer_of_the_model_stays(few_crops: Crops) -> None:
    model = build_vit(ViTConfig(input_size=16, patch_size=8, width=16, depth=1, heads=2, stem="conv", dropout=0.0)).eval()
    asked = WithSides(model)
    batch = next(iter(CropBatches(few_crops, CONFIG, 16, CPU).epoch(0)))
    assert torch.equal(asked(batch.crop_BCHW), model(batch.crop_BCHW))
    config = replace(CONFIG, side_weight=2.0)
    loss = objective("palsy", config)
    extra = loss(asked, batch) - loss(model, batch)
    assert torch.allclose(extra, 2 * asked.loss(batch.sided_BA2, batch.known_BA), atol=1e-6)
    with torch.no_grad():
        asked.head.weight.zero_()
        asked.head.bias.copy_(torch.where(torch.arange(16) % 2 == 0, -9.0, 9.0))
    asked(batch.crop_BCHW)
    assert asked.loss(torch.tensor([False, True]).expand(10, 8, 2), batch.known_BA) < 0.001
    assert asked.loss(torch.tensor([True, False]).expand(10, 8, 2), batch.known_BA) > 5


def test_a_region_with_an_unknown_label_does_not_change_the_loss() -> None:
    torch.manual_seed(0)
    heatmaps, true = torch.randn(3, 8, 4, 4), torch.rand(3, 8, 4, 4)
    known = torch.ones(3, 8, dtype=torch.bool)
    known[1, 2] = False
    for loss in (mse, bce_with_logits):
        other = true.clone()
        other[1, 2] = -1
        assert torch.equal(loss(heatmaps, true, known), loss(heatmaps, other, known))
        assert not torch.equal(loss(heatmaps, true, torch.ones_like(known)), loss(heatmaps, other, torch.ones_like(known)))
    assert mse(heatmaps, true, torch.zeros_like(known)) == 0


def test_losses_are_the_textbook_ones() -> None:
    torch.manual_seed(0)
    heatmaps, true, known = torch.randn(3, 8, 4, 4), torch.rand(3, 8, 4, 4) * 2 - 1, torch.ones(3, 8)
    assert torch.allclose(mse(heatmaps, true, known), ((heatmaps - true) ** 2).mean())
    share, p = (true + 1) / 2, heatmaps.sigmoid()
    expected = -(share * p.log() + (1 - share) * (1 - p).log()).mean()
    assert torch.allclose(bce_with_logits(heatmaps, true, known), expected, atol=1e-5)
    assert cross_entropy(torch.tensor([[0.0, 0.0]]), torch.tensor([True])) == pytest.approx(np.log(2))


def test_an_unknown_loss_is_answered_with_those_there_are() -> None:
    with pytest.raises(ValueError, match="no loss 'hinge' for regions; there are mse, bce_with_logits"):
        objective("regions", replace(CONFIG, loss="hinge"))


def test_a_region_affected_on_an_unknown_side_does_not_change_the_loss_of_a_sided_model(few_crops: Crops) -> None:
    batch = next(iter(CropBatches(few_crops, replace(CONFIG, augmentation=None), 16, CPU).epoch(0)))
    answer_BAHW = torch.randn(10, 8, 16, 16)
    loss = objective("regions", replace(CONFIG, loss="mse"), sided=True)
    unnamed = replace(batch, sided_BA2=torch.zeros_like(batch.sided_BA2))
    unknown = replace(unnamed, known_BA=~batch.affected_BA)
    turned = replace(batch, sided_BA2=batch.sided_BA2.flip(-1))
    told, silent, without, wrong = (
        loss(nn.Identity(), replace(one, crop_BCHW=answer_BAHW)) for one in (batch, unnamed, unknown, turned)
    )
    assert torch.equal(silent, without)
    assert len({told.item(), silent.item(), wrong.item()}) == 3


def test_sides_are_measured_over_the_people_with_one(few_crops: Crops) -> None:
    right = np.where(few_crops.sided_NA2[..., 0], 0.2, -0.1)
    scores = np.stack([right, np.full_like(right, -0.1)], axis=-1).astype(np.float32)
    scales = fit_side_scales(few_crops, scores, (0.0,) * 8)
    found = measure("regions", few_crops, scores, scales=scales).sides
    assert (found.accuracy.value, found.num_right) == (1.0, found.num_subjects)
    assert found.num_subjects == len(set(few_crops.subject_N[few_crops.affected_NA.any(1)].tolist()))
    wrong = measure("regions", few_crops, scores[..., ::-1].copy(), scales=scales).sides
    assert wrong.accuracy.value == 0.0


def test_the_probabilities_of_regions_sides_start_from_the_thresholds_that_decide_the_regions(few_crops: Crops) -> None:
    palsied = few_crops.where(few_crops.palsied_N)
    scores = np.where(palsied.sided_NA2, 0.5, 0.3).astype(np.float32)  # both sides are above 0
    thresholds = choose_region_thresholds(palsied, scores)
    scales = fit_side_scales(palsied, scores, thresholds)
    found = measure("regions", palsied, scores, region_thresholds=thresholds, scales=scales)
    assert (found.accuracy.value, found.region_sides.accuracy.value, found.region_sides.named.value) == (1.0, 1.0, 1.0)
    assert found.region_sides.ece.value < 0.1
    at_zero = measure("regions", palsied, scores, scales=fit_side_scales(palsied, scores, (0.0,) * 8)).region_sides
    assert at_zero.brier.value > 4 * found.region_sides.brier.value, "above 0 are affected and spared regions"
    assert measure("regions", palsied, scores[..., 0]).region_sides is None


def test_chosen_thresholds_of_the_regions_decide_where_all_scores_are_too_high(few_crops: Crops) -> None:
    palsied = few_crops.where(few_crops.palsied_N)
    scores = np.where(palsied.affected_NA, 0.5, 0.3).astype(np.float32)
    assert measure("regions", palsied, scores).balanced_accuracy.value == 0.5
    thresholds = choose_region_thresholds(palsied, scores)
    assert measure("regions", palsied, scores, region_thresholds=thresholds).accuracy.value == 1.0
    of_sides = np.stack([scores, np.full_like(scores, 0.1)], axis=-1)
    assert choose_region_thresholds(palsied, of_sides) == thresholds, "the larger of two sides counts"


def test_the_regions_are_calibrated_by_the_slope_that_was_fitted_to_validation_people(few_crops: Crops) -> None:
    palsied = few_crops.where(few_crops.palsied_N)
    names = np.unique(palsied.subject_N, return_inverse=True)[1]
    wrong_NA = (names[:, None] + np.arange(8)) % 4 == 0  # a quarter of the answers about people
    scores = np.where(palsied.affected_NA ^ wrong_NA, 0.1, -0.1).astype(np.float32)
    thresholds = (0.0,) * 8
    scale = fit_region_scale(palsied, scores, thresholds)
    assert 1 / (1 + np.exp(-0.1 * scale)) == pytest.approx(0.75, abs=0.06), "a score of 0.1 is right three times of four"
    assert fit_region_scale(palsied, np.stack([scores, np.full_like(scores, -1)], axis=-1), thresholds) == scale
    fitted, certain = (measure("regions", palsied, scores, region_scale=slope) for slope in (scale, 20 * scale))
    assert isinstance(fitted, RegionMetrics)
    assert isinstance(certain, RegionMetrics)
    assert fitted.brier.value < certain.brier.value
    assert fitted.scale == scale
    assert measure("regions", palsied, scores).estimates().keys().isdisjoint({"ece", "brier"})


def test_scores_are_one_per_frame_and_eight_for_regions(few_crops: Crops) -> None:
    recipe = RECIPES["tiny-regions"]()
    torch.manual_seed(0)
    model = RegionModel(recipe.model).eval()  # type: ignore[arg-type]
    scores = predict("regions", model, few_crops, 64, CPU)
    assert scores.shape == (48, 8)
    assert np.abs(scores).max() <= 1
    some = predict("regions", model, few_crops.where(np.arange(48) >= 40), 64, CPU)
    assert np.allclose(some, scores[40:], atol=1e-5)


def test_balanced_sampling_draws_every_person_equally_often_and_every_frame_of_a_short_clip() -> None:
    subject_N = np.array(["long"] * 20 + ["short"] * 2 + ["middle"] * 7)
    order = balanced_order(subject_N, np.random.default_rng(0))
    assert len(order) == len(subject_N)
    drawn = Counter(subject_N[order].tolist())
    assert sorted(drawn.values()) == [9, 10, 10]
    times = np.bincount(order, minlength=len(subject_N))
    assert set(times[:20].tolist()) <= {0, 1}, "no frame of a long clip twice"
    assert times[20:22].max() - times[20:22].min() <= 1
    assert balanced_order(subject_N, np.random.default_rng(0)).tolist() == order.tolist()
    assert balanced_order(subject_N, np.random.default_rng(1)).tolist() != order.tolist()


def test_a_balanced_training_sees_a_long_clip_as_often_as_a_short_one(few_crops: Crops) -> None:
    long = few_crops.where(np.isin(few_crops.subject_N, ["s00", "s01", "s02"]))
    long = long.where(np.array([0, 0, 0, 0, 0, 0, 1, 2, 2, 3, 3, 4]))  # the first frame six times
    config = TrainConfig(batch_size=4, augmentation=None)
    seen = {}
    for balanced in (False, True):
        batches = CropBatches(long, replace(config, balance_people=balanced), 16, CPU)
        landmarks = np.concatenate([batch.landmarks_BL2.numpy() for epoch in range(4) for batch in batches.epoch(epoch)])
        seen[balanced] = [int((landmarks == few_crops.landmarks_NL2[row]).all((1, 2)).sum()) for row in range(2)]
    assert sum(seen[False]) == 4 * 7
    assert sum(seen[True]) == 4 * 4


def test_balancing_changes_no_key_of_a_training_that_does_not_ask_for_it() -> None:
    plain = TrainConfig()
    assert "balance_people" not in repr(plain)
    assert "balance_people" not in settings_of(plain)
    assert settings_of(replace(plain, balance_people=True))["balance_people"] is True
