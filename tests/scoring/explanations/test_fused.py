"""The explanation of a fused score, of a drawn person with a palsy of one side: where it points, and what deletion finds."""

import numpy as np
import pytest
import torch

from tests.asymmetry.conftest import crops_of
from vitau.asymmetry.explaining.places import squares
from vitau.asymmetry.fusion import Blend, Fusion
from vitau.asymmetry.people import with_movement
from vitau.asymmetry.weights import load_weights
from vitau.media.synthetic.people import draw_person
from vitau.models.inputs import to_input
from vitau.models.vit import ViTConfig, build_vit
from vitau.schema import AUS, Side
from vitau.scoring.explanations.fused import LEFT, RIGHT, fused_maps, movement_places
from vitau.scoring.explanations.fused_evaluation import evaluate_fused
from vitau.scoring.explanations.mirror import mirror_occlusion

CONFIG = ViTConfig(input_size=32, patch_size=16, width=16, depth=1, heads=2)
BOTH = Fusion(model=load_weights(), task=Blend(network=0.2, movement=1.0))
MOVEMENT = Fusion(model=load_weights(), task=Blend(network=0.0, movement=1.0))
NETWORK = Fusion(model=load_weights(), task=Blend(network=2.0, movement=1.0))


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(1)
    return build_vit(CONFIG).eval()


@pytest.fixture(scope="module")
def person():
    """Seven frames of a person whose left side is palsied."""
    drawn = (draw_person(71, index, palsied=True) for index in range(1000))
    chosen = next(own for own in drawn if len(own.affected) == len(AUS) and own.severity > 0.8 and own.side is Side.LEFT)
    return with_movement(crops_of([chosen]))


def crop_of(person, rows=slice(0, 2)):
    return to_input(torch.from_numpy(person.pixels(rows)), CONFIG.input_size)


def test_movement_points_at_the_weaker_side_where_its_places_are(model, person):
    side, added = movement_places(MOVEMENT, person.movement_NF[0])
    assert side == LEFT
    assert sum(added.values()) + load_weights().palsy.bias == pytest.approx(
        float(load_weights().log_odds(person.movement_NF[:1]).palsy_P[0])
    )
    map_NHW = fused_maps(model, MOVEMENT, crop_of(person), person.landmarks_NL2[:2], person.movement_NF[:2]).numpy()
    assert map_NHW[:, :, :7].max() < 0.3 * map_NHW[:, :, 8:].max(), "the person's left is on the right of the picture"
    mirrored = -person.movement_NF[:2]
    turned_NHW = fused_maps(model, MOVEMENT, crop_of(person), person.landmarks_NL2[:2], mirrored).numpy()
    assert turned_NHW[:, :, 9:].max() < 0.3 * turned_NHW[:, :, :8].max()


def test_without_movement_it_is_mirror_occlusion_in_the_log_odds_of_the_score(model, person):
    unknown = np.full_like(person.movement_NF[:2], np.nan)
    assert movement_places(NETWORK, unknown[0]) == (RIGHT, {})
    found = fused_maps(model, NETWORK, crop_of(person), person.landmarks_NL2[:2], unknown)
    torch.testing.assert_close(found, 2 * mirror_occlusion(model, crop_of(person)))


def test_the_squares_of_both_sides_are_mirror_images_of_each_other(person):
    landmarks = person.landmarks_NL2[0]
    right, left = squares(landmarks, RIGHT), squares(landmarks, LEFT)
    middle = (landmarks[36:42].mean(0) + landmarks[42:48].mean(0)) / 2
    for place, ((x, _), half) in right.items():
        assert x < middle[0] < left[place][0][0]
        assert half == left[place][1] > 0


def test_evaluation_measures_movement_again_where_pixels_are_deleted(model, person):
    (own,) = evaluate_fused(model, BOTH, person).values()
    assert (own.pointing.value, own.affected_side.value, own.empty.value) == (1.0, 1.0, 0.0)
    assert own.deletion.value > 0.2
    assert own.insertion.value is None
    assert evaluate_fused(model, BOTH, person.where(~person.palsied_N)) == {}
