"""The benchmark of growth, at a few frames."""

from vitau.bench.pipelines.growth import bench


def test_every_stage_is_measured_at_two_sizes():
    cases = bench(1, num_frozen=2000, num_loaded=1500, num_scored=2000, num_batches=1).cases
    assert [case.name.partition(",")[0] for case in cases] == [
        "freeze",
        "open a snapshot",
        "build 1 batches",
        "aggregate the scores",
    ]
    assert all(case.ours > 0 and case.at_least == 0.85 for case in cases)
