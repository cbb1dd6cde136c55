"""Detection, landmarks, identity embeddings, and tracking of one person."""

import mmap
import subprocess
import sys

import cv2
import numpy as np
import pytest

from vitau.media import faces
from vitau.media.clips import SampledFrame
from vitau.media.faces import Detection
from vitau.media.synthetic.drawing import draw_frame
from vitau.media.synthetic.people import draw_person
from vitau.media.tracking import tracker as tracking
from vitau.media.tracking.tracker import FaceTracker, track_faces

MADV_COLLAPSE = 25
DRAWN_PERSON = 0.35
"""Largest distance for synthetic people: frames of one are within 0.25, these two people are over 0.4 apart."""


def side_by_side(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    return np.hstack([left, right])


def blank_like(like: np.ndarray) -> np.ndarray:
    return np.full_like(like, 120)


def is_left(face: Detection | None) -> bool:
    assert face is not None
    return face.box[0] + face.box[2] / 2 < 640


def test_a_synthetic_face_is_detected_with_its_exact_landmarks() -> None:
    drawing = draw_frame(draw_person(1, 4), "rest", 0.0)
    (face,) = faces.detect(drawing.image)
    found = faces.landmarks(drawing.image, face.box)
    assert found.shape == (68, 2)
    assert found.dtype == np.float32
    assert np.abs(found - drawing.landmarks).mean() < 8


@pytest.mark.parametrize("width", [320, 640, 1280])
def test_a_box_is_in_px_of_the_frame_at_every_search_width(smiles: dict[int, list[np.ndarray]], width: int) -> None:
    (whole,), (face,) = faces.detect(smiles[4][0]), faces.detect(smiles[4][0], width)
    assert faces.iou(whole.box, face.box) > 0.5


def test_the_crop_has_its_landmarks_near_where_alignment_puts_them(smiles: dict[int, list[np.ndarray]]) -> None:
    (face,) = faces.detect(smiles[4][0])
    aligned = faces.align(smiles[4][0], face)
    eyes = aligned.crop_landmarks[36:48].mean(axis=0)
    mouth = aligned.crop_landmarks[[48, 54]].mean(axis=0)
    assert abs(eyes[0] - 127.5) < 8
    assert 0.8 < (mouth[1] - eyes[1]) / (256 / 3.6) < 1.25  # |m| is at most a 3.6th of the crop's side


def test_a_mirrored_frame_is_unmirrored_in_its_crop(smiles: dict[int, list[np.ndarray]]) -> None:
    image = smiles[4][2]
    mirrored = np.ascontiguousarray(image[:, ::-1])
    straight = faces.align(image, faces.detect(image)[0])
    back = faces.align(mirrored, faces.detect(mirrored)[0], mirrored=True)
    alike = cv2.absdiff(straight.crop, back.crop).mean()
    assert alike < cv2.absdiff(straight.crop, back.crop[:, ::-1]).mean() * 0.75
    assert np.abs(straight.crop_landmarks - back.crop_landmarks).mean() < 5


def test_a_person_is_nearer_to_themselves_than_to_others(smiles: dict[int, list[np.ndarray]]) -> None:
    def embedding(index: int, frame: int) -> np.ndarray:
        image = smiles[index][frame]
        face = faces.align(image, faces.detect(image)[0])
        return faces.embed(face.crop, face.crop_landmarks)

    anchor = embedding(4, 0)
    assert anchor.shape == (128,)
    assert np.linalg.norm(embedding(4, 3) - anchor) < np.linalg.norm(embedding(5, 3) - anchor)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [((0, 0, 10, 10), (0, 0, 10, 10), 1.0), ((0, 0, 10, 10), (5, 0, 10, 10), 1 / 3), ((0, 0, 10, 10), (20, 20, 5, 5), 0.0)],
)
def test_iou_is_the_intersection_over_the_union(a: faces.Box, b: faces.Box, expected: float) -> None:
    assert faces.iou(a, b) == pytest.approx(expected)


def test_the_person_of_interest_is_large_central_and_confident() -> None:
    middle = Detection(box=(270, 190, 100, 100), score=2.0)
    assert faces.person_of_interest([Detection(box=(0, 0, 100, 100), score=2.0), middle], 640, 480) is middle
    assert faces.person_of_interest([Detection(box=(280, 200, 60, 60), score=2.0), middle], 640, 480) is middle
    assert faces.person_of_interest([Detection(box=(270, 190, 105, 105), score=0.2), middle], 640, 480) is middle


def test_the_tracked_person_is_kept_when_another_one_comes_into_view(smiles: dict[int, list[np.ndarray]]) -> None:
    one, other = smiles[4], smiles[5]
    tracker = FaceTracker(same_person=DRAWN_PERSON)
    num_faces, face = tracker.find(side_by_side(one[0], blank_like(one[0])))
    assert num_faces == 1
    assert is_left(face)
    for step in (1, 2, 3):
        _, face = tracker.find(side_by_side(one[step], other[step]))
        assert is_left(face)


def test_both_faces_in_view_are_counted(smiles: dict[int, list[np.ndarray]]) -> None:
    num_faces, _ = FaceTracker().find(side_by_side(smiles[4][0], smiles[5][0]))
    assert num_faces == 2


def test_another_person_is_not_taken_for_the_tracked_person_who_left(smiles: dict[int, list[np.ndarray]]) -> None:
    one, other = smiles[4], smiles[5]
    tracker = FaceTracker(same_person=DRAWN_PERSON)
    assert is_left(tracker.find(side_by_side(one[0], blank_like(one[0])))[1])
    for step in (1, 2):
        num_faces, face = tracker.find(side_by_side(blank_like(one[0]), other[step]))
        assert face is None
        assert num_faces == 1
    assert is_left(tracker.find(side_by_side(one[3], other[3]))[1])


