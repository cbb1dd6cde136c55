"""Alignment, extraction of crops, unmirroring, quality measures."""

from collections.abc import Sequence

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize

from vitau.media import crops
from vitau.schema import MIRROR

SIZE = (640, 480)


def in_crop(crop_to_frame: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Map points (N, 2) from px of the frame to px of the crop."""
    return crops.transform(cv2.invertAffineTransform(crop_to_frame), points)


def a_face(seed: int = 0) -> np.ndarray:
    """Return 68 points of an upright, roughly symmetric face, 300 px from a corner, with noise."""
    eye = np.array([(-25, 0), (-15, -6), (-5, -6), (5, 0), (-5, 5), (-15, 5)], float) + np.array((10, 0))
    points = np.zeros((68, 2))
    angle = np.linspace(np.pi, 0, 17)
    points[:17] = np.stack([75 * np.cos(angle), 110 * np.sin(angle)], axis=1)
    points[17:27] = [(x, -28) for x in (-60, -50, -40, -30, -18, 18, 30, 40, 50, 60)]
    points[27:31] = [(0, y) for y in (-3, 10, 24, 37)]
    points[31:36] = [(x, 52) for x in (-14, -7, 0, 7, 14)]
    points[36:42] = eye + np.array((-33, 0))
    points[42:48] = (eye * (-1, 1))[[3, 2, 1, 0, 5, 4]] + (33, 0)
    points[48:55] = [(x, 74 - y) for x, y in zip((-28, -18, -8, 0, 8, 18, 28), (0, 5, 8, 6, 8, 5, 0), strict=True)]
    points[55:60] = [(x, 86) for x in (18, 8, 0, -8, -18)]
    points[60:65] = [(x, 73) for x in (-20, -8, 0, 8, 20)]
    points[65:68] = [(x, 77) for x in (8, 0, -8)]
    return points + np.array((320, 220)) + np.random.default_rng(seed).normal(0, 1, points.shape)


def ffhq_quad(points: np.ndarray) -> np.ndarray:
    """Compute the four corners by the FFHQ recipe: upper left, lower left, lower right, upper right."""
    left, right = points[36:42].mean(0), points[42:48].mean(0)
    eyes, mouth = (left + right) / 2, (points[48] + points[54]) / 2
    x = (right - left) - np.flipud(mouth - eyes) * [-1, 1]
    x /= np.hypot(*x)
    x *= max(np.hypot(*(right - left)) * 2.0, np.hypot(*(mouth - eyes)) * 1.8)
    y = np.flipud(x) * [-1, 1]
    center = eyes + (mouth - eyes) * 0.1
    return np.stack([center - x - y, center - x + y, center + x + y, center + x - y])


def turned(points: np.ndarray, angle: float, scale: float, shift: tuple[float, float]) -> np.ndarray:
    turn = scale * np.array([(np.cos(angle), -np.sin(angle)), (np.sin(angle), np.cos(angle))])
    return points @ turn.T + shift


@given(st.integers(0, 99), st.floats(-1, 1), st.floats(0.2, 5), st.sampled_from([64, 256]))
@settings(max_examples=50)
def test_the_corners_of_a_crop_are_those_of_ffhq(seed: int, angle: float, scale: float, size: int) -> None:
    points = turned(a_face(seed), angle, scale, (10, 20))
    corners = np.array([(0, 0), (0, size), (size, size), (size, 0)]) - 0.5
    np.testing.assert_allclose(crops.transform(crops.alignment(points, size), corners), ffhq_quad(points), atol=1e-6)


@given(st.integers(0, 99), st.floats(-3, 3), st.floats(0.2, 5))
@settings(max_examples=50)
def test_a_face_has_the_same_crop_wherever_it_is_in_the_frame(seed: int, angle: float, scale: float) -> None:
    points = a_face(seed)
    moved = turned(points, angle, scale, (-40, 7))
    here, there = (in_crop(crops.alignment(p), p) for p in (points, moved))
    np.testing.assert_allclose(here, there, atol=1e-6)


@given(st.integers(0, 99))
@settings(deadline=None, max_examples=20)
def test_points_survive_the_round_trip_to_the_frame(seed: int) -> None:
    points = a_face(seed)
    matrix = crops.alignment(points)
    np.testing.assert_allclose(crops.transform(matrix, in_crop(matrix, points)), points, atol=1e-6)


def test_landmarks_of_a_mirror_image_take_the_numbers_of_the_other_side() -> None:
    numbers = np.array(MIRROR)
    assert sorted(numbers) == list(range(68))
    assert (numbers[numbers] == np.arange(68)).all()
    points = (a_face() + (crops.renumbered(a_face()) * (-1, 1) + (640, 0))) / 2  # a symmetric face
    np.testing.assert_allclose(crops.renumbered(points) * (-1, 1) + (640, 0), points)


def test_a_mirrored_frame_gives_the_crop_of_the_frame(smiles: dict[int, list[np.ndarray]]) -> None:
    image, points = smiles[3][0], a_face()
    mirrored = np.ascontiguousarray(image[:, ::-1])
    seen = crops.renumbered(points) * (-1, 1) + (image.shape[1] - 1, 0)  # in the order of dlib in the mirror image
    matrix, back = crops.alignment(points), crops.alignment(seen, mirrored=True)
    difference = cv2.absdiff(crops.extract_crop(image, matrix), crops.extract_crop(mirrored, back))
    assert difference.mean() < 0.5
    np.testing.assert_allclose(in_crop(back, crops.renumbered(seen)), in_crop(matrix, points), atol=1e-6)


def test_fine_detail_of_a_large_face_is_averaged_and_not_aliased() -> None:
    checks = (255 * (np.indices((2000, 2000)).sum(axis=0) % 2)).astype(np.uint8)
    crop = crops.extract_crop(np.dstack([checks] * 3), crops.alignment(turned(a_face(), 0.1, 5, (-600, -100))))
    assert abs(float(crop.mean()) - 127.5) < 2
    assert crop.std() < 12


def test_beyond_the_border_the_frame_is_reflected() -> None:
    image = np.full((480, 640, 3), 200, np.uint8)
    crop = crops.extract_crop(image, crops.alignment(a_face() - (320, 220)))
    assert (crop == 200).all()


def test_landmarks_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match=r"landmarks have the shape \(5, 2\); give \(68, 2\)"):
        crops.alignment(np.zeros((5, 2)))
    with pytest.raises(ValueError, match="do not span a face") as caught:
        crops.alignment(np.zeros((68, 2)))
    assert str(caught.value) == "the eyes and the mouth of these landmarks do not span a face; leave this face out"


def test_a_tiny_face_is_aligned_and_single_precision_landmarks_lose_nothing() -> None:
    points = a_face()
    small = crops.alignment(points / 1000)
    np.testing.assert_allclose(small, crops.alignment(points) / 1000, atol=1e-9)
    assert crops.alignment(points.astype(np.float32)).dtype == np.float64


def test_a_crop_takes_exactly_the_pixels_of_the_frame_and_reflects_its_border() -> None:
    image = np.random.default_rng(0).integers(0, 256, (300, 320, 3), dtype=np.uint8)
    moved = np.array([(1.0, 0.0, 7.0), (0.0, 1.0, 5.0)])
    np.testing.assert_array_equal(crops.extract_crop(image, moved), image[5:261, 7:263])
    np.testing.assert_array_equal(crops.extract_crop(image, moved, 10), image[5:15, 7:17])
    outside = crops.extract_crop(image, moved - [(0, 0, 10), (0, 0, 10)], 10)
    np.testing.assert_array_equal(outside[:5, :3], image[5:0:-1, 3:0:-1])


@pytest.mark.parametrize("times", [2, 3])
def test_a_face_of_several_times_the_size_is_averaged_over_its_pixels(times: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (20 * times, 20 * times, 3), dtype=np.uint8)
    center = (times - 1) / 2
    crop = crops.extract_crop(image, np.array([(times, 0.0, center), (0.0, times, center)]), 20)
    mean = image.reshape(20, times, 20, times, 3).mean(axis=(1, 3))
    assert np.abs(crop - mean).max() <= 0.51


def test_supersampling_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crops, "MAX_SUPERSAMPLING", 2)
    image = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    crop = crops.extract_crop(image, np.array([(4.0, 0.0, 1.0), (0.0, 4.0, 1.0)]), 10)
    four = image.reshape(10, 4, 10, 4, 3)[:, ::2, :, ::2]
    assert np.abs(crop - four.mean(axis=(1, 3))).max() <= 0.51


def posed(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """Project the landmarks of the average head, rotated about its axes, into a camera."""
    landmarks = a_face()
    landmarks[crops._POSE_POINTS] = projected(yaw, pitch, roll, (0, 0, 700))
    return landmarks


def projected(yaw: float, pitch: float, roll: float, position: Sequence[float]) -> np.ndarray:
    """Project the rigid points (10, 2) of the average head at a position, in mm before the camera."""
    matrix = np.eye(3)
    for axis, angle in ((1, -yaw), (0, -pitch), (2, roll)):
        matrix = matrix @ cv2.Rodrigues(np.radians(angle) * np.eye(3)[axis])[0]
    camera = np.array([[768, 0, 319.5], [0, 768, 239.5], [0, 0, 1]])
    points = crops._POSE_MODEL @ matrix.T + np.asarray(position)
    return (points @ camera.T)[:, :2] / points[:, 2:]


@given(st.floats(-40, 40), st.floats(-25, 25), st.floats(-30, 30))
@settings(max_examples=50)
def test_known_rotations_of_a_head_are_measured(yaw: float, pitch: float, roll: float) -> None:
    np.testing.assert_allclose(crops.head_pose(posed(yaw, pitch, roll), SIZE), (yaw, pitch, roll), atol=0.5)


@pytest.mark.parametrize("seed", range(8))
def test_the_pose_of_an_uncommon_head_has_the_least_reprojection_error(seed: int) -> None:
    rng = np.random.default_rng(seed)
    turned = rng.uniform((-30, -20, -20), (30, 20, 20))
    landmarks = posed(*turned)
    landmarks[crops._POSE_POINTS] += rng.normal(0, 4, (10, 2))

    def error(pose: np.ndarray) -> np.ndarray:
        return (projected(*pose[:3], pose[3:]) - landmarks[crops._POSE_POINTS]).ravel()

    least = optimize.least_squares(error, (*turned, 0, 0, 700), x_scale=(1, 1, 1, 10, 10, 10), xtol=1e-12)
    np.testing.assert_allclose(crops.head_pose(landmarks, SIZE), least.x[:3], atol=0.02)


def test_a_head_turned_to_its_left_has_its_nose_to_the_right_of_the_image() -> None:
    landmarks = posed(20, 0, 0)
    assert landmarks[30, 0] > landmarks[36:48, 0].mean() + 5


def measured(image: np.ndarray, points: np.ndarray, *, mirrored: bool = False) -> crops.Quality:
    matrix = crops.alignment(points, mirrored=mirrored)
    numbered = crops.renumbered(points) if mirrored else points
    return crops.quality(crops.extract_crop(image, matrix), in_crop(matrix, numbered), points, SIZE, mirrored=mirrored)


def test_blur_darkness_and_glare_show_in_the_quality(smiles: dict[int, list[np.ndarray]]) -> None:
    image, points = smiles[3][0], posed(0, 0, 0)
    good = measured(image, points)
    assert measured(cv2.GaussianBlur(image, (0, 0), 4), points).sharpness < good.sharpness / 4
    assert measured(image // 4, points).brightness < good.brightness / 3
    assert good.clipped < 0.2
    assert measured(np.full_like(image, 255), points).clipped == 1.0
    assert good.face_px == pytest.approx(np.linalg.norm(points[42:48].mean(0) - points[36:42].mean(0)))


def test_brightness_and_clipping_are_those_of_the_pixels_of_the_face() -> None:
    square = np.array([(50, 50), (149, 50), (149, 149), (50, 149)] * 17, float)
    crop = np.full((256, 256, 3), 200, np.uint8)
    for number, level in enumerate((4, 5, 250, 251)):
        crop[50 + 25 * number : 75 + 25 * number, 50:150] = level
    found = crops.quality(crop, square, a_face(), SIZE)
    assert (found.brightness, found.clipped) == (127.5, 0.5)
    elsewhere = crops.quality(crop, square + 1000, a_face(), SIZE)
    assert elsewhere.brightness == pytest.approx(crop[..., 0].mean()), "without a pixel of the face, the whole crop counts"


def test_sharpness_is_the_variance_of_the_laplacian() -> None:
    crop = np.zeros((256, 256, 3), np.uint8)
    crop[128, 128] = 100
    found = crops.quality(crop, a_face(), a_face(), SIZE)
    assert found.sharpness == pytest.approx((400**2 + 4 * 100**2) / 256**2)


def test_the_quality_has_the_pose_of_the_person_also_in_a_mirror_image() -> None:
    crop, landmarks = np.zeros((256, 256, 3), np.uint8), posed(30.0, -10.0, 20.0)
    mirrored = crops.renumbered(landmarks) * (-1, 1) + (SIZE[0] - 1, 0)
    expected = crops.head_pose(landmarks, SIZE)
    for found in (
        crops.quality(crop, a_face(), landmarks, SIZE),
        crops.quality(crop, a_face(), mirrored, SIZE, mirrored=True),
    ):
        np.testing.assert_allclose((found.yaw_deg, found.pitch_deg, found.roll_deg), expected, atol=1e-6)


@pytest.mark.parametrize("size", [(640, 480), (480, 640)])
@pytest.mark.parametrize("pose", [(0.0, 0.0, 0.0), (30.0, -10.0, 20.0), (-35.0, 20.0, -25.0)])
def test_the_pose_of_the_average_head_is_exact_in_every_frame(size: tuple[int, int], pose: tuple[float, float, float]) -> None:
    shift = (np.array(size) - SIZE) / 2
    landmarks = posed(*pose) + shift
    np.testing.assert_allclose(crops.head_pose(landmarks, size), pose, atol=1e-3)
    nearer = (landmarks - (np.array(size) - 1) / 2) * 2 + (np.array(size) - 1) / 2
    assert np.abs(np.subtract(crops.head_pose(nearer, size), pose)).max() < 12, "also near the camera"


def test_the_head_pose_in_a_mirrored_clip_is_that_of_the_person(smiles: dict[int, list[np.ndarray]]) -> None:
    points = posed(20, 5, 10)
    seen = crops.renumbered(points) * (-1, 1) + (SIZE[0] - 1, 0)
    straight, back = measured(smiles[3][0], points), measured(smiles[3][0][:, ::-1], seen, mirrored=True)
    assert (back.yaw_deg, back.pitch_deg, back.roll_deg) == pytest.approx(
        (straight.yaw_deg, straight.pitch_deg, straight.roll_deg), abs=0.01
    )


def test_a_crop_survives_its_jpeg(smiles: dict[int, list[np.ndarray]]) -> None:
    crop = crops.extract_crop(smiles[3][0], crops.alignment(a_face()))
    data = crops.to_jpeg(crop)
    assert data == crops.to_jpeg(crop.copy())
    assert np.abs(crops.from_jpeg(data).astype(int) - crop).mean() < 4


def test_a_crop_is_stored_in_its_colors_at_quality_95() -> None:
    crop = np.zeros((64, 64, 3), np.uint8)
    crop[..., 0], crop[..., 1] = 200, 90
    data = crops.to_jpeg(crop)
    assert np.abs(crops.from_jpeg(data)[32, 32].astype(int) - (200, 90, 0)).max() <= 2
    assert cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[32, 32].argmax() == 2, "OpenCV reads blue first"
    tables = data.index(b"\xff\xdb") + 5
    assert list(data[tables : tables + 8]) == [2, 1, 1, 1, 1, 1, 2, 1], "the quantization of quality 95"
