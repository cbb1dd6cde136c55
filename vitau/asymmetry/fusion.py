"""The fusion of a network with the model of asymmetric movement: one weighted sum of the log-odds of both for each frame.

A person's movement is one number per question, which is added to every frame, so that frames are averaged and thresholds are
applied as those of a network alone. Without movement, its log-odds are 0 and the network answers alone.

Axes: N frames, F features, A regions, 2 sides (right, left).
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from vitau.asymmetry.model import AsymmetryModel, LogOdds, model_from_json
from vitau.errors import CheckpointError, quoted
from vitau.evaluation.decision import log_odds, sigmoid
from vitau.measures.geometry import Floats

FUSION: Final = "fusion"
"""Entry of a model's card."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Blend:
    """Weights of the network's score and of the movement's log-odds in the log-odds of one question."""

    network: float
    movement: float

    def __call__(self, network: Floats, movement: Floats) -> Floats:
        """Return the log-odds; both arguments have the same shape."""
        return self.network * np.asarray(network, np.float64) + self.movement * movement


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Fusion:
    """The model of movement and the weights of both parts.

    Attributes:
        model: of movement, fitted to the training people.
        task: of the log-odds of a palsy, or of the score of a region.
        side: of the difference between the scores of both sides of a region; ``None`` for a network without sides.
    """

    model: AsymmetryModel
    task: Blend
    side: Blend | None = None

    def __call__(self, score: NDArray[Any], movement_NF: NDArray[Any] | None) -> NDArray[np.float32]:
        """Return the fused scores of frames, in the form of the network's: (N,) of a palsy, (N, 8) or (N, 8, 2) of regions.

        Args:
            score: the network's; probabilities of a palsy, or scores of regions or of their right and left sides.
            movement_NF: features of each frame's person, or (1, F) of everyone's. ``None``, or NaN in a row, is no movement.
        """
        return self._palsy(score, movement_NF) if score.ndim == 1 else self._regions(score, movement_NF)

    def _palsy(self, palsy_N: NDArray[Any], movement_NF: NDArray[Any] | None) -> NDArray[np.float32]:
        movement_N = self._of(movement_NF, len(palsy_N)).palsy_P
        return sigmoid(self.task(log_odds(palsy_N), movement_N)).astype(np.float32)

    def _regions(self, score: NDArray[Any], movement_NF: NDArray[Any] | None) -> NDArray[np.float32]:
        # the larger score of the two sides is that of the region; by how much it is larger is the evidence of the side
        movement = self._of(movement_NF, len(score))
        if score.ndim == 2:
            return np.tanh(self.task(score, movement.affected_PA) / 2).astype(np.float32)
        assert self.side is not None, "a network with sides has a fusion with sides"
        region_NA = np.tanh(self.task(score.max(-1), movement.affected_PA) / 2)
        right_NA = np.tanh(self.side(score[..., 0] - score[..., 1], movement.right_P[:, None]) / 2)
        fused_NA2 = np.stack([region_NA + np.minimum(right_NA, 0), region_NA - np.maximum(right_NA, 0)], axis=-1)
        return fused_NA2.astype(np.float32)

    def _of(self, movement_NF: NDArray[Any] | None, num_frames: int) -> LogOdds:
        """Return the log-odds of movement of each frame's person; 0 where nothing was measured."""
        num_features, num_regions = len(self.model.scale_F), len(self.model.regions)
        feature_NF = np.full((num_frames, num_features), np.nan) if movement_NF is None else np.asarray(movement_NF, np.float64)
        feature_NF = np.broadcast_to(feature_NF, (num_frames, num_features))
        known_N = np.isfinite(feature_NF).all(axis=1)
        found = self.model.log_odds(feature_NF[known_N])
        right_N, palsy_N, affected_NA = np.zeros(num_frames), np.zeros(num_frames), np.zeros((num_frames, num_regions))
        right_N[known_N], palsy_N[known_N], affected_NA[known_N] = found.right_P, found.palsy_P, found.affected_PA
        return LogOdds(right_P=right_N, palsy_P=palsy_N, affected_PA=affected_NA)

    def to_json(self) -> dict[str, Any]:
        """Return the fusion as JSON values, for the card of a model."""
        side = None if self.side is None else asdict(self.side)
        return {"task": asdict(self.task), "side": side, "movement": self.model.to_json()}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Self:
        """Return a fusion from :meth:`to_json`.

        Raises:
            KeyError, TypeError, ValueError: it is damaged, or was made for other features.
        """
        side = record["side"]
        return cls(
            model=model_from_json(record["movement"]),
            task=Blend(**record["task"]),
            side=None if side is None else Blend(**side),
        )


def fuse(fusion: Fusion | None, score: NDArray[Any], movement_NF: NDArray[Any] | None) -> NDArray[Any]:
    """Return the fused scores of frames; without a fusion, those of the network as they are."""
    return score if fusion is None else fusion(score, movement_NF)


def read_fusion(card: Mapping[str, Any]) -> Fusion | None:
    """Read the fusion of a model from its card; ``None`` if the model was trained without movement.

    Raises:
        CheckpointError: it is damaged, or was made for other features.
    """
    if FUSION not in card:
        return None
    try:
        return Fusion.from_json(card[FUSION])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"the fusion in the card of a model cannot be read ({quoted(error)}): fetch it again") from error
