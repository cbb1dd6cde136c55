"""The numbers of the paper's Tables 1 to 4, in percent, each with what it is: they must not be read without it.

Gao, Cai, Zhao, Duan, *ViTAU: Facial paralysis recognition and analysis based on vision transformer and facial action units*,
Chinese Journal of Engineering 47(2), 2025. Methods and ablations have the names of :mod:`vitau.baselines`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from vitau.schema import AU, PAPER_AUS

_FRAMES: Final = "accuracy by image; the people of the test images were seen in training"
_OTHERS: Final = "quoted from the method's article, with its data and its division of people"
_PHCNN: Final = "taken from the comparison in PHCNN's article, with its data and its division of people"
_ON_YFP: Final = (
    "accuracy by image on 5 000 images of YFP, as the paper says; the people of the test images were seen in training"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Published:
    """A number of the paper.

    Attributes:
        value: percent; a mean over the paper's 7 regions for regions.
        meaning: what the number is.
        by_region: percent, empty where the paper has no columns of regions.
    """

    value: float
    meaning: str
    by_region: Mapping[AU, float] = field(default_factory=dict)


def _by_region(value: float, meaning: str, *columns: float) -> Published:
    return Published(value=value, meaning=meaning, by_region=MappingProxyType(dict(zip(PAPER_AUS, columns, strict=True))))


RECOGNITION: Final[Mapping[str, Published]] = MappingProxyType(
    {
        "lstm": Published(value=79.29, meaning=_PHCNN),
        "senet": Published(value=86.98, meaning=_PHCNN),
        "dhn": Published(value=91.2, meaning="of a detector of local palsied regions, not of faces"),
        "phcnn": Published(value=87.91, meaning=_PHCNN),
        "phcnn-lstm": Published(value=94.81, meaning=_PHCNN),
        "fnpa-rcelm-ccnn": Published(value=85.5, meaning=_OTHERS),
        "improved-ssd": Published(value=87.9, meaning="average precision over three grades, not an accuracy"),
        "mobilenet-mesh": Published(value=98.93, meaning="accuracy with the people of Stroke-face and TUFTS added"),
        "fka-gan": Published(value=98.2, meaning=_OTHERS),
        "autofpr": Published(value=97.3, meaning="accuracy with the healthy people of 300VW instead of CK+"),
        "vgg16": Published(value=87.64, meaning="accuracy on 2 000 images"),
        "vitau": Published(value=99.4, meaning=_FRAMES),
    }
)
"""Table 1, by method: it mixes tasks, measures and data."""
REGIONS: Final[Mapping[str, Published]] = MappingProxyType(
    {
        "drml": _by_region(
            58.99, f"{_ON_YFP}; the paper cites another article", 47.22, 38.12, 65.50, 84.55, 88.50, 51.38, 37.63
        ),
        "jaa-net": _by_region(
            63.69,
            "not of palsies: digit for digit the F1 of expressions on DISFA in JAA-Net's article",
            *(60.7, 67.1, 41.1, 45.1, 73.5, 90.9, 67.4),
        ),
        "au-rcnn": _by_region(
            54.07,
            "probably not of palsies: it looks like an F1 of expressions",
            25.90,
            59.80,
            55.30,
            39.80,
            67.70,
            77.40,
            52.60,
        ),
        "me-graphau": _by_region(69.70, _ON_YFP, 67.54, 66.84, 95.84, 59.13, 82.93, 54.61, 61.04),
        "aunce": _by_region(69.48, _ON_YFP, 65.83, 65.54, 29.08, 83.08, 98.34, 67.07, 77.45),
        "vitau": _by_region(81.36, _ON_YFP, 76.08, 75.33, 76.18, 86.51, 98.27, 78.72, 78.47),
    }
)
"""Table 2, by method."""
LOSSES: Final[Mapping[str, Published]] = MappingProxyType(
    {
        "cross_entropy": _by_region(68.07, _ON_YFP, 71.63, 72.65, 57.80, 65.31, 86.31, 76.53, 46.28),
        "kl": _by_region(76.21, _ON_YFP, 66.46, 66.45, 71.25, 82.09, 99.35, 68.50, 79.39),
        "bce_with_logits": _by_region(65.07, _ON_YFP, 36.87, 61.75, 61.31, 67.96, 97.50, 69.33, 60.75),
        "mse": REGIONS["vitau"],
    }
)
"""Table 3, by loss."""
FEATURES: Final[Mapping[str, Published]] = MappingProxyType(
    {
        "early": Published(value=80.41, meaning=_ON_YFP),
        "middle": Published(value=79.59, meaning=_ON_YFP),
        "late": Published(value=79.59, meaning=_ON_YFP),
        "all": Published(value=81.36, meaning=_ON_YFP),
    }
)
"""Table 4, by the part of the generator that is read."""
