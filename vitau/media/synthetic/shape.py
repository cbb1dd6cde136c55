"""Shape of a synthetic face: curves and exact 68 landmarks from looks and expression.

Face coordinates: the unit is about the distance between the eyes. The origin lies between them, u points to the right of the
image, v down.
"""

from dataclasses import dataclass, field

import numpy as np

from vitau.media.synthetic.values import SIGNS, Expression, Floats, Look
from vitau.schema import AU, AUS, NUM_LANDMARKS


@dataclass(frozen=True, kw_only=True, slots=True)
class Brow:
    """One brow: columns from the nose outward, center line and half thickness."""

    u: Floats
    v: Floats
    half: Floats


@dataclass(frozen=True, kw_only=True, slots=True)
class Eye:
    """One eye: columns from the inner corner outward, edges of the lids, crease, and position of the iris."""

    u: Floats
    upper: Floats
    lower: Floats
    crease: Floats
    open_share: float
    iris: tuple[float, float]
    hood: float
    sag: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Mouth:
    """The lips: columns from the right to the left corner, four edges from top to bottom, column of Cupid's bow."""

    u: Floats
    top: Floats
    inner_top: Floats
    inner_bottom: Floats
    bottom: Floats
    bow: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """The geometry of one frame of a face, and its 68 landmarks (dlib's order, face units)."""

    outline: Floats
    brows: tuple[Brow, Brow]
    eyes: tuple[Eye, Eye]
    mouth: Mouth
    nose_u: float
    ala: Floats
    nostril: Floats
    cheek: Floats
    cheek_v: Floats
    fold_top: Floats
    fold_bottom: Floats
    forehead: Floats
    frown: Floats
    chin: tuple[float, float]
    jowl: Floats
    landmarks: Floats = field(repr=False)


def shape_face(look: Look, act: Expression) -> Shape:
    """Compute the shape of a face with an expression.

    An affected region moves little and droops. AU1 changes the inner brow and the lines above it, AU2 the tail of the brow and
    the lid below it. AU4 changes the middle and the thickness of the brow. AU6 changes the lower lid and the cheek, AU9 the
    ala, the nostril and the upper nasolabial fold. AU12 changes the lip corner, AU25 half of the lips, AU26 the chin and the
    jowl.
    """
    weak = dict(zip(AUS, act.weak, strict=True))
    mouth = _mouth(look, act, weak)
    outline, chin, jowl = _outline(look, act, weak[AU.AU26])
    brows = (_brow(look, act, weak, 0), _brow(look, act, weak, 1))
    eyes = (_eye(look, act, weak, 0), _eye(look, act, weak, 1))
    crooked, w9, w12 = look.asymmetry, weak[AU.AU9], weak[AU.AU12]
    snarl, smile = act.nose * (1 - 0.93 * w9), act.corner * (1 - 0.93 * w12)
    cheek = act.cheek * (1 - 0.93 * weak[AU.AU6])
    ala_u = look.nose_half * (1 + crooked["ala"] + 0.10 * snarl - 0.30 * w9)
    ala = np.stack([ala_u, look.nose_v - 0.03 - 0.075 * snarl + 0.035 * w9], axis=-1)
    depth = 0.16 + 0.55 * look.age**1.3 + crooked["fold"] * 0.5
    shape = Shape(
        outline=outline,
        brows=brows,
        eyes=eyes,
        mouth=mouth,
        nose_u=float(crooked["nose_u"][0] + 0.085 * (w9[0] - w9[1])),
        ala=ala,
        nostril=(1 + crooked["nostril"] + 0.25 * snarl) * (1 - 0.6 * w9),
        cheek=look.cheek * (1 + crooked["cheek"]) * (1 - 0.75 * weak[AU.AU6])
        + 0.9 * look.cheek * np.maximum(cheek, 0.6 * smile),
        cheek_v=0.55 + 0.16 * weak[AU.AU6] - 0.06 * cheek,
        fold_top=np.clip(depth + 0.9 * snarl + 0.4 * smile, 0, 1.4) * (1 - 0.95 * w9),
        fold_bottom=np.clip(depth + 0.3 * snarl + 0.9 * smile, 0, 1.4) * (1 - 0.8 * w12),
        forehead=_forehead(look, act, weak),
        frown=np.clip(0.25 * look.age + act.frown, 0, 1) * (1 - 0.95 * weak[AU.AU4]),
        chin=chin,
        jowl=jowl,
        landmarks=np.empty((NUM_LANDMARKS, 2)),
    )
    shape.landmarks[:] = _landmarks(look, shape)
    return shape


