import cv2
import numpy as np

from vitau.schema import AUS
from vitau.scoring.explanations.mirror import mirror_occlusion
from vitau.scoring.overlays import (
    COLORS,
    SIZE,
    cam_overlay,
    captioned,
    draw_overlays,
    evenly_spaced,
    heatmap_overlay,
    shrink,
    to_jpeg,
)


def test_analyzed_faces_get_regions_and_others_do_not(lenient, crops):
    first, second = draw_overlays(lenient, crops[:2], np.array([True, False]))
    assert set(first) == {"face", "mirror", "recognition", "regions", *AUS}
    assert set(second) == {"face", "mirror", "recognition"}
    for jpeg in first.values():
        assert cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR).shape == (SIZE, SIZE, 3)


def test_no_faces_give_no_overlays(lenient, crops):
    assert draw_overlays(lenient, crops[:0], np.zeros(0, bool)) == []


def test_what_is_drawn_of_a_face_does_not_depend_on_its_batch_and_is_what_is_evaluated(lenient, crops):
    together, alone = (draw_overlays(lenient, some, np.zeros(len(some), bool)) for some in (crops, crops[2:3]))
    shown, expected = decoded(together[2]["mirror"]), decoded(alone[0]["mirror"])
    assert np.abs(shown.astype(int) - expected).max() <= 4
    (map_HW,) = mirror_occlusion(lenient.recognition, lenient.to_input(crops[2:3], lenient.recognition)).numpy()
    assert np.abs(shown.astype(int) - decoded(to_jpeg(cam_overlay(crops[2], map_HW)))).max() <= 4


def test_a_map_of_zeros_leaves_the_face_unchanged_and_says_that_nothing_was_found(crops):
    face = shrink(crops[0])
    drawn = cam_overlay(crops[0], np.zeros((8, 8), np.float32))
    np.testing.assert_array_equal(drawn, captioned(face, "no evidence found"))
    np.testing.assert_array_equal(drawn[: -SIZE // 8], face[: -SIZE // 8])
    assert not np.array_equal(drawn, captioned(face, "no region affected"))
    nothing = heatmap_overlay(crops[0], np.ones((8, 16, 16), np.float32), np.zeros(8, bool))
    np.testing.assert_array_equal(nothing, captioned(face, "no region affected"))


def test_a_map_is_scaled_by_its_maximum(crops):
    map_HW = np.zeros((8, 8), np.float32)
    map_HW[2, 3] = 1e-3
    drawn = cam_overlay(crops[0], map_HW)
    np.testing.assert_array_equal(drawn, cam_overlay(crops[0], 1000 * map_HW))
    changed = np.abs(drawn.astype(int) - shrink(crops[0])).sum(2)
    row, column = np.unravel_index(changed.argmax(), changed.shape)
    assert abs(row - 60) < 12
    assert abs(column - 84) < 12
    assert changed[:, -SIZE // 4 :].max() == 0


def test_affected_regions_are_outlined_each_in_its_color_and_others_are_not():
    gray = np.full((256, 256, 3), 128, np.uint8)
    row, column = np.mgrid[:32, :32]
    bells = np.stack([np.exp(-((row - 8) ** 2 + (column - 4 - 3 * index) ** 2) / 6) for index in range(8)]).astype(np.float32)
    heatmaps = 0.2 * bells
    heatmaps[3] *= -1  # affected by the score, but nowhere above 0
    affected = np.isin(np.arange(8), [0, 3, 6])
    drawn = heatmap_overlay(gray, heatmaps, affected).astype(int)[: SIZE // 2]
    for index, au in enumerate(AUS):
        near = (np.abs(drawn - np.array(COLORS[au])).max(2) < 40).nonzero()[1]
        assert (len(near) > 8) == (index in {0, 6}), au
        if len(near):
            assert abs(near.mean() - 6 * (4.5 + 3 * index)) < 6
    center = drawn[51, round(6 * 4.5)]
    np.testing.assert_array_equal(center, [128, 128, 128], "an outline, not a film")
    assert len(set(COLORS.values())) == 8


def decoded(jpeg):
    return cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)


def test_positions_are_spread_evenly():
    assert [evenly_spaced(0, 3), evenly_spaced(2, 3), evenly_spaced(7, 3)] == [[], [0, 1], [0, 3, 6]]
