"""The contribution of movement to the log-odds of a palsy by a fused model, as JSON values and in words."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from vitau.asymmetry.explaining.words import sentences
from vitau.asymmetry.features import Feature
from vitau.asymmetry.fusion import Fusion
from vitau.asymmetry.model import Contribution
from vitau.measures.geometry import Floats
from vitau.schema import Side

MOST: Final = 6
"""Contributions that are kept: the largest ones."""


def movement_record(fusion: Fusion, feature_F: Floats, scale: float = 1.0) -> dict[str, Any]:
    """Return what movement adds to a person's log-odds of a palsy, with the largest contributions, as JSON values.

    Args:
        fusion: of recognition.
        feature_F: of the person.
        scale: of the calibration that follows.
    """
    weight = fusion.task.movement * scale
    found = fusion.model.explain(feature_F)
    total = float(fusion.model.log_odds(feature_F[None]).palsy_P[0])
    largest = [
        {
            "kind": one.feature.kind,
            "place": one.feature.place,
            "side": str(one.side),
            "log_odds": round(weight * one.log_odds, 3),
        }
        for one in found[:MOST]
    ]
    others = weight * sum(one.log_odds for one in found[MOST:])
    bias = weight * fusion.model.palsy.bias
    return {"log_odds": round(weight * total, 3), "bias": round(bias, 3), "others": round(others, 3), "contributions": largest}


def movement_words(record: Mapping[str, Any]) -> Sequence[str]:
    """Return the contributions of :func:`movement_record` in words, such as ``right lip corner: moves less (+0.41)``."""
    found = [
        Contribution(
            feature=Feature(kind=one["kind"], place=one["place"]), side=Side(one["side"]), log_odds=float(one["log_odds"])
        )
        for one in record["contributions"]
    ]
    return sentences(found, MOST)
