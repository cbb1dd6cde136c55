import torch

from vitau.bench.regions import looped_heatmaps
from vitau.models.heatmaps import true_heatmaps


def test_heatmaps_drawn_one_by_one_are_those_drawn_at_once():
    landmarks, affected = torch.rand(3, 68, 2) * 256, torch.rand(3, 8) < 0.5
    torch.testing.assert_close(looped_heatmaps(landmarks, affected, 32, 5.0), true_heatmaps(landmarks, affected, 32, 5.0))
