"""The benchmark of the true heatmaps, and that both ways draw the same."""

import torch

from vitau.bench import heatmaps


def test_both_ways_draw_the_same_heatmaps():
    for case in heatmaps.bench(1).cases:
        assert case.max_difference < 1e-5
        assert case.agreement["share_cut_otherwise"] < 1e-4


def test_the_benchmark_leaves_the_number_of_threads_as_it_was():
    before = torch.get_num_threads()
    heatmaps.bench(1)
    assert torch.get_num_threads() == before