def _forehead(look: Look, act: Expression, weak: dict[AU, Floats]) -> Floats:
    """Compute the depth of the lines of the forehead, (2 sides, inner and outer half)."""
    lines = 0.06 + 0.55 * look.age**1.5
    inner = (lines + 0.85 * act.raise_in * (1 - 0.93 * weak[AU.AU1])) * (1 - 0.97 * weak[AU.AU1])
    outer = (lines + 0.75 * act.raise_out * (1 - 0.93 * weak[AU.AU2])) * (1 - 0.97 * weak[AU.AU2])
    return np.stack([inner, outer], axis=-1)


def _brow(look: Look, act: Expression, weak: dict[AU, Floats], side: int) -> Brow:
    t = np.linspace(0, 1, 33)
    inner, middle, outer = (1 - t) ** 2, 2 * t * (1 - t), t**2
    w1, w2, w4 = (weak[au][side] for au in (AU.AU1, AU.AU2, AU.AU4))
    crooked = {name: pair[side] for name, pair in look.asymmetry.items()}
    up_in = 0.20 * act.raise_in[side] * (1 - 0.93 * w1) - 0.15 * w1 + crooked["brow_in"]
    up_out = 0.17 * act.raise_out[side] * (1 - 0.93 * w2) - 0.19 * w2 + crooked["brow_out"]
    up_mid = 0.11 * (act.raise_in[side] + act.raise_out[side]) * (1 - 0.93 * w4) - 0.20 * w4 + crooked["brow_mid"]
    pull = act.frown[side] * (1 - 0.93 * w4)
    u = look.eye_u * 0.36 + 0.64 * t - 0.05 * pull * (1 - t)
    arch = look.brow_arch * (1 - 0.8 * w4) * np.sin(np.pi * np.clip(t, 0, 1) ** 1.5)
    v = (
        look.brow_v
        + 0.03 * (1 - t)
        - arch
        - inner * up_in
        - middle * up_mid
        - outer * up_out
        + 0.09 * pull * (inner + 0.4 * middle)
    )
    taper = np.clip(0.55 + 2.6 * t, 0, 1) * np.clip(1.12 - t**3, 0.12, 1)
    return Brow(u=SIGNS[side] * u, v=v, half=look.brow_half * taper * (1 + crooked["brow_thick"]) * (1 - 0.48 * w4))


def _eye(look: Look, act: Expression, weak: dict[AU, Floats], side: int) -> Eye:
    t = np.linspace(-1, 1, 41)
    round_ = 1 - t**2
    w2, w6 = weak[AU.AU2][side], weak[AU.AU6][side]
    crooked = {name: pair[side] for name, pair in look.asymmetry.items()}
    cheek = act.cheek[side] * (1 - 0.93 * w6)
    close = float(np.clip(act.close[side], 0, 1)) * (1 - 0.88 * w6)
    base = crooked["eye_v"] - look.eye_tilt * t
    height = look.eye_open * (1 + crooked["eye_open"] + 0.12 * np.mean(act.raise_out) + 0.20 * w6 - 0.2 * cheek)
    upper = -height * round_**0.7 * (1 - 0.16 * t) + 0.075 * w2 * np.clip(t + 0.35, 0, 1) * round_**0.5
    lower = (0.062 + crooked["lower_lid"] + 0.075 * w6 - 0.03 * cheek) * round_**0.85
    shut = (0.050 - 0.03 * cheek) * round_
    share = 1 - close
    upper, lower = np.minimum(share * upper + close * shut, share * lower + close * shut), share * lower + close * shut
    fold = look.lid_fold * (1 - 0.3 * close) * (1 - 0.75 * w2 * np.clip(t + 0.4, 0, 1))
    iris = (SIGNS[side] * look.eye_u + 0.06 * act.gaze[0], -0.012 + 0.04 * act.gaze[1] + crooked["eye_v"])
    return Eye(
        u=SIGNS[side] * (look.eye_u + look.eye_half * t),
        upper=base + upper,
        lower=base + lower,
        crease=base + 0.55 * upper - (0.45 * height + fold) * np.clip(round_ + 0.1, 0, 1) ** 0.6 * (1 - 0.25 * close),
        open_share=share,
        iris=iris,
        hood=float(w2),
        sag=float(w6),
    )


