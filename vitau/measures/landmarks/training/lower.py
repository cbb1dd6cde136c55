"""Drawn patches of a nasal wing and half a mouth, in looks that vary far more than people's."""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from vitau.measures.landmarks.refinement.patches import LOWER
from vitau.measures.landmarks.training.grid import (
    Floats,
    Grid,
    clip,
    curve,
    darken,
    draw_skin_color,
    lay,
    lay_beside,
    noise,
    paint_skin,
    place_grid,
)
from vitau.measures.landmarks.training.shapes import HalfFace
from vitau.media.synthetic.values import Look

_SHIFT_SD = 0.075
_ENAMEL = np.array([0.90, 0.88, 0.80])


@dataclass(frozen=True, kw_only=True, slots=True)
class _Lips:
    """The lips at the pixels of a patch: their four edges, position from corner to corner (−1 to 1), and how much is beside."""

    corner: tuple[float, float]
    other_corner: tuple[float, float]
    deepest: float
    middle: float
    top: Floats
    inner_top: Floats
    inner_bottom: Floats
    bottom: Floats
    along: Floats
    within: Floats


def paint_lower(rng: Generator, face: HalfFace) -> tuple[Grid, Floats, Floats]:
    """Paint a patch of ``LOWER``: its grid, its colors (P, P, 3), RGB 0–1, and its points (15, 2), face units."""
    corner = face.points(LOWER)[LOWER.points.index(LOWER.anchors[0])]
    grid = place_grid(rng, corner + LOWER.offset, LOWER.px_per_eyes, _SHIFT_SD)
    skin, (lips, points) = draw_skin_color(rng), _lips(rng, grid, face)
    # a weak side lets the base of the nose and the wing move apart
    base_shift, wing_shift = rng.normal(0, 0.03), rng.normal(0, (0.02, 0.025))
    points[[LOWER.points.index(32), LOWER.points.index(33)], 0] += base_shift
    points[LOWER.points.index(31)] += wing_shift
    rgb = paint_skin(rng, grid, skin)
    nose_u = face.shape.nose_u * face.flip
    wing = np.array([nose_u - face.shape.ala[face.side, 0], face.shape.ala[face.side, 1]]) + wing_shift
    _paint_folds(rng, grid, rgb, wing, lips.corner)
    _paint_nose(rng, grid, rgb, face.look, (nose_u + base_shift, wing), skin)
    _paint_beard(rng, grid, rgb, lips, skin)
    color = skin * rng.uniform((0.8, 0.5, 0.5), (1.05, 0.95, 0.98)) if rng.random() < 0.8 else rng.uniform(0.1, 0.9, 3)
    _paint_lips(rng, grid, rgb, lips, color)
    _paint_mouth(rng, grid, rgb, lips, color)
    for u, v in (lips.corner, lips.other_corner):
        darken(rgb, rng.uniform(-0.05, 0.6) * grid.bump(u, v, rng.uniform(0.02, 0.07), rng.uniform(0.015, 0.05)))
    if rng.random() < 0.25:
        edge = lips.corner[0] - rng.uniform(0.35, 0.6) - 0.3 * (grid.v - lips.corner[1]) * rng.uniform(0, 1)
        lay_beside(rng, grid, rgb, edge)
    return grid, rgb, points


