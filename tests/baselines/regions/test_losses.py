"""Losses of the region methods, against values computed by hand."""

import math

import pytest
import torch

from vitau.baselines.regions.losses import bce, region_weights, weighted_asymmetric, weighted_dice, weighted_softmax

AFFECTED = torch.tensor([[True, False]])
KNOWN = torch.tensor([[True, True]])
FIRST_ONLY = torch.tensor([[True, False]])
WEIGHT = torch.tensor([1.5, 0.5])


def test_binary_cross_entropy_is_the_mean_over_known_labels() -> None:
    logits = torch.tensor([[math.log(3.0), math.log(4.0)]])  # probabilities 0.75 and 0.8
    assert bce(logits, AFFECTED, KNOWN).item() == pytest.approx((-math.log(0.75) - math.log(0.2)) / 2)
    assert bce(logits, AFFECTED, FIRST_ONLY).item() == pytest.approx(-math.log(0.75))


def test_nothing_is_lost_without_a_known_label() -> None:
    assert bce(torch.ones(1, 2), AFFECTED, torch.zeros(1, 2, dtype=torch.bool)).item() == 0


def test_rare_regions_weigh_more_and_the_mean_weight_is_one() -> None:
    # inverses 2, 4 and 10 with a mean of 16/3
    assert region_weights(torch.tensor([0.5, 0.25, 0.1])).tolist() == pytest.approx([0.375, 0.75, 1.875])


def test_the_asymmetric_loss_scales_a_spared_region_by_its_own_probability() -> None:
    probabilities = torch.tensor([[0.8, 0.1]])
    expected = (-1.5 * math.log(0.8) - 0.5 * 0.1 * math.log(0.9)) / 2
    assert weighted_asymmetric(probabilities, AFFECTED, KNOWN, WEIGHT).item() == pytest.approx(expected)
    assert weighted_asymmetric(probabilities, AFFECTED, FIRST_ONLY, WEIGHT).item() == pytest.approx(-1.5 * math.log(0.8))


def test_the_asymmetric_loss_is_finite_at_certain_errors() -> None:
    probabilities = torch.tensor([[0.0, 1.0]], requires_grad=True)
    loss = weighted_asymmetric(probabilities, AFFECTED, KNOWN, WEIGHT)
    (gradient,) = torch.autograd.grad(loss, probabilities)
    assert torch.isfinite(loss)
    assert torch.isfinite(gradient).all()


def test_weighted_softmax_reads_the_second_logit_as_affected() -> None:
    logits = torch.tensor([[[0.0, math.log(4.0)], [math.log(9.0), 0.0]]])  # probabilities of "affected" 0.8 and 0.1
    expected = (-1.5 * math.log(0.8) - 0.5 * math.log(0.9)) / 2
    assert weighted_softmax(logits, AFFECTED, KNOWN, WEIGHT).item() == pytest.approx(expected)


def test_dice_compares_probabilities_with_labels_smoothed_by_one() -> None:
    probabilities = torch.tensor([[0.8, 0.1]])
    affected = 1 - (2 * 0.8 + 1) / (1 + 0.64 + 1)
    spared = 1 - 1 / (0.01 + 1)
    expected = (1.5 * affected + 0.5 * spared) / 2
    assert weighted_dice(probabilities, AFFECTED, KNOWN, WEIGHT).item() == pytest.approx(expected, rel=1e-4)
