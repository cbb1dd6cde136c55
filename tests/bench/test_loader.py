"""The benchmark of training batches, at a few frames."""

from vitau.bench.pipelines.loader import bench


def test_all_ways_build_the_same_batches():
    plain, rounded = bench(1, num_people=2, at_least=1e9).cases
    assert plain.max_difference < 1e-4
    assert rounded.max_difference < 0.1, "OpenCV rounds places and pixels"
    assert plain.missed
    assert not rounded.missed
    assert min(plain.floors.values()) > 0
    assert 0 <= plain.agreement["share of a tiny step that waits"] < 1
