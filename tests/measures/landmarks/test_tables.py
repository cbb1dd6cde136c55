import csv
from pathlib import Path

import numpy as np
import pytest

from vitau.errors import SourceError
from vitau.measures.landmarks.tables import FACE_MESH, TableBackend
from vitau.media.faces import FaceCrop
from vitau.schema import MIRROR

IMAGE = np.zeros((480, 640, 3), np.uint8)
POINTS = np.random.default_rng(1).uniform((250, 150), (390, 330), (68, 2)).round(1).astype(np.float32)


def a_face(points: np.ndarray) -> FaceCrop:
    return FaceCrop(
        box=(250, 150, 140, 180),
        score=1.0,
        landmarks=points.astype(np.float32),
        crop=np.zeros((256, 256, 3), np.uint8),
        crop_landmarks=points.astype(np.float32),
    )


def write(path: Path, columns: list[str], rows: list[list[object]]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([columns, *rows])
    return path


def columns_of(count: int, separator: str = "_") -> list[str]:
    return [f"{axis}{separator}{point}" for axis in "xy" for point in range(count)]


def flat(points: np.ndarray) -> list[object]:
    return [*points[:, 0].tolist(), *points[:, 1].tolist()]


def test_openface_counts_frames_from_one_and_writes_spaces_into_its_header(tmp_path: Path) -> None:
    names = ["frame", " face_id", " timestamp", " confidence", " success", *(f" {name}" for name in columns_of(68))]
    rows = [[1, 0, 0.0, 0.98, 1, *flat(POINTS)], [2, 0, 0.03, 0.98, 1, *flat(POINTS + 3)], [3, 0, 0.07, 0.0, 0, *[0.0] * 136]]
    backend = TableBackend(write(tmp_path / "of.csv", names, rows))
    assert np.array_equal(backend.points(IMAGE, a_face(POINTS), 0), POINTS)
    assert np.allclose(backend.points(IMAGE, a_face(POINTS), 1), POINTS + 3)
    assert backend.points(IMAGE, a_face(POINTS), 2) is None, "a frame without a face has no points"


def test_pyfeat_names_its_inputs_and_counts_frames_from_zero(tmp_path: Path) -> None:
    rows = [[*flat(POINTS), 0, "/somewhere/one.mp4"], [*flat(POINTS + 5), 0, "/somewhere/two.mp4"]]
    backend = TableBackend(write(tmp_path / "feat.csv", [*columns_of(68), "frame", "input"], rows))
    assert np.array_equal(backend.points(IMAGE, a_face(POINTS), 0, "one.mp4"), POINTS)
    assert np.allclose(backend.points(IMAGE, a_face(POINTS), 0, "clips/two.mp4"), POINTS + 5)
    assert backend.points(IMAGE, a_face(POINTS), 0, "three.mp4") is None
    assert backend.points(IMAGE, a_face(POINTS), 1, "one.mp4") is None


@pytest.mark.parametrize("count", [468, 478])
@pytest.mark.parametrize("normalized", [True, False])
def test_the_face_mesh_becomes_68_points_in_px(tmp_path: Path, count: int, normalized: bool) -> None:
    mesh = np.random.default_rng(2).uniform((250, 150), (390, 330), (count, 2))
    stored = mesh / (640, 480) if normalized else mesh
    backend = TableBackend(write(tmp_path / "mesh.csv", ["frame", *columns_of(count, "")], [[0, *flat(stored)]]))
    points = backend.points(IMAGE, a_face(mesh[list(FACE_MESH)]), 0)
    assert points is not None
    assert np.allclose(points, mesh[list(FACE_MESH)], atol=1e-3)


def test_the_mesh_vertices_mirror_like_the_68_points() -> None:
    pairs = {(33, 263), (61, 291), (70, 300), (105, 334), (160, 387), (144, 373), (37, 267), (84, 314), (234, 454), (82, 312)}
    mirrored = {(FACE_MESH[point], FACE_MESH[other]) for point, other in enumerate(MIRROR)}
    assert pairs <= mirrored
    assert len(set(FACE_MESH)) == 68


def test_the_nearest_of_several_faces_is_taken_and_a_stranger_is_not(tmp_path: Path) -> None:
    rows = [[0, *flat(POINTS + np.array([200, 0]))], [0, *flat(POINTS + 2)]]
    backend = TableBackend(write(tmp_path / "two.csv", ["frame", *columns_of(68)], rows))
    assert np.allclose(backend.points(IMAGE, a_face(POINTS), 0), POINTS + 2)
    assert backend.points(IMAGE, a_face(POINTS - np.array([200, 0])), 0) is None


@pytest.mark.parametrize(
    ("columns", "rows", "sentence"),
    [
        (["frame", *columns_of(5)], [[0] * 11], "has columns of 5 points; give x_0, y_0, … of 68 points"),
        (columns_of(68), [[0] * 136], "has no column frame"),
        (["frame", *columns_of(68)[:-1]], [[0] * 136], "has no column y_67"),
        (["frame", *columns_of(68)], [], "has no row with landmarks"),
        (["frame", *columns_of(68)], [[0, "x", *[1.0] * 135]], "line 2 of "),
        (["frame", *columns_of(68)], [[0, 1.0]], "is not a row of numbers"),
    ],
)
def test_a_table_that_cannot_be_used_is_one_clear_sentence(
    tmp_path: Path, columns: list[str], rows: list[list[object]], sentence: str
) -> None:
    with pytest.raises(SourceError) as caught:
        TableBackend(write(tmp_path / "bad.csv", columns, rows))
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_or_binary_table_is_one_clear_sentence(tmp_path: Path) -> None:
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00x_0")
    for name in ("none.csv", "binary.csv"):
        with pytest.raises(SourceError, match="cannot be read"):
            TableBackend(tmp_path / name)
