"""People drawn for pretraining are reproducible and in no cohort."""

from pathlib import Path
from typing import Final

import numpy as np
import pytest

from vitau.schema import Split
from vitau.training.pretraining.draw_worker import DrawnPeople, draw_chunk, population
from vitau.training.pretraining.drawn_faces import drawn_crops

FEW: Final = DrawnPeople(num_people=26, frames_per_person=2, size=32)

DRAWN: Final = DrawnPeople(num_people=8, frames_per_person=1, size=64)
GRAY: Final = [
    [
        [146.9, 142.9, 98.8, 45.8, 49.9, 101.5, 120.4, 116.2],
        [146.9, 121.2, 50.7, 62.4, 69.3, 60.3, 114.2, 116.0],
        [146.9, 93.0, 123.2, 133.0, 134.1, 124.5, 92.1, 115.9],
        [146.7, 97.4, 117.4, 112.9, 114.5, 122.3, 96.3, 115.7],
        [146.4, 115.8, 125.5, 127.1, 131.2, 132.3, 110.9, 115.6],
        [146.3, 134.4, 113.2, 116.6, 118.4, 120.3, 117.6, 115.4],
        [146.0, 141.9, 119.0, 111.9, 112.5, 117.3, 119.5, 115.2],
        [145.9, 141.7, 119.0, 89.4, 89.1, 110.3, 119.3, 115.2],
    ],
    [
        [254.3, 253.0, 254.4, 239.1, 229.8, 217.6, 250.4, 254.7],
        [250.5, 244.9, 213.9, 163.3, 158.3, 183.6, 244.1, 252.2],
        [247.6, 243.1, 173.9, 164.8, 161.7, 164.7, 235.8, 240.3],
        [244.9, 235.9, 152.0, 140.9, 139.4, 144.8, 206.9, 222.8],
        [237.4, 221.3, 155.3, 158.3, 154.8, 148.3, 196.8, 212.3],
        [226.5, 223.9, 169.8, 140.5, 142.5, 161.6, 193.8, 194.8],
        [215.4, 211.8, 163.0, 132.2, 127.2, 164.7, 180.6, 172.9],
        [205.0, 195.9, 144.7, 132.6, 130.0, 156.5, 187.4, 185.7],
    ],
]
"""Mean gray level of each 8×8 block of the first two people's images."""
COLORS: Final = [
    [130.4, 116.0, 98.1],
    [200.5, 196.9, 185.1],
    [142.8, 129.2, 118.1],
    [84.2, 79.1, 69.6],
    [108.2, 106.2, 92.1],
    [132.6, 107.3, 93.8],
    [111.2, 86.9, 75.6],
    [130.6, 116.7, 102.7],
]
"""Mean color of each person's image."""
POINTS: Final = (8, 30, 36, 45, 48, 54)
LANDMARKS: Final = [
    [[127.9, 227.7], [128.0, 155.9], [80.1, 121.7], [173.0, 120.8], [98.0, 188.8], [157.2, 190.1]],
    [[136.4, 217.9], [124.2, 153.7], [82.7, 120.6], [170.3, 118.4], [104.2, 183.6], [152.4, 197.0]],
]
"""Chin, nose, outer corners of the eyes and corners of the mouth of the first two people, px of a 256 crop."""


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def test_people_have_images_landmarks_and_labels_that_agree(cache: Path) -> None:
    crops = drawn_crops(FEW, cache)
    assert crops.pixels(slice(None)).shape == (52, 32, 32, 3)
    assert crops.pixels(slice(None)).std() > 20
    assert (crops.palsied_N == crops.affected_NA.any(1)).all()
    assert (crops.sided_NA2.any(2) == crops.affected_NA).all()
    assert crops.palsied_N.reshape(26, 2)[:, 0].sum() == 13
    eyes, mouth = crops.landmarks_NL2[:, 36:48].mean(1), crops.landmarks_NL2[:, 48:60].mean(1)
    assert (mouth[:, 1] > eyes[:, 1] + 30).all()
    assert (np.abs(eyes[:, 0] - 128) < 30).all()


def test_no_person_is_in_two_splits(cache: Path) -> None:
    crops = drawn_crops(FEW, cache)
    train, val = set(crops.of(Split.TRAIN).subject_N), set(crops.of(Split.VAL).subject_N)
    assert not train & val
    assert (len(train), len(val)) == (24, 2)


def test_they_are_drawn_once_and_the_same_by_two_processes(cache: Path, tmp_path: Path) -> None:
    first = drawn_crops(FEW, cache)
    told: list[int] = []
    drawn_crops(FEW, cache, progress=lambda done, _all: told.append(done))
    assert not told
    again = drawn_crops(FEW, tmp_path, workers=2, progress=lambda done, _all: told.append(done))
    assert told == [26]
    assert np.array_equal(first.pixels(slice(None)), again.pixels(slice(None)))


def test_their_population_is_beyond_every_seed_of_a_cohort() -> None:
    assert population("pretraining") > 2**64
    assert population("pretraining") != population("evaluation")


def test_the_drawings_are_those_of_the_version() -> None:
    """The tolerances are for rounding on other processors: a pixel moves its block's mean by 1/64 of its change."""
    bump = (
        "the drawing code draws other images: replace DRAWING_VERSION in vitau/training/pretraining/drawn_faces.py by a new "
        "text, so that caches and trained models of the old drawings are not taken for new ones, and update these numbers"
    )
    drawn = draw_chunk(DRAWN, range(DRAWN.num_people))
    gray = drawn["pixels"][:2].mean(3).reshape(2, 8, 8, 8, 8).mean((2, 4))
    assert gray == pytest.approx(np.array(GRAY), abs=0.2), bump
    assert drawn["pixels"].mean((1, 2)) == pytest.approx(np.array(COLORS), abs=0.2), bump
    assert drawn["landmarks"][:2, POINTS] == pytest.approx(np.array(LANDMARKS), abs=0.06), bump
    assert drawn["palsied"].tolist() == [False, True, False, True, True, False, False, True], bump
    assert drawn["sided"].sum((1, 2)).tolist() == [0, 4, 0, 5, 3, 0, 0, 6], bump
