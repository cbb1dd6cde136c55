"""Losses of the region methods; each is a mean over the labels that are known.

Axes: B images, A regions (8).
"""

import torch
from torch import Tensor
from torch.nn import functional

EPS = 1e-8


def bce(logit_BA: Tensor, affected_BA: Tensor, known_BA: Tensor) -> Tensor:
    """Compute the binary cross-entropy of logits; a scalar."""
    error_BA = functional.binary_cross_entropy_with_logits(logit_BA, affected_BA.to(logit_BA), reduction="none")
    return mean_of_known(error_BA, known_BA)


def region_weights(prevalence_A: Tensor) -> Tensor:
    """Return weights (8,) in proportion to 1 / prevalence, with a mean of 1, so that rare regions count as much as common ones.

    Args:
        prevalence_A: share of the training people with an affected region, above 0.
    """
    inverse_A = 1 / prevalence_A
    return inverse_A / inverse_A.mean()


def weighted_asymmetric(probability_BA: Tensor, affected_BA: Tensor, known_BA: Tensor, weight_A: Tensor) -> Tensor:
    """Compute the weighted asymmetric loss of ME-GraphAU (Luo et al., IJCAI 2022); a scalar.

    −wᵢ (yᵢ log pᵢ + (1 − yᵢ) pᵢ log(1 − pᵢ)): a spared region that is already judged spared counts little.
    """
    p_BA, y_BA = probability_BA, affected_BA.to(probability_BA)
    gain_BA = y_BA * p_BA.clamp(min=EPS).log() + (1 - y_BA) * p_BA * (1 - p_BA).clamp(min=EPS).log()
    return mean_of_known(-weight_A * gain_BA, known_BA)


def weighted_softmax(logit_BA2: Tensor, affected_BA: Tensor, known_BA: Tensor, weight_A: Tensor) -> Tensor:
    """Compute the weighted cross-entropy of two classes per region, spared and affected (JAA-Net); a scalar."""
    error_BA = functional.cross_entropy(logit_BA2.flatten(0, 1), affected_BA.flatten().long(), reduction="none")
    return mean_of_known(weight_A * error_BA.reshape(affected_BA.shape), known_BA)


def weighted_dice(probability_BA: Tensor, affected_BA: Tensor, known_BA: Tensor, weight_A: Tensor) -> Tensor:
    """Compute the weighted Dice loss of JAA-Net (Shao et al., IJCV 2021), with a smoothing of 1; a scalar.

    wᵢ (1 − (2 yᵢ pᵢ + 1) / (yᵢ² + pᵢ² + 1)).
    """
    p_BA, y_BA = probability_BA, affected_BA.to(probability_BA)
    error_BA = 1 - (2 * y_BA * p_BA + 1) / (y_BA**2 + p_BA**2 + 1)
    return mean_of_known(weight_A * error_BA, known_BA)


def mean_of_known(error_BA: Tensor, known_BA: Tensor) -> Tensor:
    """Return the mean of errors over the labels that are known; 0 if none is."""
    known_BA = known_BA.to(error_BA)
    return torch.sum(error_BA * known_BA) / known_BA.sum().clamp(min=1)
