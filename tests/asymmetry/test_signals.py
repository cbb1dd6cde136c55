import numpy as np
import pytest

from vitau.asymmetry.signals import SIGNALS, sided_signals
from vitau.media.synthetic.drawing import draw_landmarks
from vitau.media.synthetic.people import draw_person
from vitau.schema import MIRROR


@pytest.fixture
def face() -> np.ndarray:
    return draw_landmarks(draw_person(3, 0), "rest", 0.0)[None] * 40 + 128


def test_a_lip_corner_that_rises_changes_its_own_side_only(face: np.ndarray) -> None:
    before = sided_signals(face)
    eyes = np.linalg.norm(face[0, 42:48].mean(axis=0) - face[0, 36:42].mean(axis=0))
    axis = (face[0, 42:48].mean(axis=0) - face[0, 36:42].mean(axis=0)) / eyes
    face[0, 48] -= 0.1 * eyes * np.array([-axis[1], axis[0]])
    change = {name: float(values[0] - before[name][0]) for name, values in sided_signals(face).items()}
    assert np.isclose(change["lip_corner_right"], 0.1)
    assert np.isclose(change["mouth_below_eye_right"], 0.1)
    others = {name: value for name, value in change.items() if name not in ("lip_corner_right", "mouth_below_eye_right")}
    assert np.allclose(list(others.values()), 0)


def test_gaps_and_lateral_distances_are_positive_on_both_sides(face: np.ndarray) -> None:
    columns = sided_signals(face)
    for name in ("brow_inner", "brow_outer", "lid_gap", "lips_apart", "lip_corner_aside"):
        assert columns[f"{name}_right"][0] > -1e-6, name
        assert columns[f"{name}_left"][0] > -1e-6, name


def test_a_mirrored_face_has_the_signals_of_the_other_side(face: np.ndarray) -> None:
    columns = sided_signals(face)
    mirrored = sided_signals(face[:, list(MIRROR)] * (-1, 1))
    for name in SIGNALS:
        assert np.allclose(mirrored[f"{name}_right"], columns[f"{name}_left"]), name
        assert np.allclose(mirrored[f"{name}_left"], columns[f"{name}_right"]), name
