import cv2
import numpy as np

from vitau.schema import AUS
from vitau.scoring.overlays import SIZE, cam_overlay, draw_overlays, evenly_spaced, heatmap_overlay, shrink


def test_analyzed_faces_get_regions_and_others_do_not(lenient, crops):
    first, second = draw_overlays(lenient, crops[:2], np.array([True, False]))
    assert set(first) == {"face", "recognition", "regions", *AUS}
    assert set(second) == {"face", "recognition"}
    for jpeg in first.values():
        assert cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR).shape == (SIZE, SIZE, 3)


def test_no_faces_give_no_overlays(lenient, crops):
    assert draw_overlays(lenient, crops[:0], np.zeros(0, bool)) == []


def test_a_map_of_zeros_leaves_the_face_unchanged(crops):
    np.testing.assert_array_equal(cam_overlay(crops[0], np.zeros((8, 8), np.float32)), shrink(crops[0]))
    np.testing.assert_array_equal(heatmap_overlay(crops[0], np.zeros((8, 16, 16), np.float32)), shrink(crops[0]))


def test_affected_is_orange_spared_is_blue_and_the_strongest_wins():
    gray = np.full((256, 256, 3), 128, np.uint8)
    heatmaps = np.zeros((8, 16, 16), np.float32)
    heatmaps[0, :, :8], heatmaps[1, :, :8], heatmaps[2, :, 8:] = 0.9, -0.3, -0.8
    drawn = heatmap_overlay(gray, heatmaps).astype(int)
    left, right = drawn[:, :60].mean((0, 1)), drawn[:, -60:].mean((0, 1))
    assert left[0] > 128 > left[2]
    assert right[2] > 128 > right[0]


def test_positions_are_spread_evenly():
    assert [evenly_spaced(0, 3), evenly_spaced(2, 3), evenly_spaced(7, 3)] == [[], [0, 1], [0, 3, 6]]
