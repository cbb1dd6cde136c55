"""The fit of a fusion on people whose movement or whose network is known to be right."""

import numpy as np
import pytest

from vitau.asymmetry.features import FEATURES
from vitau.asymmetry.weights import load_weights
from vitau.data.dataset import Crops
from vitau.errors import TrainingError
from vitau.evaluation.decision import sigmoid
from vitau.schema import AUS
from vitau.training.fusion import LARGEST, MOVEMENT, NETWORK, fit_fusion, fit_movement
from vitau.training.recipes import find_recipe, pretrained_recipe

NUM_PEOPLE, FRAMES = 40, 5


@pytest.fixture
def crops() -> Crops:
    """40 people of 5 frames, half palsied on either side; all features of a palsied person have the sign of the side."""
    rng = np.random.default_rng(5)
    palsied = np.arange(NUM_PEOPLE) % 2 == 0
    side = np.where(palsied, rng.choice([-1, 1], NUM_PEOPLE), 0)
    affected = (rng.random((NUM_PEOPLE, len(AUS))) < 0.5) & palsied[:, None]
    features = (rng.normal(0, 0.5, (NUM_PEOPLE, len(FEATURES))) + side[:, None]) * load_weights().scale_F
    person = np.repeat(np.arange(NUM_PEOPLE), FRAMES)
    sided = np.stack([side > 0, side < 0], axis=1)
    return Crops(
        pixels_MSS3=np.zeros((len(person), 8, 8, 3), np.uint8),
        row_N=np.arange(len(person)),
        landmarks_NL2=np.zeros((len(person), 68, 2), np.float32),
        palsied_N=palsied[person],
        affected_NA=affected[person],
        known_NA=np.ones((len(person), len(AUS)), bool),
        sided_NA2=(affected[..., None] & sided[:, None])[person],
        subject_N=np.array([f"p{number:02}" for number in person]),
        split_N=np.full(len(person), "val"),
        movement_NF=features[person],
    )


def test_a_network_that_is_right_gets_more_weight_than_one_that_guesses(crops: Crops) -> None:
    rng, movement = np.random.default_rng(6), fit_movement(crops)
    noise = rng.normal(0, 1, NUM_PEOPLE).repeat(FRAMES)
    right, guess = sigmoid(np.where(crops.palsied_N, 1, -1) + noise / 2), sigmoid(noise)
    found, other = fit_fusion("palsy", movement, crops, right), fit_fusion("palsy", movement, crops, guess)
    assert found.task.network > 0.1 + other.task.network
    assert found.side is None


def test_movement_that_is_wrong_loses_weight(crops: Crops) -> None:
    movement, network = fit_movement(crops), np.full(len(crops), 0.5)
    assert fit_fusion("palsy", movement, crops.where(np.ones(len(crops), bool)), network).task.movement >= 0.9 * MOVEMENT
    others = np.random.default_rng(0).permutation(NUM_PEOPLE)
    shuffled = crops.movement_NF[np.repeat(others, FRAMES) * FRAMES]  # type: ignore[index]
    wrong = Crops(**{name: getattr(crops, name) for name in crops.__slots__} | {"movement_NF": shuffled})
    assert fit_fusion("palsy", movement, wrong, network).task.movement < 0.7 * MOVEMENT


def test_a_network_that_is_unsure_moves_people_little_and_one_that_is_always_certain_no_more_than_a_limit(crops: Crops) -> None:
    movement, sign = fit_movement(crops), np.random.default_rng(7).choice([-1.0, 1.0], NUM_PEOPLE).repeat(FRAMES)
    unsure, large, larger = (fit_fusion("palsy", movement, crops, sigmoid(size * sign)).task for size in (0.1, 5.0, 10.0))
    assert unsure.network == pytest.approx(NETWORK, rel=0.1)
    assert large.network * 5.0 == pytest.approx(larger.network * 10.0, rel=1e-3)
    assert large.network * 5.0 < NETWORK * LARGEST


def test_regions_and_their_sides_are_fused_too(crops: Crops) -> None:
    palsied = crops.where(crops.palsied_N)
    network = np.random.default_rng(8).normal(0, 0.1, (len(palsied), len(AUS), 2))
    fusion = fit_fusion("regions", fit_movement(crops), palsied, network)
    assert fusion.side is not None
    fused = fusion(network, palsied.movement_NF)
    assert fused.shape == network.shape
    right = palsied.sided_NA2[..., 0].any(1)
    known = palsied.affected_NA.any(1)
    assert ((fused[..., 0] - fused[..., 1]).mean(1) > 0)[known].tolist() == right[known].tolist()
    assert fit_fusion("regions", fit_movement(crops), palsied, network[..., 0]).side is None


def test_people_without_movement_teach_the_movement_nothing(crops: Crops) -> None:
    assert crops.movement_NF is not None
    unknown = Crops(
        **{name: getattr(crops, name) for name in crops.__slots__} | {"movement_NF": np.full_like(crops.movement_NF, np.nan)}
    )
    assert np.array_equal(fit_movement(unknown).palsy.weight_F, load_weights().palsy.weight_F)
    fusion = fit_fusion("palsy", load_weights(), unknown, np.full(len(crops), 0.7))
    assert np.isfinite(fusion(np.full(len(crops), 0.7), unknown.movement_NF)).all()


def test_a_recipe_with_movement_has_a_name_of_its_own_and_the_same_pretraining() -> None:
    recipe = find_recipe("tiny-sided+movement+camera")
    assert (recipe.name, recipe.movement) == ("tiny-sided+movement+camera", True)
    assert recipe.train.augmentation is not None
    assert recipe.train.augmentation.camera is not None
    assert pretrained_recipe(recipe.name) == "tiny-sided"
    assert find_recipe("tiny-sided").movement is False
    with pytest.raises(TrainingError, match=r"^recipe paper-palsy is the paper's, which has no movement"):
        find_recipe("paper-palsy+movement")
