from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from vitau.baselines.fitting import FrameItems, Settings
from vitau.baselines.recognition.networks.dhn import dhn, part_loss, part_truth, with_edges
from vitau.schema import AU, AUS


@pytest.fixture
def batch(eight_people):
    """A control, and palsied people: AU1; only AU9 known, healthy; nothing known; only AU12 known, affected."""
    drawn = FrameItems(eight_people, 16, "cpu").batch(np.arange(5))
    affected, known = torch.zeros(5, 8, dtype=torch.bool), torch.ones(5, 8, dtype=torch.bool)
    affected[1, AUS.index(AU.AU1)] = True
    known[2] = False
    known[2, AUS.index(AU.AU9)] = True
    known[3:] = False
    affected[4, AUS.index(AU.AU12)] = known[4, AUS.index(AU.AU12)] = True
    return replace(drawn, palsied_B=torch.tensor([False, True, True, True, True]), affected_BA=affected, known_BA=known)


def test_an_edge_is_as_long_as_its_step():
    crop = torch.full((1, 3, 5, 6), -1.0)
    crop[..., 3:] = 1.0
    edges = with_edges(crop)[0, 3]
    expected = torch.zeros(5, 6)
    expected[:, 2:4] = 2.0
    assert torch.allclose(edges, expected, atol=1e-5)
    assert torch.allclose(with_edges(crop.transpose(2, 3))[0, 3], expected.T, atol=1e-5)
    assert torch.equal(with_edges(crop)[:, :3], crop)


def test_parts_are_palsied_healthy_or_unknown(batch):
    palsied, known = part_truth(batch)
    assert palsied.tolist() == [[False, False], [True, False], [False, False], [False, False], [False, True]]
    assert known.tolist() == [[True, True], [True, True], [False, False], [False, False], [False, True]]


def test_the_loss_is_of_known_parts_and_of_the_larger_part_where_none_is_known(batch):
    class Fixed(nn.Module):
        def forward(self, _):
            return torch.tensor([[0.0, 1.0], [2.0, 0.0], [3.0, -1.0], [-2.0, -1.0], [9.0, 0.5]])

    def positive(logit):
        return np.log1p(np.exp(-logit))

    terms = [positive(0), positive(-1), positive(2), positive(0), positive(3), positive(-1), positive(0.5)]
    assert part_loss(Fixed(), batch).item() == pytest.approx(sum(terms) / 7)


def test_the_score_is_that_of_the_larger_part(batch):
    class Fixed(nn.Module):
        def forward(self, _):
            return torch.tensor([[0.0, 1.0], [2.0, 0.0]])

    assert torch.allclose(dhn().read(Fixed(), batch), torch.tensor([1.0, 2.0]).sigmoid())


def test_it_learns_eight_people(check_learning, few_frames):
    check_learning(replace(dhn(), settings=Settings(lr=2e-3)), epochs=13, image_px=48, width=0.125, **few_frames)
