from dataclasses import replace

import numpy as np

from vitau.asymmetry.features import (
    FEATURES,
    KINDS,
    features_of_points,
    kind_features,
    measure_features,
    region_features,
)
from vitau.asymmetry.people import FeatureCache, people_of
from vitau.data.dataset import Crops
from vitau.media.synthetic.drawing import draw_landmarks
from vitau.media.synthetic.people import draw_person
from vitau.schema import AUS, MIRROR


def mirrored(crops: Crops) -> Crops:
    points = crops.landmarks_NL2[:, list(MIRROR)] * np.float32((-1, 1)) + np.float32((255, 0))
    return replace(crops, pixels_MSS3=np.ascontiguousarray(crops.pixels_MSS3[:, :, ::-1]), landmarks_NL2=points)


def test_all_features_change_their_sign_in_the_mirror_image(palsied_crops: Crops) -> None:
    features, other = (
        measure_features(crops.pixels(slice(None)), crops.landmarks_NL2) for crops in (palsied_crops, mirrored(palsied_crops))
    )
    assert np.abs(features).max() > 0.5, "a severe palsy is seen"
    assert np.allclose(features, -other, atol=0.03)  # the refinement is odd up to the rounding of a processor's convolutions


def test_a_lip_corner_that_hangs_and_moves_less_on_the_right_has_positive_features() -> None:
    points = np.repeat(draw_landmarks(draw_person(3, 0), "rest", 0.0)[None] * 40 + 128, 8, axis=0)
    points[:, 48, 1] += 4
    points[::2, 54, 1] -= 8
    features = features_of_points(np.zeros((8, 256, 256, 3), np.uint8), points)
    found = dict(zip((feature.name for feature in FEATURES), features.tolist(), strict=True))
    assert found["movement.lip_corner"] > 0.5
    assert found["rest.lip_corner"] > 0.05
    assert found["movement.brow_inner"] == 0
    assert found["texture.cheek"] == 0


def test_fewer_than_four_frames_are_no_evidence(palsied_crops: Crops) -> None:
    few = palsied_crops.where(np.arange(len(palsied_crops)) < 3)
    assert not measure_features(few.pixels(slice(None)), few.landmarks_NL2).any()


def test_every_feature_belongs_to_a_region_and_to_one_kind() -> None:
    of_regions = {number for au in AUS for number in region_features(au)}
    assert of_regions == set(range(len(FEATURES)))
    assert sorted(number for kind in KINDS for number in kind_features([kind])) == list(range(len(FEATURES)))


def test_people_are_measured_once_and_carry_their_labels(palsied_crops: Crops) -> None:
    class Counting(FeatureCache):
        num_asked = 0

        def measure(self, crops: Crops) -> np.ndarray:
            self.num_asked += 1
            return super().measure(crops)

    features = Counting()
    first, again = people_of(palsied_crops, features), people_of(palsied_crops, features)
    assert features.num_asked == 2
    assert len(features) == 1
    assert np.array_equal(first.feature_PF, again.feature_PF)
    assert first.affected_PA.all()
    assert first.side_P.tolist() == [1 if palsied_crops.sided_NA2[0, 0, 0] else -1]
