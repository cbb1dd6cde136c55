import os
from pathlib import Path

import numpy as np
import pytest

from vitau.measures.asymmetry import movement_asymmetry
from vitau.measures.geometry import measure_points
from vitau.measures.landmarks.backend import FLATTENED, Points
from vitau.measures.landmarks.choice import open_backend
from vitau.measures.landmarks.flattening import DrawnFrame, kept_asymmetry
from vitau.measures.landmarks.refinement.network import REGIONS, PointNet
from vitau.measures.landmarks.refinement.refined import RefinedBackend, refine, steady_corners
from vitau.measures.weakness.model import weakness_model
from vitau.measures.weakness.signs import measure_signs
from vitau.media.clips import sample_frames
from vitau.media.faces import align, detect
from vitau.media.synthetic.drawing import draw_frame, draw_landmarks
from vitau.media.synthetic.people import TASKS, Person, draw_person
from vitau.media.tracking.tracker import track_faces

SEED = 903
NUM_PEOPLE = 14


@pytest.fixture(scope="module")
def people() -> list[tuple[Person, list[DrawnFrame]]]:
    """Draw people of a seed on which nothing is trained: one frame per task, at its full effort."""
    drawn = []
    for index in range(NUM_PEOPLE):
        person, frames = draw_person(SEED, index), []
        for task in TASKS:
            drawing = draw_frame(person, task, 1.0, np.random.default_rng([SEED, index, TASKS.index(task)]))
            found = detect(drawing.image, 320)
            if found:
                face = align(drawing.image, found[0])
                frames.append(DrawnFrame(image=drawing.image, face=face, truth=drawing.landmarks))
        drawn.append((person, frames))
    return drawn


@pytest.fixture(scope="module")
def refined(people: list[tuple[Person, list[DrawnFrame]]]) -> list[np.ndarray]:
    backend = RefinedBackend()
    return [np.stack([_known(backend.points(frame.image, frame.face)) for frame in frames]) for _, frames in people]


def _known(points: Points | None) -> Points:
    assert points is not None
    return points


def differences(points: np.ndarray, measure: str) -> np.ndarray:
    columns = measure_points(points)
    return columns[f"{measure}_right"] - columns[f"{measure}_left"]


def test_refined_points_keep_the_asymmetry_that_dlib_flattens(
    people: list[tuple[Person, list[DrawnFrame]]], refined: list[np.ndarray]
) -> None:
    truth = np.concatenate([[frame.truth for frame in frames] for _, frames in people])
    flat = np.concatenate([[frame.face.landmarks for frame in frames] for _, frames in people])
    points = np.concatenate(refined)
    for measure in FLATTENED:
        kept = kept_asymmetry(differences(points, measure), differences(truth, measure))
        assert 0.8 <= kept.slope <= 1.25, measure
        assert kept.correlation >= 0.85, measure
        if measure in {"brow_height", "lid_gap"}:
            assert kept_asymmetry(differences(flat, measure), differences(truth, measure)).slope < 0.5, measure


def test_the_score_of_movement_and_the_side_are_right_on_drawn_people(
    people: list[tuple[Person, list[DrawnFrame]]], refined: list[np.ndarray]
) -> None:
    scores = {palsied: [] for palsied in (True, False)}
    for (person, _), points in zip(people, refined, strict=True):
        columns = measure_points(points)
        score, signs = movement_asymmetry(columns), measure_signs(columns)
        assert score is not None
        assert signs is not None
        scores[person.palsied].append(score)
        if person.palsied:
            assert weakness_model().judge(signs).side is person.side
    pairs = [(palsied > healthy) for palsied in scores[True] for healthy in scores[False]]
    assert np.mean(pairs) >= 0.85


def test_a_point_far_from_dlibs_stays_where_dlib_has_it(people: list[tuple[Person, list[DrawnFrame]]]) -> None:
    """An untrained network finds every point near the middle of its patch: too far for the ends of the brow."""
    frame = people[0][1][0]
    untrained = {name: PointNet(len(region.points)).eval() for name, region in REGIONS.items()}
    moved = np.linalg.norm(refine(frame.image, frame.face.landmarks, untrained) - frame.face.landmarks, axis=1)
    eyes = frame.face.landmarks[42:48].mean(axis=0) - frame.face.landmarks[36:42].mean(axis=0)
    assert moved[[17, 26]].max() == 0
    assert moved[36:48].max() > 0
    assert moved.max() <= 0.36 * np.linalg.norm(eyes)


def test_an_outer_lip_corner_that_scatters_sideways_follows_the_inner_one() -> None:
    points = draw_landmarks(draw_person(SEED, 0), "rest", 0.0).astype(np.float64)
    scattered = points.copy()
    scattered[48] += 0.1 * (points[42:48].mean(axis=0) - points[36:42].mean(axis=0))
    steady_corners(points)
    steady_corners(scattered)
    change = {name: values[1] - values[0] for name, values in measure_points(np.stack([points, scattered])).items()}
    assert change["lip_corner_lateral_right"] == pytest.approx(-0.065, abs=1e-6)
    assert change["lip_corner_lateral_left"] == pytest.approx(-0.035, abs=1e-6), "the difference keeps 30 % of the scatter"
    assert change["lip_corner_height_right"] == pytest.approx(0, abs=1e-6)


def test_only_the_localized_points_change(people: list[tuple[Person, list[DrawnFrame]]], refined: list[np.ndarray]) -> None:
    frames, points = people[0][1], refined[0]
    assert points.dtype == np.float32
    same = [*range(17), *range(27, 31)]
    assert np.array_equal(points[:, same], [frame.face.landmarks[same] for frame in frames])
    moved = [*range(17, 27), *range(36, 48), 48, 54]
    assert (np.abs(points[:, moved] - [frame.face.landmarks[moved] for frame in frames]).max(axis=2) > 0).all()


def test_the_refinement_is_the_default_and_states_what_it_keeps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VITAU_SHAPE_PREDICTOR", raising=False)
    backend, plain = open_backend(), open_backend("dlib")
    assert backend.name == "refined"
    assert backend.flattening is not None
    assert plain.flattening is not None
    assert plain.flattening.kept["lid_gap"].slope < 0.5 < backend.flattening.kept["lid_gap"].slope
    assert "lid gap" in backend.flattening.sentence()


@pytest.mark.skipif("VITAU_TEST_RENDERS" not in os.environ, reason="VITAU_TEST_RENDERS names no folder of rendered people")
@pytest.mark.timeout(900)
def test_rendered_people_are_measured_as_they_are() -> None:
    """Faces of another renderer, of which nothing was learned: slopes, correlations, score and side."""
    folder = Path(os.environ["VITAU_TEST_RENDERS"])
    truth, backend = np.load(folder / "landmarks68_gt.npz"), RefinedBackend()
    measured = {}
    for name in truth:
        points = []
        for frame, _, face in track_faces(sample_frames(folder / "clips" / f"{name}.mp4", 60)):
            assert face is not None
            points.append(_known(backend.points(frame.image, face)))
        measured[name] = np.stack(points)
    for measure in FLATTENED:
        found, true = (np.concatenate([differences(table[name], measure) for name in truth]) for table in (measured, truth))
        kept = kept_asymmetry(found, true)
        print(measure, kept)
        assert 0.8 <= kept.slope <= 1.25, measure
        assert kept.correlation >= 0.85, measure
