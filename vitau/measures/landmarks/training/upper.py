"""Drawn patches of a brow and an eye, in looks that vary far more than people's."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from vitau.measures.landmarks.refinement.patches import UPPER
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
    strands,
)
from vitau.measures.landmarks.training.shapes import HalfFace

_SHIFT_SD = 0.05
_HALF_EYE = 0.23
_SHUT = 0.025  # an opening below this is a closed eye: its lashes hang down
_LIDS = ((40, 0), (27, 0), (13, 0), (0, 0), (13, 1), (27, 1))  # column of the lids, upper or lower: landmarks 36–41
_HAIRS = (32, 24, 16, 8, 0)  # columns of the brow: landmarks 17–21


@dataclass(frozen=True, kw_only=True, slots=True)
class _Eye:
    """Edges of the lids, face units: 41 columns from the nose outwards."""

    u: Floats
    upper: Floats
    lower: Floats
    crease: Floats

    def points(self) -> Floats:
        return np.array([(self.u[column], (self.lower if lower else self.upper)[column]) for column, lower in _LIDS])


@dataclass(frozen=True, kw_only=True, slots=True)
class _Lids:
    """The eye at the pixels of a patch: edges, position along it (−1 to 1 from the nose), and how much is beside it."""

    eye: _Eye
    upper: Floats
    lower: Floats
    crease: Floats
    along: Floats
    within: Floats


def paint_upper(rng: Generator, face: HalfFace) -> tuple[Grid, Floats, Floats]:
    """Paint a patch of ``UPPER``: its grid, its colors (P, P, 3), RGB 0–1, and its points (11, 2), face units."""
    eye, (brow_u, brow_v, brow_half) = _eye(rng, face), _brow(rng, face)
    hairs = np.stack([brow_u, brow_v], axis=-1)[list(_HAIRS)]
    grid = place_grid(rng, eye.points().mean(axis=0) + UPPER.offset, UPPER.px_per_eyes, _SHIFT_SD)
    skin = draw_skin_color(rng)
    rgb = paint_skin(rng, grid, skin)
    lids = _lids(grid, eye)
    _paint_socket(rng, grid, rgb, lids)
    ink = skin * (rng.uniform(0.08, 0.6) if rng.random() < 0.8 else rng.uniform(0.7, 1.3) * rng.uniform(0.7, 1, 3))
    _paint_margins(rng, grid, rgb, lids, ink, skin)
    _paint_eyeball(rng, grid, rgb, lids, skin)
    _paint_lashes(rng, grid, rgb, lids, ink, skin)
    _paint_forehead(rng, grid, rgb, float(brow_v.min()))
    _paint_brow(rng, grid, rgb, (brow_u, brow_v, brow_half), skin)
    _paint_distractors(rng, grid, rgb, eye, float(brow_v.min()))
    return grid, rgb, np.concatenate([hairs, eye.points()])


def _eye(rng: Generator, face: HalfFace) -> _Eye:
    drawn = face.shape.eyes[face.side]
    upper, lower, t = drawn.upper.copy(), drawn.lower.copy(), np.linspace(-1, 1, 41)
    if rng.random() < 0.6:  # skewed, flat, round
        skew = 1 + rng.normal(0, 0.25) * np.sin(math.pi * (t + rng.uniform(-1, 1)))
        corners = np.linspace(upper[0], upper[-1], 41)
        upper = corners + (upper - corners) * clip(skew * rng.uniform(0.7, 1.3), 0.3, 2)
        lower = corners + (lower - corners) * clip(rng.uniform(0.2, 2.6) * (1 + rng.normal(0, 0.2) * t), 0, 4)
        lower = np.maximum(lower, upper)
    return _Eye(u=drawn.u * face.flip, upper=upper, lower=lower, crease=drawn.crease)


def _brow(rng: Generator, face: HalfFace) -> tuple[Floats, Floats, Floats]:
    brow, t = face.shape.brows[face.side], np.linspace(0, 1, 33)
    lift = rng.uniform(-0.12, 0.10) if rng.random() < 0.5 else 0.0
    bend = rng.normal(0, 0.02) * (2 * t - 1) + rng.normal(0, 0.012) * np.cos(3 * math.pi * t)
    return brow.u * face.flip, brow.v + lift + bend, brow.half


def _lids(grid: Grid, eye: _Eye) -> _Lids:
    u = grid.u
    along = curve(u, eye.u, np.linspace(-1, 1, 41))
    inner, outer = float(eye.u.max()), float(eye.u.min())
    along = np.where(u > inner, -1 - (u - inner) / _HALF_EYE, np.where(u < outer, 1 + (outer - u) / _HALF_EYE, along))
    return _Lids(
        eye=eye,
        upper=curve(u, eye.u, eye.upper),
        lower=curve(u, eye.u, eye.lower),
        crease=curve(u, eye.u, eye.crease),
        along=along,
        within=grid.soft(_HALF_EYE * (1.08 - np.abs(along)), 0.05),
    )


def _paint_socket(rng: Generator, grid: Grid, rgb: Floats, lids: _Lids) -> None:
    """Paint the shade of the orbit and of the nose, creases, and bags."""
    middle, top, bottom = float(lids.eye.u.mean()), float(lids.eye.upper.min()), float(lids.eye.lower.max())
    width, height = rng.uniform(0.15, 0.35), rng.uniform(0.05, 0.13)
    darken(rgb, rng.uniform(-0.1, 0.4) * grid.bump(middle + rng.normal(0, 0.05), top - rng.uniform(0, 0.1), width, height))
    width, height = rng.uniform(0.08, 0.2), rng.uniform(0.1, 0.4)
    darken(rgb, rng.uniform(-0.15, 0.45) * grid.bump(-0.05 + rng.normal(0, 0.05), -0.05, width, height))
    near = clip(1.35 - np.abs(lids.along), 0, 0.35) / 0.35
    for _ in range(rng.integers(0, 3)):
        away = grid.v - lids.crease - rng.uniform(-0.04, 0.05)
        darken(rgb, rng.uniform(-0.1, 0.5) * near * grid.line(away, rng.uniform(0.006, 0.03)))
    if rng.random() < 0.6:
        away = grid.v - bottom - rng.uniform(0.03, 0.14) + rng.uniform(0, 0.08) * np.square(lids.along)
        darken(rgb, rng.uniform(-0.1, 0.4) * grid.line(away, rng.uniform(0.01, 0.05)) * np.exp(-np.square(lids.along / 0.95)))


def _paint_margins(rng: Generator, grid: Grid, rgb: Floats, lids: _Lids, ink: Floats, skin: Floats) -> None:
    """Paint bands beside the opening: lashes, make-up, shade. They are the strongest edges of many faces, not the truth."""
    above, below, round_ = lids.upper - grid.v, grid.v - lids.lower, np.square(lids.along)
    shut = float(np.max(lids.eye.lower - lids.eye.upper)) < _SHUT
    if rng.random() < (0.85 if shut else 0.65):
        width = rng.uniform(0.02, 0.11) if shut and rng.random() < 0.8 else rng.uniform(0.003, 0.085)
        reach = width * clip(1 - round_ * rng.uniform(0, 0.6), 0.1, 1)
        band = grid.between(below, reach - below, rng.uniform(0, 0.02))
        if rng.random() < 0.5:  # lashes clump
            band = band * clip(1 + rng.uniform(0, 0.7) * noise(rng, 24, 12), 0.1, 1.2)
        lay(rgb, ink, clip(rng.uniform(0.15, 0.95) * band * lids.within, 0, 1))
    if rng.random() < 0.7:
        width = rng.uniform(0.004, 0.03) if shut or rng.random() < 0.75 else rng.uniform(0.02, 0.07)
        reach = width * clip(1 - 0.5 * round_, 0.2, 1)
        band = grid.between(above, reach - above, rng.uniform(0, 0.02))
        lay(rgb, ink * rng.uniform(0.5, 1.1), rng.uniform(0.15, 1) * band * lids.within * (0.4 if shut else 1.0))
    elif rng.random() < 0.7:  # a light edge
        band = grid.between(above, rng.uniform(0.01, 0.05) - above, 0.01)
        lay(rgb, skin * rng.uniform(0.9, 1.35), rng.uniform(0.1, 0.7) * band * lids.within)
    darken(rgb, rng.normal(0, 0.12) * grid.between(above, grid.v - lids.crease, 0.03) * lids.within)


def _paint_eyeball(rng: Generator, grid: Grid, rgb: Floats, lids: _Lids, skin: Floats) -> None:
    """Paint sclera, caruncle, wet edge, iris, pupil and highlights between the lids."""
    above, below = grid.v - lids.upper, lids.lower - grid.v
    opening = float(np.max(lids.eye.lower - lids.eye.upper))
    inside = grid.between(above, below) * (np.abs(lids.along) < 1) * min(1.0, opening / 0.012)
    white = clip(rng.uniform(0.45, 1.05) * (0.55 + 0.45 * skin.max()), 0.12, 1.1) * rng.uniform(0.84, 1.03, 3)
    shade = 1 - rng.uniform(0, 0.35) * np.square(lids.along)
    shade = shade - rng.uniform(0, 0.6) * np.exp(-np.maximum(above, 0) / rng.uniform(0.015, 0.06))
    shade = shade - rng.uniform(0, 0.3) * np.exp(-np.maximum(below, 0) / rng.uniform(0.01, 0.03))
    lay(rgb, white * clip(shade, 0.08, 1)[..., None], inside)
    if rng.random() < 0.5:
        caruncle = grid.soft(-_HALF_EYE * (lids.along + rng.uniform(0.75, 0.95)), 0.02)
        lay(rgb, skin * (1.05, 0.70, 0.68), inside * rng.uniform(0.2, 0.9) * caruncle)
    if rng.random() < 0.35:
        lay(rgb, skin * (1.1, 0.8, 0.78), inside * rng.uniform(0.2, 0.7) * grid.line(below, rng.uniform(0.005, 0.015)))
    u = float(lids.eye.u.mean()) + rng.normal(0, 0.045)
    v = float(lids.eye.points()[:, 1].mean()) + rng.normal(-0.01, 0.03)
    if opening > 0.02:
        v = float(clip(v, lids.eye.upper.min() - 0.04, lids.eye.lower.max()))
    radius, iris, away = (
        rng.uniform(0.075, 0.135),
        rng.uniform(0.03, 0.6) * rng.uniform(0.4, 1, 3),
        np.hypot(grid.u - u, grid.v - v),
    )
    lay(rgb, iris, inside * grid.soft(radius - away, rng.uniform(0, 0.02)))
    lay(rgb, iris * 0.3, inside * rng.uniform(0, 0.8) * grid.line(away - radius, 0.013))
    lay(rgb, rng.uniform(0, 0.06, 3), inside * grid.soft(radius * rng.uniform(0.3, 0.55) - away, 0.005))
    for _ in range(rng.integers(0, 3)):
        spot = np.hypot(grid.u - u - rng.normal(0, 0.035), grid.v - v - rng.normal(0, 0.035))
        lay(rgb, np.ones(3), inside * rng.uniform(0.3, 1) * grid.soft(rng.uniform(0.01, 0.03) - spot, 0.005))


def _paint_lashes(rng: Generator, grid: Grid, rgb: Floats, lids: _Lids, ink: Floats, skin: Floats) -> None:
    """Paint lines on the edges of the opening, and lashes."""
    if rng.random() < 0.75:
        line = grid.line(grid.v - lids.upper + rng.uniform(-0.004, 0.012), rng.uniform(0.004, 0.022))
        lay(rgb, skin * rng.uniform(0.05, 0.5), rng.uniform(0.2, 1) * line * lids.within)
    if rng.random() < 0.5:
        line = grid.line(grid.v - lids.lower - rng.uniform(-0.004, 0.008), rng.uniform(0.004, 0.018))
        lay(rgb, skin * rng.uniform(0.2, 0.8), rng.uniform(0.1, 0.9) * line * lids.within)
    if rng.random() < 0.3:
        comb = 0.5 + 0.5 * np.sin(grid.u * rng.uniform(60, 160) + rng.uniform(0, 6))
        above = lids.upper - grid.v
        reach = grid.between(above, rng.uniform(0.02, 0.06) - above, 0.01)
        lay(rgb, ink * 0.5, rng.uniform(0.2, 0.9) * comb * reach * lids.within)


def _paint_forehead(rng: Generator, grid: Grid, rgb: Floats, top: float) -> None:
    for _ in range(rng.integers(0, 3)):
        away = grid.v - top + rng.uniform(0.06, 0.35) - rng.uniform(-0.1, 0.15) * grid.u - 0.01 * np.sin(7 * grid.u)
        darken(rgb, rng.uniform(0, 0.4) * grid.line(away, rng.uniform(0.006, 0.025)))


def _paint_brow(rng: Generator, grid: Grid, rgb: Floats, brow: tuple[Floats, Floats, Floats], skin: Floats) -> None:
    """Paint hairs: dark, faint or light, dense or sparse, with hard or soft edges."""
    u, v, half = brow
    inside = 0.5 * float(u.max() - u.min()) - np.abs(grid.u - 0.5 * float(u.max() + u.min()))
    within = grid.soft(inside, rng.uniform(0.01, 0.08))
    middle, thickness = curve(grid.u, u, v), np.maximum(curve(grid.u, u, half) * rng.uniform(0.6, 1.3), 0.008)
    hair = skin * rng.uniform(0.08, 0.65) if rng.random() < 0.88 else skin * rng.uniform(1.1, 1.8) + rng.uniform(0, 0.15)
    away = grid.v - middle
    if rng.random() < 0.5:
        profile = grid.soft(thickness - np.abs(away), rng.uniform(0, 0.04))
    else:
        profile = np.exp(-np.square(away / (thickness * rng.uniform(0.6, 0.9))))
    texture = clip(1 + rng.uniform(0, 0.8) * strands(rng), 0, 1.8) if rng.random() < 0.8 else 1.0
    t = np.linspace(0, 1, 33)
    fade = clip(1 - rng.uniform(0, 0.9) * np.square(t if rng.random() < 0.5 else 1 - t), 0, 1)
    if rng.random() < 0.3:
        fade = fade * clip(1 + 0.5 * np.sin(t * rng.uniform(5, 25) + rng.uniform(0, 6)), 0, 1)
    coverage = rng.uniform(0.15, 1) * profile * within * texture * curve(grid.u, u, fade)
    lay(rgb, clip(hair * rng.normal(1, 0.1, 3), 0, 1), clip(coverage, 0, 1))
    if rng.random() < 0.3:
        under = grid.line(away - thickness - rng.uniform(0, 0.05), rng.uniform(0.02, 0.06))
        darken(rgb, rng.uniform(-0.2, 0.3) * under * within)


def _paint_distractors(rng: Generator, grid: Grid, rgb: Floats, eye: _Eye, top: float) -> None:
    """Paint a fringe of hair, what is beside the face, and glasses."""
    if rng.random() < 0.3:
        edge = top - rng.uniform(0.08, 0.4) + rng.uniform(-0.6, 0.3) * (grid.u + 0.5) + rng.uniform(0, 0.08) * noise(rng, 20, 2)
        color = rng.uniform(0.02, 0.7, 3) * rng.uniform(0.2, 1)
        lay(rgb, color, rng.uniform(0.6, 1) * grid.soft(edge - grid.v, rng.uniform(0, 0.03)))
    if rng.random() < 0.2:
        edge = float(eye.u.min()) - rng.uniform(0.2, 0.5) + 0.1 * np.square(grid.v)
        lay_beside(rng, grid, rgb, edge)
    if rng.random() < 0.12:
        across = (grid.u - float(eye.u.mean()) - rng.normal(0, 0.03)) / rng.uniform(0.33, 0.45)
        down = (grid.v - rng.uniform(-0.02, 0.1)) / rng.uniform(0.24, 0.36)
        rim = grid.line(0.35 * (np.hypot(across, down) - 1), rng.uniform(0.008, 0.03))
        lay(rgb, rng.uniform(0, 0.9, 3), rng.uniform(0.3, 1) * rim)