def test_the_tracked_person_is_found_again_on_the_other_side(smiles: dict[int, list[np.ndarray]]) -> None:
    one, other = smiles[4], smiles[5]
    tracker = FaceTracker(same_person=DRAWN_PERSON)
    assert is_left(tracker.find(side_by_side(one[0], blank_like(one[0])))[1])
    assert not is_left(tracker.find(side_by_side(other[1], one[1]))[1])


def test_a_small_face_is_found_at_the_fine_width(smiles: dict[int, list[np.ndarray]]) -> None:
    scene = np.full((540, 960, 3), 110, np.uint8)
    scene[200:380, 300:540] = cv2.resize(smiles[4][0], (240, 180), interpolation=cv2.INTER_AREA)
    num_faces, face = FaceTracker().find(scene)
    assert num_faces == 1
    assert face is not None
    assert 300 < face.box[0] < 540


def test_the_predictor_lies_in_huge_pages() -> None:
    probe = mmap.mmap(-1, 8 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    probe.write(bytes(8 << 20))
    try:
        probe.madvise(MADV_COLLAPSE)
    except OSError:
        pytest.skip("this kernel gives no huge pages on request")
    read = "print(sum(int(n) for n in re.findall(r'AnonHugePages: +(\\d+) kB', open('/proc/self/smaps').read())))"
    code = f"import re; from vitau.media.faces import predictor; predictor(); {read}"
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert int(said) > 16 << 10, "kB of the 75 MB"


def test_an_image_without_a_face_has_no_detection(smiles: dict[int, list[np.ndarray]]) -> None:
    assert FaceTracker().find(blank_like(smiles[4][0])) == (0, None)


@pytest.mark.parametrize(("num_bytes", "sizes"), [(1, [1, 2, 4, 8, 8, 2]), (3 << 20, [1] + [2] * 12), (9 << 20, [1] * 25)])
def test_the_first_batches_are_small_and_none_has_more_than_its_memory(num_bytes: int, sizes: list[int]) -> None:
    batches = list(tracking.in_batches(range(25), lambda _: num_bytes, 8))
    assert [len(batch) for batch in batches] == sizes
    assert [item for batch in batches for item in batch] == list(range(25))


def test_faces_aligned_at_once_are_those_aligned_one_by_one(smiles: dict[int, list[np.ndarray]]) -> None:
    clip = [images[step] for images in smiles.values() for step in range(4)] + [blank_like(smiles[4][0])]
    clip *= 5  # more frames than are aligned at once
    frames = [SampledFrame(index=number, time_s=0.0, image=image) for number, image in enumerate(clip)]
    tracker = FaceTracker(mirrored=True)
    for (frame, num_faces, face), expected in zip(track_faces(frames, mirrored=True), frames, strict=True):
        assert frame is expected
        found = tracker.find(frame.image)
        assert (num_faces, face is None) == (found[0], found[1] is None)
        if face is not None and found[1] is not None:
            alone = faces.align(frame.image, found[1], mirrored=True)
            assert (face.box, face.score) == (alone.box, alone.score)
            for name in ("landmarks", "crop", "crop_landmarks"):
                np.testing.assert_array_equal(getattr(face, name), getattr(alone, name))


@pytest.mark.parametrize("width", [320, 500, 640])
def test_a_search_that_skips_levels_gives_the_boxes_and_scores_of_a_full_one(
    smiles: dict[int, list[np.ndarray]], width: int
) -> None:
    for image in (images[step] for images in smiles.values() for step in (0, 3)):
        (whole,) = faces.detect(image, width)
        assert whole.level > 0
        for first_level in range(1, whole.level + 1):
            assert faces.detect(image, width, first_level) == [whole]
        assert all(face.level > whole.level for face in faces.detect(image, width, whole.level + 1))


def test_tracking_skips_levels_and_gives_the_boxes_of_full_searches(
    smiles: dict[int, list[np.ndarray]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A face approaches, recedes, and is joined by another one."""
    first_levels: list[int] = []

    def detect(image: np.ndarray, scale: float, first_level: int = 0) -> list[Detection]:
        first_levels.append(first_level)
        return whole_search(image, scale, first_level)

    def full_search(image: np.ndarray, scale: float, first_level: int = 0) -> list[Detection]:
        del first_level
        return whole_search(image, scale)

    whole_search = faces.detect_resized
    one = smiles[4][0]
    clip = [scaled(one, scale) for scale in (1.0, 1.15, 1.15, 0.9, 1.15, 1.3, 1.5, 1.3, 0.7)]
    clip += [side_by_side(cv2.resize(one, (320, 240)), cv2.resize(smiles[5][0], (320, 240)))] * 2
    followed = {}
    for name, search in (("levels", detect), ("full", full_search)):
        monkeypatch.setattr(tracking, "detect_resized", search)
        tracker = FaceTracker()
        followed[name] = [tracker.find(image) for image in clip]
    for (_, ours), (_, theirs) in zip(followed["levels"], followed["full"], strict=True):
        assert ours is not None
        assert theirs is not None
        assert (ours.box, ours.score) == (theirs.box, theirs.score)
    assert any(first_levels)
    assert [num for num, _ in followed["levels"]] == [num for num, _ in followed["full"]]


def scaled(image: np.ndarray, scale: float) -> np.ndarray:
    """Enlarge or reduce a picture around its center, with its border continued."""
    height, width = image.shape[:2]
    map_to = np.array([[scale, 0, (1 - scale) * width / 2], [0, scale, (1 - scale) * height / 2]])
    return cv2.warpAffine(image, map_to, (width, height), borderMode=cv2.BORDER_REPLICATE)
