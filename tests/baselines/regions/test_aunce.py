import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from vitau.baselines.fitting import FittedFrames, FrameItems, Settings
from vitau.baselines.method import Budget, Fitted, Method
from vitau.baselines.regions.aunce import Aunce, AunceNetwork, RegionClassifier, frozen, info_nce, view
from vitau.data.dataset import Crops

BUDGET = Budget(epochs=1, batch_size=16, image_px=64, width=0.125, frames_per_person=2)
TINY = Aunce(backbone="resnet18")
QUICK = replace(TINY, settings=Settings(lr=3e-3, schedule="cosine"))

ONE = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]], [[-1.0, 0.0]]])
OTHER = torch.tensor([[[0.8, 0.6]], [[0.6, 0.8]], [[0.0, -1.0]]])
"""Similarities, first views down, second views across: (0.8, 0.6, 0), (0.6, 0.8, −1), (−0.8, −0.6, 0)."""
AFFECTED = torch.tensor([[True], [True], [False]])
KNOWN = torch.ones(3, 1, dtype=torch.bool)


def contrast(positive: float, *negatives: float) -> float:
    own = math.exp(positive / 0.5)
    return -math.log(own / (own + sum(math.exp(negative / 0.5) for negative in negatives)))


def test_positives_are_the_hardest_the_mean_and_the_own_view_and_negatives_have_the_other_label() -> None:
    losses = [
        0.2 * contrast(0.6, 0.0) + 0.6 * contrast(0.7, 0.0) + 0.2 * contrast(0.8, 0.0),
        0.2 * contrast(0.6, -1.0) + 0.6 * contrast(0.7, -1.0) + 0.2 * contrast(0.8, -1.0),
        contrast(0.0, -0.8, -0.6),  # alone with its label: all three positives are its own view
    ]
    assert info_nce(ONE, OTHER, AFFECTED, KNOWN).item() == pytest.approx(sum(losses) / 3)


def test_a_face_without_a_known_label_takes_no_part() -> None:
    known = torch.tensor([[True], [False], [True]])
    losses = [contrast(0.8, 0.0), contrast(0.0, -0.8)]
    assert info_nce(ONE, OTHER, AFFECTED, known).item() == pytest.approx(sum(losses) / 2)


def test_a_batch_of_one_label_has_nothing_to_compare_and_finite_gradients() -> None:
    one = ONE.clone().requires_grad_()
    loss = info_nce(one, OTHER, torch.ones_like(KNOWN), KNOWN)
    (gradient,) = torch.autograd.grad(loss, one)
    assert loss.item() == 0
    assert torch.isfinite(gradient).all()


def test_vectors_have_length_one_and_the_classifier_is_linear() -> None:
    torch.manual_seed(0)
    network = AunceNetwork("resnet18", 0.125).eval()
    classifier = RegionClassifier(12)
    x, y = torch.randn(2, 1, 8, 12)
    with torch.no_grad():
        torch.testing.assert_close(network.encoder(torch.randn(2, 3, 64, 64)).norm(dim=-1), torch.ones(2, 8))
        torch.testing.assert_close(classifier(x + y) + classifier(torch.zeros_like(x)), classifier(x) + classifier(y))


def test_views_of_a_batch_differ_and_follow_torchs_random_state(palsied_people: Crops) -> None:
    batch = FrameItems(palsied_people, 64, "cpu").batch(np.arange(4))
    torch.manual_seed(1)
    one, other = view(batch), view(batch)
    torch.manual_seed(1)
    again = view(batch)
    assert one.shape == batch.crop_BCHW.shape
    assert torch.equal(one, again)
    assert all((one[row] - other[row]).abs().mean() > 0.01 for row in range(4))
    assert all((one[row] - batch.crop_BCHW[row]).abs().mean() > 0.01 for row in range(4))


def test_a_frozen_encoder_keeps_its_weights_and_statistics() -> None:
    network = frozen(AunceNetwork("resnet18", 0.125))
    before = {name: value.clone() for name, value in network.encoder.state_dict().items()}
    network.train()
    network(torch.randn(4, 3, 64, 64)).sum().backward()
    assert all(torch.equal(value, before[name]) for name, value in network.encoder.state_dict().items())
    assert all(parameter.grad is None for parameter in network.encoder.parameters())
    assert all(parameter.grad is not None for parameter in network.head.parameters())


def test_one_step_changes_the_scores(check_one_step: Callable[[Method, Method, Budget], None]) -> None:
    check_one_step(TINY, replace(TINY, settings=replace(TINY.settings, lr=0.0)), BUDGET)


def test_eight_people_are_learned_by_heart(check_overfit: Callable[[Method, Budget], Fitted], palsied_people: Crops) -> None:
    fitted = check_overfit(QUICK, replace(BUDGET, epochs=30, image_px=48, width=0.0625))
    assert isinstance(fitted, FittedFrames)
    assert isinstance(fitted.network, AunceNetwork)
    assert fitted.network.encoder.frozen
