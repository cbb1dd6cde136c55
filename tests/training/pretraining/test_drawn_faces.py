"""People drawn for pretraining are reproducible and in no cohort."""

from pathlib import Path

import numpy as np
import pytest

from vitau.schema import Split
from vitau.training.pretraining.draw_worker import DrawnPeople, population
from vitau.training.pretraining.drawn_faces import drawn_crops

FEW = DrawnPeople(num_people=26, frames_per_person=2, size=32)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def test_people_have_pictures_landmarks_and_labels_that_agree(cache: Path) -> None:
    crops = drawn_crops(FEW, cache)
    assert crops.pixels(slice(None)).shape == (52, 32, 32, 3)
    assert crops.pixels(slice(None)).std() > 20
    assert (crops.palsied_N == crops.affected_NA.any(1)).all()
    assert (crops.sided_NA2.any(2) == crops.affected_NA).all()
    assert crops.palsied_N.reshape(26, 2)[:, 0].sum() == 13
    eyes, mouth = crops.landmarks_NL2[:, 36:48].mean(1), crops.landmarks_NL2[:, 48:60].mean(1)
    assert (mouth[:, 1] > eyes[:, 1] + 30).all()
    assert (np.abs(eyes[:, 0] - 128) < 30).all()


def test_nobody_is_in_two_splits(cache: Path) -> None:
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
