from vitau.bench.frames import bench


def test_both_ways_find_the_face_in_every_frame_and_agree_where_it_is():
    (case,) = bench(1, people=(3,), frames_per_task=1).cases
    assert case.agreement["share_both_found"] == 1
    assert case.agreement["median_landmark_distance_px"] < 4
    assert case.unit == "frames/s"