def _mouth(look: Look, act: Expression, weak: dict[AU, Floats]) -> Mouth:
    x = np.linspace(-1, 1, 81)
    left = np.clip(x + 0.5, 0, 1) ** 2 * (3 - 2 * np.clip(x + 0.5, 0, 1))

    def both(pair: Floats) -> Floats:
        return pair[0] * (1 - left) + pair[1] * left

    w12, w25, crooked = weak[AU.AU12], weak[AU.AU25], look.asymmetry
    smile = act.corner * (1 - 0.93 * w12)
    snarl = act.nose * (1 - 0.93 * weak[AU.AU9])
    jaw = act.jaw * (1 - 0.3 * weak[AU.AU26].max())
    corner_u = look.mouth_half * (1 + crooked["corner_u"] + 0.22 * smile - 0.40 * act.pucker - 0.10 * jaw - 0.10 * w12)
    corner_v = crooked["corner_v"] - look.mouth_curve - 0.165 * smile + 0.19 * w12 + 0.09 * jaw
    deviation = _deviation(look, weak[AU.AU26])
    u = 0.035 * (smile[1] - smile[0]) + 0.25 * deviation + x * both(corner_u)
    line = (
        look.mouth_v + np.where(x < 0, corner_v[0], corner_v[1]) * np.abs(x) ** 2.0 + 0.012 * np.cos(3 * np.pi * x) * (1 - x**2)
    )
    bow_x = crooked["bow"][0] + 0.22 * (w25[0] - w25[1])
    bow = (
        1
        - 0.26 * (1 - 0.8 * act.pucker) * np.exp(-(((x - bow_x) / 0.11) ** 2))
        + 0.06 * np.exp(-(((np.abs(x - bow_x) - 0.24) / 0.13) ** 2))
    )
    thin = 1 - 0.3 * both(smile) + 0.25 * act.pucker
    upper = look.upper_lip * (1 - np.abs(x) ** 2.0) * bow * thin * both((1 + crooked["lip"]) * (1 - 0.72 * w25))
    lower = look.lower_lip * (1 - np.abs(x) ** 2.4) * thin * both(1 - crooked["lip"] + 0.40 * w25)
    part = both(act.part * (1 - 0.85 * w25))
    dome = 1 - np.abs(x) ** 2.2
    hump = np.exp(-(((np.abs(x) - 0.45) / 0.42) ** 2)) * dome
    lift = (0.03 + 0.02 * both(smile)) * part * dome + 0.085 * both(snarl) * hump
    drop = (0.40 * jaw * (1 - 0.35 * both(w25)) + 0.07 * part + 0.035 * act.pucker) * dome + 0.08 * both(w25) * hump
    gap = np.minimum(0.03 * jaw, 0.03) * dome
    inner_top, inner_bottom = line - lift + 0.4 * gap, line + drop
    inner_bottom = np.maximum(inner_bottom, inner_top)
    return Mouth(
        u=u,
        top=inner_top - upper,
        inner_top=inner_top,
        inner_bottom=inner_bottom,
        bottom=inner_bottom + lower,
        bow=round(float(40 + 40 * np.clip(bow_x, -0.5, 0.5))),
    )


