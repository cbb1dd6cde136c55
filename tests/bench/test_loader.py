"""The benchmark of training batches, at a few frames."""

from vitau.bench.pipelines.loader import bench


def test_both_ways_build_the_same_batches():
    (case,) = bench(1, num_people=2, at_least=1e9).cases
    assert case.max_difference < 1e-4
    assert case.missed
    assert case.floors["augmentation"] > 0
