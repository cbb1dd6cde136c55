from dataclasses import replace

import numpy as np
import pytest

from vitau.asymmetry.explaining.pointing import largest_place, pointing_game
from vitau.asymmetry.features import FEATURES, Feature, People
from vitau.asymmetry.model import Contribution, equal_weights
from vitau.asymmetry.table import pointing_line
from vitau.schema import AU, AUS, Side

MODEL = equal_weights(np.ones(len(FEATURES)))


def weak(place: str, num_people: int = 4) -> People:
    """Return people whose right side is weak at one place; AU12 alone is affected."""
    features = np.full((num_people, len(FEATURES)), 0.1)
    for number, feature in enumerate(FEATURES):
        if feature.place == place:
            features[:, number] = 3.0
    return People(
        subject_P=np.array([f"p{number}" for number in range(num_people)]),
        feature_PF=features,
        palsied_P=np.ones(num_people, bool),
        side_P=np.ones(num_people, np.int64),
        affected_PA=np.tile([au is AU.AU12 for au in AUS], (num_people, 1)),
        known_PA=np.ones((num_people, len(AUS)), bool),
    )


def test_a_place_at_the_affected_region_is_a_hit_and_a_place_elsewhere_is_none() -> None:
    hit, miss = pointing_game(MODEL, weak("lip_corner")), pointing_game(MODEL, weak("brow_outer"))
    assert hit is not None
    assert miss is not None
    assert (hit.share, hit.num_people) == (1.0, 4)
    assert miss.share == 0.0
    assert 0 < hit.chance < 0.5


def test_the_wrong_side_is_no_hit() -> None:
    people = weak("lip_corner")
    wrong = pointing_game(MODEL, replace(people, side_P=-people.side_P))
    assert wrong is not None
    assert wrong.share == 0.0


def test_kinds_of_one_place_are_added() -> None:
    def contribution(kind: str, place: str, log_odds: float) -> Contribution:
        return Contribution(feature=Feature(kind=kind, place=place), side=Side.RIGHT, log_odds=log_odds)

    found = [contribution("movement", "upper_lip", 0.5), contribution("texture", "eye", 0.3), contribution("rest", "eye", 0.3)]
    assert largest_place(found) == "eye"


@pytest.mark.parametrize("field", ["palsied_P", "side_P", "affected_PA", "known_PA"])
def test_nobody_to_play_with_gives_no_number(field: str) -> None:
    people = weak("lip_corner")
    nobody = replace(people, **{field: np.zeros_like(getattr(people, field))})
    assert pointing_game(MODEL, nobody) is None
    assert "nobody has one affected side" in pointing_line("weights", None)
