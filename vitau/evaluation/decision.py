"""The decision about a person from the frames: calibrated probabilities, their mean, the threshold, and the abstention band.

Training, evaluation and scoring share these functions, so that people are scored as the model was tested. They need numpy only
and travel with a registered model.

Axes: N frames, S people.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

DEFAULT_THRESHOLD: Final = 0.5
FEWEST_FRAMES: Final = 4
"""Frames of a person below which movement cannot be compared."""
SMALLEST_PROBABILITY: Final = 1e-6
"""Probabilities are clipped to 1e-6 from 0 and 1, so that no single frame decides about a person."""


def log_odds(probability: Array) -> Array:
    """Return the log-odds of probabilities, float64, after clipping them to ``SMALLEST_PROBABILITY`` from 0 and 1."""
    clipped = np.clip(np.asarray(probability, np.float64), SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY)
    value: Array = np.log(clipped) - np.log1p(-clipped)
    return value


def sigmoid(value: Array) -> Array:
    """Return the probabilities of log-odds, float64."""
    probability: Array = 0.5 * (1 + np.tanh(np.asarray(value, np.float64) / 2))
    return probability


@dataclass(frozen=True, kw_only=True, slots=True)
class Calibration:
    """A logistic curve from log-odds to log-odds; ``scale`` is the inverse of a temperature (Guo et al., ICML 2017)."""

    scale: float = 1.0
    bias: float = 0.0

    def apply(self, probability: Array) -> Array:
        """Return calibrated probabilities, float32."""
        return sigmoid(self.scale * log_odds(probability) + self.bias).astype(np.float32)


@dataclass(frozen=True, kw_only=True, slots=True)
class DecisionRule:
    """The rule that recognition's card holds: how scores of frames become a decision about a person.

    Attributes:
        threshold: a person with a score at or above it is judged palsied.
        calibration: ``None`` for an older model, whose scores are used as they are.
        abstention: lowest and highest score at which the decision is uncertain; ``None`` for an older model.
        fewest_frames: of a person; from fewer, the decision is uncertain. A fusion with movement needs ``FEWEST_FRAMES``.
    """

    threshold: float = DEFAULT_THRESHOLD
    calibration: Calibration | None = None
    abstention: tuple[float, float] | None = None
    fewest_frames: int = 1

    @classmethod
    def from_card(cls, card: Mapping[str, Any]) -> Self:
        """Read the rule from a recognition model's card; a card without a threshold gets a half."""
        threshold, calibration, band = card.get("threshold"), card.get("calibration"), card.get("abstention")
        return cls(
            threshold=DEFAULT_THRESHOLD if threshold is None else float(threshold),
            calibration=None if calibration is None else Calibration(**calibration),
            abstention=None if band is None else (float(band["low"]), float(band["high"])),
            fewest_frames=FEWEST_FRAMES if "fusion" in card else 1,
        )

    @property
    def averages_log_odds(self) -> bool:
        """True if a person's score is the mean of log-odds, False if it is the mean of probabilities."""
        return self.calibration is not None

    def calibrate(self, palsy_N: Array) -> Array:
        """Return the calibrated probabilities of frames, (N,)."""
        return palsy_N if self.calibration is None else self.calibration.apply(palsy_N)

    def combine(self, palsy_N: Array) -> float:
        """Return the score of a person from the calibrated probabilities of the frames, (N,)."""
        return mean_probability(palsy_N, averages_log_odds=self.averages_log_odds)

    def is_uncertain(self, score: float, interval: tuple[float, float] | None, num_frames: int) -> bool:
        """Return whether a score is from too few frames, in the abstention band, or has an interval around the threshold."""
        if num_frames < self.fewest_frames:
            return True
        in_band = self.abstention is not None and self.abstention[0] <= score <= self.abstention[1]
        return in_band or (interval is not None and interval[0] < self.threshold <= interval[1])


def mean_probability(palsy_N: Array, *, averages_log_odds: bool) -> float:
    """Return the mean of probabilities, or the probability of the mean log-odds.

    The mean of probabilities is pulled towards a half even if each of them is calibrated; the mean of log-odds is less so
    (Ranjan and Gneiting, *Combining probability forecasts*, 2010; Satopää et al., 2014).
    """
    if averages_log_odds:
        return float(sigmoid(log_odds(palsy_N).mean()))
    return float(np.asarray(palsy_N, np.float64).mean())
