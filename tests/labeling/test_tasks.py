"""Key frames are rest and variety, of the better frames; a task identifies nobody."""

from pathlib import Path

import numpy as np
import pytest

from labeling.tasks import build_adjudication_task, build_task, choose_key_frames, image_url, store_folder
from vitau.schema import AU, AUS, LedgerRow, Side, Stage


def clip(seed: int = 0) -> tuple[np.ndarray, list[int]]:
    """Landmarks of a person at rest who makes 3 faces, 4 frames each with a little jitter; and where the faces begin."""
    rng = np.random.default_rng(seed)
    rest = rng.uniform(40, 216, (68, 2))
    moved = [np.zeros((68, 2)) for _ in range(4)]
    moved[1][17:27] = (0, -20)
    moved[2][48:55] = (15, 0)
    moved[3][55:60] = (0, 25)
    order = [0] * 8 + [1] * 4 + [0] * 4 + [2] * 4 + [0] * 4 + [3] * 4
    shapes = np.stack([rest + moved[face] + rng.normal(0, 0.3, (68, 2)) for face in order])
    return shapes.reshape(-1, 136), order


def test_rest_comes_first_and_every_face_is_shown():
    landmarks, order = clip()
    chosen = choose_key_frames(landmarks, {}, count=4)
    assert order[chosen[0]] == 0
    assert sorted(order[index] for index in chosen) == [0, 1, 2, 3]


def test_moving_or_growing_the_face_changes_nothing():
    landmarks, _ = clip()
    rng = np.random.default_rng(1)
    moved = landmarks.reshape(-1, 68, 2) * rng.uniform(0.5, 2, (28, 1, 1)) + rng.uniform(-50, 50, (28, 1, 2))
    assert choose_key_frames(moved.reshape(-1, 136), {}) == choose_key_frames(landmarks, {})


def test_a_frame_without_landmarks_is_never_shown():
    landmarks, _ = clip()
    landmarks[::2] = np.nan
    assert all(index % 2 == 1 for index in choose_key_frames(landmarks, {}, count=20))


def test_blurred_frames_are_passed_over():
    landmarks, _ = clip()
    sharpness = np.where(np.arange(len(landmarks)) % 4, 100.0, 5.0)
    assert all(index % 4 for index in choose_key_frames(landmarks, {"sharpness": sharpness}, count=21))


def test_a_head_turned_to_either_side_is_passed_over():
    landmarks, _ = clip()
    yaw = np.where(np.arange(len(landmarks)) % 4, 0.0, np.where(np.arange(len(landmarks)) % 8, -30.0, 30.0))
    assert all(index % 4 for index in choose_key_frames(landmarks, {"yaw_deg": yaw}, count=21))


@pytest.mark.parametrize(("num_frames", "expected"), [(0, 0), (1, 1), (3, 3), (28, 6)])
def test_no_frame_is_shown_twice(num_frames, expected):
    landmarks, _ = clip()
    chosen = choose_key_frames(landmarks[:num_frames], {})
    assert len(chosen) == len(set(chosen)) == expected


def test_equal_frames_are_told_apart_by_their_position():
    landmarks = np.repeat(clip()[0][:1], 8, axis=0)
    assert len(set(choose_key_frames(landmarks, {}))) == 6


def test_a_picture_has_the_address_that_label_studio_serves():
    key = "subjects/p1/keyframes/a b.jpg"
    assert image_url("file:///srv/store", key) == "/data/local-files/?d=subjects/p1/keyframes/a%20b.jpg"
    assert image_url("s3://bucket/prefix/", key) == "s3://bucket/prefix/subjects/p1/keyframes/a b.jpg"


def test_a_store_is_a_folder_or_it_is_not():
    assert store_folder("file:///srv/a%20b") == Path("/srv/a b")
    assert store_folder("relative/store") == Path("relative/store")
    assert store_folder("s3://bucket/prefix") is None


def test_a_task_holds_a_pseudonym_pictures_and_frames_and_nothing_else():
    data = {"subject": "p1", "about": "One person, pictures: 2", "images": ["/a.jpg", "/b.jpg"], "frames": ["f1", "f2"]}
    assert build_task("p1", ["/a.jpg", "/b.jpg"], ["f1", "f2"]) == {"data": data}
    with pytest.raises(ValueError, match="subject p1 has 2 pictures and 1 frame names"):
        build_task("p1", ["/a.jpg", "/b.jpg"], ["f1"])


def test_a_drawn_person_is_called_synthetic():
    assert build_task("p1", ["/a.jpg"], ["f1"], synthetic=True)["data"]["about"] == "Drawn, synthetic person, pictures: 1"


def test_the_adjudicator_sees_what_each_reader_said_and_no_markup_of_theirs():
    rows = [
        LedgerRow(
            subject="p1",
            au=au,
            reader=reader,
            stage=Stage.READER,
            affected={"A": au is AU.AU12, "B": None}[reader],
            side=Side.LEFT if reader == "A" else None,
            annotation="1",
            version="1",
            answered_at="1",
            note="<script>" if reader == "A" else None,
        )
        for reader in "AB"
        for au in AUS
    ]
    task = build_adjudication_task(build_task("p1", ["/a.jpg"], ["f1"]), rows, [AU.AU12])
    assert task["data"]["subject"] == "p1"
    lines = [line for line in task["data"]["answers"].split("<tr") if "Lip corner (AU12)" in line]
    assert [text in lines[0] for text in ("affected", "cannot tell", "background")] == [True] * 3
    assert "&lt;script&gt;" in task["data"]["answers"]
    assert "<script>" not in task["data"]["answers"]
