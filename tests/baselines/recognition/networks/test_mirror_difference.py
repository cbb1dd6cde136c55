from dataclasses import replace

import numpy as np
import pytest
import torch

from vitau.baselines.fitting import FrameItems, Settings
from vitau.baselines.method import Budget
from vitau.baselines.recognition.networks.mirror_difference import mirror_difference, palsy_and_side_loss


@pytest.fixture
def network():
    torch.manual_seed(0)
    return mirror_difference().build(Budget(epochs=1, width=0.125), 32)


def test_a_mirror_image_has_the_opposite_side_and_the_same_palsy(network, eight_people):
    batch = FrameItems(eight_people, 32, "cpu").batch(np.arange(8))
    for training in (True, False):
        network.train(training)
        (odd, palsy), (mirrored, palsy_mirrored) = (network(crop) for crop in (batch.crop_BCHW, batch.crop_BCHW.flip(3)))
        assert odd.abs().max() > 1e-4
        assert torch.allclose(odd, -mirrored, atol=1e-3)
        assert torch.allclose(palsy, palsy_mirrored, atol=1e-3)


def test_the_loss_adds_the_side_of_people_with_one_affected_side(network, eight_people):
    batch = FrameItems(eight_people, 32, "cpu").batch(np.flatnonzero(eight_people.palsied_N)[:4])
    sides = torch.zeros_like(batch.sided_BA2)
    losses = []
    for right in (True, False):
        sided = sides.clone()
        sided[:, 0, 0 if right else 1] = True
        losses.append(palsy_and_side_loss(network, replace(batch, sided_BA2=sided)).item())
    both = palsy_and_side_loss(network, replace(batch, sided_BA2=torch.ones_like(sides))).item()
    odd, _ = network(batch.crop_BCHW)
    assert losses[0] - both == pytest.approx(torch.nn.functional.softplus(-odd).mean().item(), abs=1e-5)
    assert losses[1] - both == pytest.approx(torch.nn.functional.softplus(odd).mean().item(), abs=1e-5)


def test_it_learns_eight_people(check_learning, few_frames):
    check_learning(replace(mirror_difference(), settings=Settings(lr=2e-3)), epochs=20, image_px=32, width=0.125, **few_frames)
