from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from vitau.baselines.method import Budget, Method
from vitau.baselines.regions.prevalence import Prevalence
from vitau.baselines.regions.repeated_palsy import RepeatedPalsy
from vitau.data.dataset import Crops
from vitau.data.protocols import Task


@dataclass(frozen=True, kw_only=True)
class Brightness:
    """A recognition method that judges by the mean pixel, relative to that of the training people."""

    name: str = "brightness"
    title: str = "Brightness"
    task: Task = "palsy"

    def fit(self, train: Crops, valid: Crops, budget: Budget, *, seed: int) -> "FittedBrightness":  # noqa: ARG002
        assert not train.palsied_N.all(), "recognition needs the controls"
        return FittedBrightness(mean=float(train.pixels(slice(None)).mean()))


@dataclass(frozen=True, kw_only=True)
class FittedBrightness:
    mean: float
    num_parameters: int = 1

    def predict(self, crops: Crops) -> NDArray[np.float32]:
        brightness = crops.pixels(slice(None)).mean((1, 2, 3)) - self.mean
        return np.asarray(1 / (1 + np.exp(-brightness)), np.float32)


def test_all_regions_get_the_score_of_the_face(drawn_people: Crops) -> None:
    method: Method = RepeatedPalsy(recognition=Brightness())
    fitted = method.fit(drawn_people, drawn_people, Budget(epochs=1), seed=0)
    scores = fitted.predict(drawn_people)
    alone = Brightness().fit(drawn_people, drawn_people, Budget(epochs=1), seed=0).predict(drawn_people)
    assert scores.shape == (len(drawn_people), 8)
    assert scores.dtype == np.float32
    assert all(np.array_equal(scores[:, row], alone) for row in range(8))
    assert len(np.unique(alone)) > 1
    assert fitted.num_parameters == 1


def test_a_region_method_cannot_be_repeated() -> None:
    with pytest.raises(ValueError, match="prevalence finds regions: give a method that recognizes a palsy"):
        RepeatedPalsy(recognition=Prevalence())
