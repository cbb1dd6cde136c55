from pathlib import Path

import dlib
import numpy as np
import pytest

from vitau.measures.landmarks.choice import open_backend
from vitau.media.faces import FaceCrop, align, detect
from vitau.media.synthetic.drawing import Drawing, draw_frame
from vitau.media.synthetic.people import draw_person


@pytest.fixture(scope="module")
def drawings() -> list[Drawing]:
    return [draw_frame(draw_person(901, index), "rest", 0.0) for index in range(3)]


@pytest.fixture(scope="module")
def face(drawings: list[Drawing]) -> FaceCrop:
    return align(drawings[0].image, detect(drawings[0].image)[0])


def train_predictor(path: Path, drawings: list[Drawing], num_points: int = 68) -> Path:
    """Train a tiny shape predictor of dlib on drawn people."""
    images, shapes = [], []
    for drawing in drawings:
        points = drawing.landmarks
        box = dlib.rectangle(*(int(value) for value in (*points.min(axis=0), *points.max(axis=0))))
        parts = [dlib.point(int(x), int(y)) for x, y in points[:num_points]]
        images.append(drawing.image)
        shapes.append([dlib.full_object_detection(box, parts)])
    options = dlib.shape_predictor_training_options()
    options.tree_depth, options.cascade_depth, options.num_trees_per_cascade_level, options.oversampling_amount = 2, 2, 5, 2
    options.num_threads = 1
    dlib.train_shape_predictor(images, shapes, options).save(str(path))
    return path


def test_dlib_gives_the_points_of_the_tracked_face(drawings: list[Drawing], face: FaceCrop) -> None:
    backend = open_backend("dlib")
    points = backend.points(drawings[0].image, face)
    assert points is not None
    assert np.array_equal(points, face.landmarks)


def test_the_users_own_shape_predictor_gives_the_points_when_the_setting_names_it(
    tmp_path: Path, drawings: list[Drawing], face: FaceCrop, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = train_predictor(tmp_path / "own.dat", drawings)
    monkeypatch.setenv("VITAU_SHAPE_PREDICTOR", str(path))
    backend = open_backend()
    assert backend.name == "shape_predictor"
    points = backend.points(drawings[0].image, face)
    x, y, width, height = (round(value) for value in face.box)
    shape = dlib.shape_predictor(str(path))(drawings[0].image, dlib.rectangle(x, y, x + width - 1, y + height - 1))
    assert points is not None
    assert np.array_equal(points, [(part.x, part.y) for part in shape.parts()])
    assert not np.array_equal(points, face.landmarks)
    assert backend.flattening is not None
    assert backend.flattening.kept["lid_gap"].slope < 0.5, "four trees learned one mean face"


def test_a_bad_shape_predictor_is_one_clear_sentence(tmp_path: Path, drawings: list[Drawing]) -> None:
    (tmp_path / "text.dat").write_text("no predictor")
    few = train_predictor(tmp_path / "few.dat", drawings, num_points=5)
    for path, sentence in (
        (tmp_path / "none.dat", "which does not exist; give a shape predictor of dlib"),
        (tmp_path / "text.dat", "which is no shape predictor of dlib"),
        (few, "gives 5 points; give one with 68"),
    ):
        with pytest.raises(ValueError, match=sentence) as caught:
            open_backend("shape_predictor", shape_predictor=path)
        assert "\n" not in str(caught.value)


def test_a_choice_that_cannot_be_made_is_one_clear_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VITAU_SHAPE_PREDICTOR", raising=False)
    with pytest.raises(ValueError, match="give one of"):
        open_backend("mesh")
    with pytest.raises(ValueError, match="need a table of points"):
        open_backend("csv")
    with pytest.raises(ValueError, match="set VITAU_SHAPE_PREDICTOR to its path"):
        open_backend("shape_predictor")
