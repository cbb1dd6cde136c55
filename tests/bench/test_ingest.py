"""The benchmark of the frame table, at a few frames."""

from vitau.bench.ingest import bench


def test_both_ways_find_the_same_faces():
    (case,) = bench(1, upsample=0, duration_s=1.5, at_least=1e9, zooms=(1.5,)).cases
    assert case.agreement["share_both_found"] == 1
    assert case.max_difference < 0.2
    assert case.missed
    assert case.unit == "frames/s"
    assert list(case.floors) == ["decode", "decode + landmarks", "decode + landmarks + search"]
    assert min(case.floors.values()) > 0
