"""Values that describe a synthetic face: looks, expression, light, pose, camera."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.floating[Any]]
Image: TypeAlias = NDArray[np.uint8]


class Style(StrEnum):
    """The style of a drawing: the same people with the same geometry, drawn otherwise.

    ``painted`` is the default, and the only style that models are trained on. ``filmed`` has other skin, light, lens and
    background. ``sketched`` is a pencil drawing on paper.
    """

    PAINTED = "painted"
    FILMED = "filmed"
    SKETCHED = "sketched"


OUT_OF_STYLE: Final = (Style.FILMED, Style.SKETCHED)
"""The styles that are kept from every training."""


def parse_style(name: str) -> Style:
    """Return a style by its name.

    Raises:
        ValueError: there is no such style.
    """
    if name not in set(Style):
        raise ValueError(f"there is no style {name!r}; give one of {', '.join(Style)}")
    return Style(name)


SIGNS: Final = (-1.0, 1.0)
"""Direction of the person's right and left side in the image; index 0 of every pair is the person's right."""

ASYMMETRY_SD: Final = {
    "brow_in": 0.022,
    "brow_out": 0.028,
    "brow_mid": 0.014,
    "brow_thick": 0.05,
    "eye_open": 0.09,
    "eye_v": 0.012,
    "lower_lid": 0.009,
    "ala": 0.013,
    "nostril": 0.08,
    "nose_u": 0.012,
    "corner_u": 0.02,
    "corner_v": 0.024,
    "lip": 0.08,
    "bow": 0.02,
    "jaw": 0.016,
    "jowl": 0.012,
    "cheek": 0.12,
    "fold": 0.18,
}
"""Standard deviations of the natural asymmetry of every face, palsied or not."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """A person at rest: proportions in face units, colors as RGB in 0–1, amounts in 0–1."""

    skin: Floats
    hair: Floats
    iris: Floats
    lip: Floats
    shirt: Floats
    age: float
    head_half: float
    chin_v: float
    jaw_power: float
    skull_v: float
    eye_u: float
    eye_half: float
    eye_open: float
    eye_tilt: float
    lid_fold: float
    brow_v: float
    brow_arch: float
    brow_half: float
    brow_ink: float
    nose_v: float
    nose_half: float
    nose_height: float
    mouth_v: float
    mouth_half: float
    mouth_curve: float
    upper_lip: float
    lower_lip: float
    cheek: float
    hairline_v: float
    hair_volume: float
    hair_length: float
    stubble: float
    freckles: float
    makeup: float
    neck_half: float
    grain: int
    asymmetry: dict[str, Floats]


@dataclass(frozen=True, kw_only=True, slots=True)
class Expression:
    """The expression of a face in one frame: pairs per side, 0 at rest, 1 at the full effort of a healthy face.

    ``weak`` (8, 2) is the lost share of movement and tone, per action unit (in the order of ``AUS``) and side.
    """

    raise_in: Floats
    raise_out: Floats
    frown: Floats
    close: Floats
    cheek: Floats
    nose: Floats
    corner: Floats
    part: Floats
    pucker: float
    jaw: float
    gaze: Floats
    weak: Floats


@dataclass(frozen=True, kw_only=True, slots=True)
class Light:
    """The light: its direction (unit vector, z towards the camera), hardness and color."""

    direction: Floats
    hardness: float
    tint: Floats


@dataclass(frozen=True, kw_only=True, slots=True)
class Pose:
    """Turn of the head, degrees: yaw to the person's left, pitch upwards, roll clockwise in the picture."""

    yaw_deg: float = 0.0
    pitch_deg: float = 0.0
    roll_deg: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Camera:
    """The camera of a clip: px per face unit, the position of the face in a 640 × 480 frame (px), and the background's seed."""

    zoom: float
    position: tuple[float, float]
    noise: float
    blur_px: float
    background: int
