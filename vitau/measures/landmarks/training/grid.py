"""The pixel grid of a drawn patch in face units, with soft edges, and what is random about any surface.

Face units are those of :mod:`vitau.media.synthetic.shape`. Patches show the person's right side; a left side is mirrored, so
that outwards is always towards negative u.
"""

import math
from typing import Any, Final, TypeAlias

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from vitau.measures.landmarks.refinement.patches import PATCH_PX

Floats: TypeAlias = NDArray[np.floating[Any]]

_BANK: Final = np.random.default_rng(5).standard_normal((512, 512)).astype(np.float32)


class Grid:
    """Pixels of a patch in face units: ``u``, ``v`` (P, P), px per unit ``scale``, and the map of the face to the patch."""

    def __init__(self, face_to_patch: Floats) -> None:
        self.face_to_patch = face_to_patch
        back = cv2.invertAffineTransform(face_to_patch)
        y, x = np.mgrid[:PATCH_PX, :PATCH_PX].astype(np.float32)
        self.u: Floats = (back[0, 0] * x + back[0, 1] * y + back[0, 2]).astype(np.float32)
        self.v: Floats = (back[1, 0] * x + back[1, 1] * y + back[1, 2]).astype(np.float32)
        self.scale = math.sqrt(abs(float(np.linalg.det(face_to_patch[:, :2]))))
        self._back = back

    def soft(self, distance: Floats, blur: float = 0.0) -> Floats:
        """Return the coverage from the signed distance to an edge, positive inside; ``blur`` widens the edge, face units."""
        return clip(distance / (1 / self.scale + blur) + 0.5, 0, 1).astype(np.float32)

    def between(self, above: Floats, below: Floats, blur: float = 0.0) -> Floats:
        """Return the coverage of what is between two edges, from the signed distances to them, positive inside."""
        return self.soft(np.minimum(above, below), blur)

    def line(self, distance: Floats, width: float) -> Floats:
        """Return the coverage of a Gaussian line; a line thinner than a pixel becomes fainter."""
        least = max(width, 0.5 / self.scale)
        return (width / least) * np.exp(-np.square(distance / least))

    def bump(self, u: float, v: float, width: float, height: float, angle: float = 0.0) -> Floats:
        """Return a turned Gaussian of height 1."""
        cos, sin = math.cos(angle), math.sin(angle)
        along, across = self.u - u, self.v - v
        return np.exp(-np.square((cos * along + sin * across) / width) - np.square((cos * across - sin * along) / height))

    def at(self, x: float, y: float) -> Floats:
        """Return the face units of a pixel."""
        return self._back @ np.array([x, y, 1.0])

    def to_patch(self, points: Floats) -> Floats:
        """Return points (N, 2) of the face in px of the patch."""
        return points @ self.face_to_patch[:, :2].T + self.face_to_patch[:, 2]


def place_grid(rng: Generator, center: Floats, px_per_unit: float, shift_sd: float) -> Grid:
    """Place a patch around a point of the face, with a random shift, scale, roll, foreshortening and shear."""
    scale = px_per_unit * rng.uniform(0.86, 1.16)
    angle = math.radians(rng.normal(0, 5))
    cos, sin = math.cos(angle), math.sin(angle)
    turned = np.array([[rng.uniform(0.84, 1.08), rng.normal(0, 0.04)], [0, rng.uniform(0.9, 1.08)]])
    linear = np.array([[cos, -sin], [sin, cos]]) @ turned * scale
    middle = np.full(2, (PATCH_PX - 1) / 2) + rng.normal(0, shift_sd, 2) * px_per_unit
    return Grid(np.column_stack([linear, middle - linear @ np.asarray(center)]))


def clip(value: Any, low: float, high: float) -> Any:
    """Clip values to a range; faster than ``np.clip`` on small arrays."""
    return np.minimum(np.maximum(value, low), high)


def curve(axis: Floats, along: Floats, across: Floats) -> Floats:
    """Interpolate a curve, given by points in either direction, at the pixels of an axis."""
    order = np.argsort(along, kind="stable")
    return np.interp(axis, along[order], across[order]).astype(np.float32)


def lay(rgb: Floats, color: Any, coverage: Floats) -> None:
    """Blend a color, RGB 0–1, over the pixels by a coverage."""
    rgb += coverage[..., None] * (np.asarray(color, np.float32) - rgb)


def lay_beside(rng: Generator, grid: Grid, rgb: Floats, edge: Floats) -> None:
    """Paint what is beside the face, outwards of an edge in u: one color."""
    lay(rgb, rng.uniform(0.02, 0.9, 3), grid.soft(edge - grid.u, rng.uniform(0, 0.1)))


def darken(rgb: Floats, amount: Floats) -> None:
    """Remove a share of the light; a negative share adds light."""
    rgb *= 1 - amount[..., None]


def noise(rng: Generator, columns: int, rows: int) -> Floats:
    """Return smooth noise (P, P) with this many cells per axis."""
    left, top = int(rng.integers(0, 513 - columns)), int(rng.integers(0, 513 - rows))
    cells = _BANK[top : top + rows, left : left + columns]
    return cv2.resize(cells, (PATCH_PX, PATCH_PX), interpolation=cv2.INTER_LINEAR)


def strands(rng: Generator) -> Floats:
    """Return noise (P, P) stretched in a random direction, as hairs are."""
    fine = noise(rng, int(rng.integers(20, 90)), int(rng.integers(20, 90)))
    height = PATCH_PX // 2 if rng.random() < 0.5 else PATCH_PX
    stretched = cv2.resize(fine, (2 * PATCH_PX, height))
    turn = cv2.getRotationMatrix2D((PATCH_PX / 2, PATCH_PX / 2), math.degrees(rng.uniform(0, math.pi)), 1.0)
    return cv2.warpAffine(stretched, turn, (PATCH_PX, PATCH_PX), borderMode=cv2.BORDER_REFLECT)


def draw_skin_color(rng: Generator) -> Floats:
    """Draw a color of skin, RGB 0–1; one in seven is any color."""
    if rng.random() < 0.15:
        return rng.uniform(0.1, 0.95, 3)
    tone = rng.uniform(0, 1)
    light, dark = np.array([0.93, 0.76, 0.66]), np.array([0.22, 0.14, 0.11])
    return clip((light * (1 - tone) + dark * tone) * rng.normal(1, 0.12) * rng.normal(1, 0.06, 3), 0.05, 1)


def paint_skin(rng: Generator, grid: Grid, skin: Floats) -> Floats:
    """Paint skin with mottles, grain, and random light and shade, RGB (P, P, 3)."""
    rgb = np.empty((PATCH_PX, PATCH_PX, 3), np.float32)
    tone = np.ones((PATCH_PX, PATCH_PX), np.float32)
    for cells, most in ((4, 0.10), (12, 0.06), (90, 0.07)):
        tone += rng.uniform(0, most) * noise(rng, cells, cells)
    rgb[:] = skin * tone[..., None]
    if rng.random() < 0.5:
        rgb *= (1 + rng.normal(0, 0.03, 3) * noise(rng, 6, 6)[..., None]).astype(np.float32)
    for _ in range(rng.integers(0, 6)):
        u, v = grid.at(*rng.uniform(0, PATCH_PX, 2))
        depth, (width, height) = rng.normal(0, 0.18), rng.uniform(0.05, 0.4, 2)
        darken(rgb, depth * grid.bump(u, v, width, height, rng.uniform(0, math.pi)))
    return rgb
