"""Answers of the model in words: what contributes to a palsy, by place and side."""

from collections.abc import Mapping, Sequence
from typing import Final

from vitau.asymmetry.model import Contribution

_PLACES: Final[Mapping[str, str]] = {
    "brow_inner": "inner brow",
    "brow_outer": "outer brow",
    "lid_gap": "gap between the lids",
    "lower_lid": "lower lid",
    "nasal_wing": "nasal wing",
    "lip_corner": "lip corner",
    "lip_corner_aside": "lip corner sideways",
    "mouth_below_eye": "lip corner below the eye",
    "upper_lip": "upper lip",
    "lower_lip": "lower lip",
    "lips_apart": "gap between the lips",
    "forehead": "forehead",
    "glabella": "skin between the brows",
    "eye": "eye",
    "nasolabial_fold": "nasolabial fold",
    "cheek": "cheek",
}
_MANNERS: Final[Mapping[str, str]] = {
    "movement": "moves less",
    "rest": "lower on average",
    "texture": "skin changes less",
    "gradient": "edges change less",
}
_WIDER: Final = "wider on average"


def sentences(contributions: Sequence[Contribution], most: int = 5) -> list[str]:
    """Return the largest contributions in words, such as ``right lip corner: moves less (+0.41)``; log-odds in brackets.

    Args:
        contributions: as :meth:`vitau.asymmetry.model.AsymmetryModel.explain` returns them.
        most: number of sentences.
    """
    return [f"{_words(contribution)} ({contribution.log_odds:+.2f})" for contribution in contributions[:most]]


def _words(contribution: Contribution) -> str:
    feature = contribution.feature
    gap = feature.kind == "rest" and feature.place == "lid_gap"
    return f"{contribution.side} {_PLACES[feature.place]}: {_WIDER if gap else _MANNERS[feature.kind]}"
