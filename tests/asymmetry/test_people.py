from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vitau.asymmetry import people
from vitau.asymmetry.features import measure_features
from vitau.asymmetry.people import people_of, with_movement
from vitau.data.dataset import Crops


def test_every_frame_carries_the_features_of_its_person(palsied_crops: Crops) -> None:
    several = replace(palsied_crops, subject_N=np.array(["p1"] * 5 + ["p2"] * 2))
    found = with_movement(several).movement_NF
    assert found is not None
    own = several.where(np.arange(7) < 5)
    assert np.allclose(found[:5], measure_features(own.pixels(slice(None)), own.landmarks_NL2))
    assert np.isnan(found[5:]).all(), "two frames show no movement"


def test_features_are_read_from_their_folder(palsied_crops: Crops, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = with_movement(palsied_crops, tmp_path / "movement")
    (file,) = (tmp_path / "movement").iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    monkeypatch.setattr(people, "measure_features", None)
    again = with_movement(palsied_crops, tmp_path / "movement")
    assert np.array_equal(first.movement_NF, again.movement_NF)
    assert np.array_equal(people_of(again).feature_PF[0], first.movement_NF[0])
