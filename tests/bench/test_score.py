"""The benchmark of scoring, at a few frames."""

from vitau.bench.pipelines.score import bench


def test_both_ways_find_the_same_scores():
    (case,) = bench(1, duration_s=0.34, upsamples=(0,)).cases
    assert case.at_least is None
    assert case.max_difference < 0.02
    assert list(case.floors) == ["decode", "forward", "decode + faces", "decode + faces + forward"]
    assert min(case.floors.values()) > 0