def _lips(rng: Generator, grid: Grid, face: HalfFace) -> tuple[_Lips, Floats]:
    """Return the lips, blunter than drawn people's, and where that moves the points of the region, (15, 2)."""
    mouth = face.shape.mouth
    u = mouth.u * face.flip
    first, last = (0, -1) if face.side == 0 else (-1, 0)
    left, right = float(u.min()), float(u.max())
    # the gap ends before the lips do, and the lips have a height at their corner
    middle, share = (left + right) / 2, (rng.uniform(0.75, 1.0) if rng.random() < 0.7 else 1.0)
    blunt = rng.uniform(0, 0.03) if rng.random() < 0.6 else 0.0
    narrow = middle + (u - middle) * share
    pad = blunt * (1 - clip(np.abs(curve(grid.u, np.sort(u), np.linspace(-1, 1, len(u)))), 0, 1) ** 8)
    lips = _Lips(
        corner=(left, float(mouth.inner_top[first])),
        other_corner=(right, float(mouth.inner_top[last])),
        deepest=float(mouth.inner_bottom.max()),
        middle=float(u[len(u) // 2]),
        top=curve(grid.u, u, mouth.top) - pad,
        inner_top=curve(grid.u, narrow, mouth.inner_top),
        inner_bottom=curve(grid.u, narrow, mouth.inner_bottom),
        bottom=curve(grid.u, u, mouth.bottom) + pad,
        along=curve(grid.u, np.sort(u), np.linspace(-1, 1, len(u))),
        within=grid.between(grid.u - left, right - grid.u),
    )
    points = face.points(LOWER)
    at = {landmark: row for row, landmark in enumerate(LOWER.points)}
    points[[at[landmark] for landmark in (49, 50, 51)], 1] -= blunt
    points[[at[landmark] for landmark in (57, 58, 59)], 1] += blunt
    inner = [at[landmark] for landmark in (60, 61, 62, 66, 67)]
    points[inner, 0] = middle + (points[inner, 0] - middle) * share
    return lips, points


def _paint_folds(rng: Generator, grid: Grid, rgb: Floats, wing: Floats, corner: tuple[float, float]) -> None:
    """Paint nasolabial folds, and the line below the corner of the lips."""
    for _ in range(rng.integers(0, 3)):
        share = clip((grid.v - wing[1] + 0.12) / (corner[1] + 0.17 - wing[1]), -0.2, 1.3)
        start, end = wing[0] - rng.uniform(0.02, 0.12), corner[0] - rng.uniform(0, 0.2)
        away = grid.u - start - (end - start) * clip(share, 0, 2) ** rng.uniform(0.8, 1.5)
        light = rng.uniform(0, 0.6) * grid.line(away + rng.uniform(0.04, 0.1), 0.06)
        depth = rng.uniform(-0.1, 0.45) * np.exp(-np.square((share - rng.uniform(0.1, 0.9)) / 0.4))
        darken(rgb, depth * (grid.line(away, rng.uniform(0.01, 0.05)) - light))
    if rng.random() < 0.5:  # the seam goes on as a crease
        angle = rng.uniform(-0.5, 1.3)
        along = (corner[0] - grid.u) * np.cos(angle) + (grid.v - corner[1]) * np.sin(angle)
        across = (corner[0] - grid.u) * np.sin(angle) - (grid.v - corner[1]) * np.cos(angle)
        reach = grid.between(along + 0.01, rng.uniform(0.02, 0.15) - along, 0.02)
        darken(rgb, rng.uniform(0, 0.5) * reach * grid.line(across, rng.uniform(0.008, 0.035)))
    if rng.random() < 0.5:
        away = grid.u - corner[0] + 0.02 + rng.uniform(-0.2, 0.2) * (grid.v - corner[1])
        below = np.exp(-np.square((grid.v - corner[1] - 0.13) / 0.12))
        darken(rgb, rng.uniform(-0.1, 0.35) * grid.line(away, rng.uniform(0.02, 0.06)) * below)


def _paint_nose(rng: Generator, grid: Grid, rgb: Floats, look: Look, place: tuple[float, Floats], skin: Floats) -> None:
    """Paint wing, tip, nostrils, and the shade below; ``place`` is the column of the base, and the wing."""
    u, wing = place
    away = np.hypot((grid.u - wing[0] - 0.10) / 0.11, (grid.v - wing[1]) / 0.115) - 1
    edge = grid.line(0.11 * away, rng.uniform(0.012, 0.04)) * grid.soft(wing[0] + 0.085 - grid.u, 0.08)
    darken(rgb, rng.uniform(0, 0.5) * edge)
    darken(rgb, -rng.normal(0.05, 0.12) * grid.bump(u, look.nose_v - 0.15, 0.16, 0.18))
    for sign in (-1, 1):
        across = (grid.u - u - sign * 0.55 * look.nose_half) / rng.uniform(0.06, 0.1)
        down = (grid.v - look.nose_v - rng.uniform(-0.02, 0.02)) / rng.uniform(0.022, 0.045)
        hole = grid.soft(0.06 * (1 - np.hypot(across, down)), rng.uniform(0, 0.02))
        lay(rgb, skin * rng.uniform(0.08, 0.5), rng.uniform(0.3, 1) * hole)
    darken(rgb, rng.uniform(0, 0.35) * grid.bump(u, look.nose_v + 0.05, 0.7 * look.nose_half, 0.035))
    darken(rgb, rng.uniform(-0.1, 0.2) * grid.bump(u, look.nose_v + 0.17, 0.05, 0.1))


def _paint_beard(rng: Generator, grid: Grid, rgb: Floats, lips: _Lips, skin: Floats) -> None:
    if rng.random() < 0.3:
        beside = 1 - grid.between(grid.v - lips.top, lips.bottom - grid.v) * lips.within
        density = clip((grid.v - 0.62) / 0.35, 0, 1) * rng.uniform(0.1, 0.6)
        grain = 1 + rng.uniform(0.2, 0.8) * noise(rng, 96, 96)
        lay(rgb, skin * rng.uniform(0.15, 0.7), clip(density * grain, 0, 0.9) * beside)


def _paint_lips(rng: Generator, grid: Grid, rgb: Floats, lips: _Lips, color: Floats) -> None:
    """Paint the red of the lips, which may be as pale as the skin, and the light and shade of their edges."""
    v, round_ = grid.v, 1 - np.square(lips.along)
    below = np.exp(-np.square((v - lips.bottom - 0.035) / rng.uniform(0.02, 0.06))) * (v > lips.bottom)
    darken(rgb, rng.uniform(-0.1, 0.4) * lips.within * below * round_)
    darken(rgb, rng.uniform(-0.25, 0.2) * lips.within * grid.line(v - lips.top + 0.015, rng.uniform(0.006, 0.02)) * round_)
    upper = v < lips.inner_top
    height = np.where(
        upper,
        (v - lips.top) / np.maximum(lips.inner_top - lips.top, 0.02),
        (lips.bottom - v) / np.maximum(lips.bottom - lips.inner_bottom, 0.02),
    )
    tone = np.where(upper, rng.uniform(0.7, 1.0), rng.uniform(0.9, 1.15))
    tone = tone + rng.uniform(-0.1, 0.25) * np.sin(np.pi * clip(height, 0, 1)) * np.where(upper, 0.3, 1)
    tone = tone * (1 + rng.uniform(0, 0.06) * noise(rng, 60, 8))
    red = grid.between(v - lips.top, lips.bottom - v, rng.uniform(0, 0.03)) * lips.within
    lay(rgb, color * clip(tone, 0, 1.4)[..., None], rng.uniform(0.1, 1) * red)


def _paint_mouth(rng: Generator, grid: Grid, rgb: Floats, lips: _Lips, color: Floats) -> None:
    """Paint what is between the lips: dark, teeth, tongue; and the seam."""
    u, v, height = grid.u, grid.v, lips.inner_bottom - lips.inner_top
    gap = grid.between(v - lips.inner_top, lips.inner_bottom - v) * lips.within * clip(height * grid.scale, 0, 1)
    lay(rgb, np.array([0.13, 0.05, 0.05]) * rng.uniform(0.2, 2.2), gap)
    if rng.random() < 0.75:
        edge = lips.inner_top + rng.uniform(0.05, 0.2) * (1 - 0.5 * np.square(lips.along))
        teeth = grid.between(v - lips.inner_top, edge - v) * clip(height / 0.03, 0, 1)
        seams = 1 - rng.uniform(0, 0.3) * clip(np.cos(2 * np.pi * u / rng.uniform(0.09, 0.16)), 0.8, 1)
        shade = seams * (1 - rng.uniform(0.1, 0.7) * np.square(lips.along))
        lay(rgb, _ENAMEL * rng.uniform(0.5, 1.1) * shade[..., None], gap * teeth)
        if rng.random() < 0.4:
            teeth = grid.soft(v - lips.inner_bottom + rng.uniform(0.03, 0.1), 0.02) * clip(height / 0.05, 0, 1)
            lay(rgb, _ENAMEL * rng.uniform(0.4, 1), gap * teeth)
    if rng.random() < 0.5:
        tongue = np.hypot((u - lips.middle) / 0.26, (v - lips.deepest - 0.02) / 0.13)
        lay(rgb, color * (1, 0.8, 0.8), gap * rng.uniform(0.3, 0.9) * grid.soft(0.3 * (1 - tongue), 0.02))
    seam = grid.line(v - lips.inner_top, rng.uniform(0.006, 0.025)) * lips.within
    lay(rgb, color * rng.uniform(0.1, 0.7), rng.uniform(0.2, 0.95) * seam)
