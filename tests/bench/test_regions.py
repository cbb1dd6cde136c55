import torch

from vitau.bench.regions import bench, looped_heatmaps
from vitau.models.heatmaps import true_heatmaps


def test_both_steps_have_the_same_loss_step_after_step():
    result = bench(3)
    timed = ["all features", "early features"]
    assert [case.name for case in result.cases] == [*timed, *(f"{name}, peak memory" for name in timed)]
    assert all(case.max_difference < 1e-4 for case in result.cases)
    assert all(case.unit == "images/GB" and case.agreement["our_peak_mb"] > 1 for case in result.cases[2:])


def test_heatmaps_drawn_one_by_one_are_those_drawn_at_once():
    landmarks, affected = torch.rand(3, 68, 2) * 256, torch.rand(3, 8) < 0.5
    torch.testing.assert_close(looped_heatmaps(landmarks, affected, 32, 5.0), true_heatmaps(landmarks, affected, 32, 5.0))
