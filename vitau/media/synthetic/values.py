"""The values that a drawn face is made of: its looks, its expression, the light, the pose, the camera."""

from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.floating[Any]]
Image: TypeAlias = NDArray[np.uint8]

SIGNS: Final = (-1.0, 1.0)
"""Which way the person's right and left side lie in the picture; index 0 of every pair is the person's right."""

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
"""Standard deviations of what differs between the two halves of every face, palsied or not."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """A person at rest: proportions in face units, colours as RGB in 0–1, amounts in 0–1."""

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
    """What a face does in one frame: pairs per side, 0 at rest, 1 at a full effort of a healthy face.

    ``weak`` is (8, 2): per action unit (in the order of ``AUS``) and side, how much of the movement and the tone is lost.
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
    """Where the light comes from (unit vector, z towards the camera), how hard it is, and its colour."""

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