def _deviation(look: Look, w26: Floats) -> float:
    return float(look.asymmetry["jaw"][0] + 0.17 * (w26[1] - w26[0]))


def _outline(look: Look, act: Expression, w26: Floats) -> tuple[Floats, tuple[float, float], Floats]:
    """Compute the closed outline of the head (17 + 31 points, the jaw's landmarks first), the chin and the jowls."""
    jaw = act.jaw * (1 - 0.3 * w26.max())
    chin_v, deviation = look.chin_v + 0.40 * jaw, _deviation(look, w26)
    jowl = np.maximum(look.asymmetry["jowl"] + 0.02 * look.age, 0) + 0.085 * w26
    theta = np.linspace(0, np.pi, 65)
    reach, fall = np.cos(theta), np.sin(theta)
    u = -look.head_half * (1 - 0.05 * jaw * fall) * np.sign(reach) * np.abs(reach) ** look.jaw_power + deviation * fall**4
    v = 0.05 + (chin_v - 0.05) * fall**0.95
    for side, sign in enumerate(SIGNS):
        hang = jowl[side] * np.exp(-(((theta - (np.pi / 2 + sign * 0.62)) / 0.32) ** 2))
        u, v = u + sign * 0.5 * hang, v + hang
    around = np.linspace(0, np.pi, 33)[1:-1]
    top = np.stack(
        [
            look.head_half * np.sign(np.cos(around)) * np.abs(np.cos(around)) ** 0.82,
            0.05 - look.skull_v * np.sin(around) ** 0.9,
        ],
        axis=-1,
    )
    return np.concatenate([np.stack([u, v], axis=-1), top]), (deviation, chin_v), jowl


def _landmarks(look: Look, shape: Shape) -> Floats:
    point = np.empty((NUM_LANDMARKS, 2))
    point[:17] = shape.outline[:65:4]
    right, left = shape.brows
    for brow, first, order in ((right, 17, (32, 24, 16, 8, 0)), (left, 22, (0, 8, 16, 24, 32))):
        at = list(order)
        point[first : first + 5] = np.stack([brow.u[at], brow.v[at] - 0.3 * brow.half[at]], axis=-1)
    nose_u = shape.nose_u
    point[27:31] = np.stack([nose_u * np.array([0.1, 0.4, 0.7, 1.0]), np.linspace(-0.02, look.nose_v - 0.16, 4)], axis=-1)
    base_u = np.array([-0.92 * shape.ala[0, 0], -0.5 * shape.ala[0, 0], 0, 0.5 * shape.ala[1, 0], 0.92 * shape.ala[1, 0]])
    base_v = np.array(
        [shape.ala[0, 1] + 0.03, look.nose_v + 0.02, look.nose_v + 0.035, look.nose_v + 0.02, shape.ala[1, 1] + 0.03]
    )
    point[31:36] = np.stack([nose_u + base_u, base_v], axis=-1)
    for eye, upper_at, lower_at in ((shape.eyes[0], (40, 27, 13, 0), (13, 27)), (shape.eyes[1], (0, 13, 27, 40), (27, 13))):
        first, over, under = (36 if eye is shape.eyes[0] else 42), list(upper_at), list(lower_at)
        point[first : first + 4] = np.stack([eye.u[over], eye.upper[over]], axis=-1)
        point[first + 4 : first + 6] = np.stack([eye.u[under], eye.lower[under]], axis=-1)
    mouth = shape.mouth
    rows = (
        (48, (0, 14, mouth.bow - 9, mouth.bow, mouth.bow + 9, 66, 80), mouth.top),
        (55, (65, 52, 40, 28, 15), mouth.bottom),
        (60, (5, 28, 40, 52, 75), mouth.inner_top),
        (65, (52, 40, 28), mouth.inner_bottom),
    )
    for first, columns, edge in rows:
        point[first : first + len(columns)] = np.stack([mouth.u[list(columns)], edge[list(columns)]], axis=-1)
    return point
