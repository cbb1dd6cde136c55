"""The benchmark of decoding: both ways give the same frames."""

from vitau.bench.decode import bench


def test_both_ways_decode_the_same_frames():
    (case,) = bench(1).cases
    assert case.name == "56 of 280 frames"
    assert case.max_difference < 2
