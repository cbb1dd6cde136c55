import numpy as np
import pytest

from vitau.asymmetry.features import MOST_FRAMES, People, measure_features, measure_person, measured_frames
from vitau.asymmetry.fusion import Blend, Fusion
from vitau.asymmetry.model import AsymmetryModel, fit_model
from vitau.data.dataset import Crops
from vitau.evaluation.decision import log_odds, sigmoid


@pytest.fixture
def model(made_up_people: People) -> AsymmetryModel:
    return fit_model(made_up_people)


@pytest.fixture
def fusion(model: AsymmetryModel) -> Fusion:
    return Fusion(model=model, task=Blend(network=0.5, movement=1.0), side=Blend(network=2.0, movement=1.0))


def test_the_log_odds_of_both_are_added(fusion: Fusion, made_up_people: People) -> None:
    features = made_up_people.feature_PF
    network = np.linspace(0.1, 0.9, len(features))
    expected = 0.5 * log_odds(network) + log_odds(fusion.model.answer(features).palsy_P)
    assert np.allclose(log_odds(fusion(network, features)), expected, atol=1e-3)


def test_without_movement_the_network_answers_alone(fusion: Fusion, made_up_people: People) -> None:
    network = np.linspace(0.1, 0.9, len(made_up_people))
    unknown = np.full_like(made_up_people.feature_PF, np.nan)
    alone = sigmoid(0.5 * log_odds(network))
    assert np.allclose(fusion(network, None), alone, atol=1e-6)
    assert np.allclose(fusion(network, unknown), alone, atol=1e-6)
    mixed = np.where(np.arange(len(unknown))[:, None] < 3, unknown, made_up_people.feature_PF)
    assert np.allclose(fusion(network, mixed)[:3], alone[:3], atol=1e-6)
    assert not np.allclose(fusion(network, mixed)[3:], alone[3:], atol=1e-2)


def test_the_larger_side_of_a_region_has_its_score_and_lies_where_movement_says(fusion: Fusion, made_up_people: People) -> None:
    palsied = made_up_people.palsied_P
    features, right = made_up_people.feature_PF[palsied], made_up_people.side_P[palsied] > 0
    network = np.zeros((len(features), 8, 2))
    fused = fusion(network, features)
    assert fused.shape == network.shape
    assert (np.abs(fused.max(-1)) < 1).all()
    assert np.allclose(fused.max(-1), fusion(network[..., 0], features), atol=1e-6)
    assert ((fused[..., 0] > fused[..., 1]) == right[:, None]).all()


def test_a_mirrored_face_has_the_same_regions_on_the_other_side(fusion: Fusion, made_up_people: People) -> None:
    network = np.random.default_rng(1).uniform(-0.5, 0.5, (len(made_up_people), 8, 2))
    there, back = fusion(network, made_up_people.feature_PF), fusion(network[..., ::-1], -made_up_people.feature_PF)
    assert np.allclose(there, back[..., ::-1], atol=1e-6)


def test_it_is_the_same_after_json(fusion: Fusion, made_up_people: People) -> None:
    again = Fusion.from_json(fusion.to_json())
    network = np.linspace(0.1, 0.9, len(made_up_people))
    assert np.allclose(again(network, made_up_people.feature_PF), fusion(network, made_up_people.feature_PF), atol=1e-3)
    assert again.side == fusion.side


def test_a_long_recording_is_measured_in_evenly_spaced_frames() -> None:
    assert measured_frames(7).tolist() == list(range(7))
    chosen = measured_frames(1000)
    assert (len(chosen), chosen[0], chosen[-1]) == (MOST_FRAMES, 0, 999)
    assert len(set(np.diff(chosen).tolist())) == 2


def test_batches_of_one_person_have_the_features_of_all_frames(palsied_crops: Crops) -> None:
    pixels, points = palsied_crops.pixels(slice(None)), palsied_crops.landmarks_NL2
    found = measure_person([pixels[:3], pixels[3:]], points)
    assert found is not None
    assert np.allclose(found, measure_features(pixels, points))
    assert measure_person([pixels[:3]], points[:3]) is None
