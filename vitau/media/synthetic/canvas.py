"""Canvas of a face in face units, and the warp from the canvas into an image.

Edges and lines are smooth functions of columns or rows, so every resolution is antialiased. A turn of the head shifts each
pixel by its depth.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from vitau.media.synthetic.values import Floats, Image, Pose

Canvas: TypeAlias = NDArray[np.floating[Any]]

LEFT_U: Final = -2.1
TOP_V: Final = -2.35
RIGHT_U: Final = 2.1
BOTTOM_V: Final = 2.6


@dataclass(frozen=True, slots=True)
class Patch:
    """A window of the canvas: pixels, columns and rows in face units, and px per unit."""

    rgb: Canvas
    u: Canvas
    v: Canvas
    scale: float
    rows: slice
    columns: slice

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns, px."""
        return self.rgb.shape[0], self.rgb.shape[1]

    def window(self, left: float, top: float, right: float, bottom: float) -> "Patch":
        """Return the window of a whole canvas between these columns and rows, face units."""
        columns, rows = _span(left - LEFT_U, right - LEFT_U, self.scale), _span(top - TOP_V, bottom - TOP_V, self.scale)
        return Patch(self.rgb[rows, columns], self.u[:, columns], self.v[rows], self.scale, rows, columns)

    def soft(self, distance: Canvas) -> Canvas:
        """Return the coverage of pixels from their signed distance to an edge (positive inside), face units."""
        return clip(distance * self.scale + 0.5, 0, 1)

    def line(self, distance: Canvas, width: float) -> Canvas:
        """Return the coverage of a line with a Gaussian profile; a line thinner than a pixel becomes fainter."""
        least = max(width, 0.55 / self.scale)
        return (width / least) * np.exp(-np.square(distance / np.float32(least)))

    def lay(self, color: Floats | Canvas, coverage: Canvas) -> None:
        """Blend a color, RGB 0–1, over the pixels by a coverage (H, W)."""
        rgb = self.rgb
        rgb += coverage[..., None] * (np.asarray(color, dtype=np.float32) - rgb)

    def darken(self, amount: Canvas) -> None:
        """Remove a share (H, W) of the light; a negative share adds light."""
        rgb = self.rgb
        rgb *= 1 - amount[..., None]


def empty_canvas(px_per_unit: float) -> Patch:
    """Return a canvas from (LEFT_U, TOP_V) to (RIGHT_U, BOTTOM_V) whose pixels are not set."""
    height, width = round((BOTTOM_V - TOP_V) * px_per_unit), round((RIGHT_U - LEFT_U) * px_per_unit)
    u = (LEFT_U + (np.arange(width, dtype=np.float32) + 0.5) / px_per_unit)[None]
    v = (TOP_V + (np.arange(height, dtype=np.float32) + 0.5) / px_per_unit)[:, None]
    return Patch(np.empty((height, width, 3), np.float32), u, v, px_per_unit, slice(0, height), slice(0, width))


def _span(low: float, high: float, scale: float) -> slice:
    first = max(0, math.ceil(low * scale - 0.5))
    return slice(first, max(first + 1, math.ceil(high * scale - 0.5)))


def clip(value: Canvas | float, low: float, high: float) -> Canvas:
    """Clip values to a range; faster than ``np.clip`` on small patches."""
    return np.minimum(np.maximum(value, low), high)


def spread(mask: Canvas, radius: float) -> Canvas:
    """Blur a mask widely, at a quarter of the resolution."""
    small = cv2.resize(mask, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    return cv2.resize(cv2.GaussianBlur(small, (0, 0), max(radius / 4, 0.4)), mask.shape[::-1], interpolation=cv2.INTER_LINEAR)


def curve(patch_axis: Canvas, along: Floats, across: Floats) -> Canvas:
    """Interpolate a curve, given by points in either direction, at the pixels of an axis."""
    order = slice(None) if along[0] < along[-1] else slice(None, None, -1)
    return np.interp(patch_axis, along[order], across[order]).astype(np.float32)


@lru_cache(maxsize=1)
def _noise_bank() -> Canvas:
    return np.random.default_rng(68).standard_normal((512, 512)).astype(np.float32)


def noise(shape: tuple[int, ...], cells: tuple[int, int], grain: int) -> Canvas:
    """Return smooth noise with ``cells`` per axis, seeded by ``grain``; noise finer than the pixels averages out."""
    rows, columns = min(cells[0], shape[0], 256), min(cells[1], shape[1], 256)
    top, left = grain % 251, (grain // 251) % 253
    noise = cv2.resize(_noise_bank()[top : top + rows, left : left + columns], shape[::-1], interpolation=cv2.INTER_LINEAR)
    noise *= math.sqrt(rows * columns / (cells[0] * cells[1]))
    return noise


def polygon(points: Floats, size: tuple[int, int], scale: float) -> Canvas:
    """Return the antialiased coverage (H, W), 0–1, of a polygon (N, 2) in face units."""
    mask = np.zeros(size, np.uint8)
    px = np.rint(((points - (LEFT_U, TOP_V)) * scale - 0.5) * 256).astype(np.int32)
    cv2.fillPoly(mask, [px], 255, lineType=cv2.LINE_AA, shift=8)
    return mask.astype(np.float32) / np.float32(255)


def bump(patch: Patch, u: float, v: float, width: float, height: float) -> Canvas:
    """Return a Gaussian of height 1, (H, W)."""
    return np.exp(-np.square((patch.v - v) / np.float32(height))) * np.exp(-np.square((patch.u - u) / np.float32(width)))


def _depth(u: NDArray[Any], v: NDArray[Any]) -> NDArray[Any]:
    dome = 0.95 * np.sqrt(clip(1 - np.square(u / 1.55) - np.square((v - 0.1) / 2.7), 0.02, 1))
    nose = 0.30 * np.exp(-np.square(u / 0.22) - np.square((v - 0.45) / 0.32))
    return dome + nose - 0.6


def project(points: Floats, pose: Pose, face_to_image: Floats) -> Floats:
    """Project points of the face (N, 2), face units, into the image (N, 2), px: turn of the head, then the affine (2, 3)."""
    yaw, pitch, roll = np.deg2rad([pose.yaw_deg, pose.pitch_deg, pose.roll_deg])
    depth = _depth(points[:, 0], points[:, 1])
    turned = np.stack([points[:, 0] * np.cos(yaw) + depth * np.sin(yaw), points[:, 1] * np.cos(pitch) - depth * np.sin(pitch)])
    rotation = np.array([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]])
    placed: Floats = (face_to_image[:, :2] @ (rotation @ turned) + face_to_image[:, 2:]).T
    return placed


def warp(rgb: Canvas, coverage: Canvas, background: Image, pose: Pose, face_to_image: Floats, px_per_unit: float) -> Image:
    """Warp a painted face over a background, RGB uint8 (H, W, 3); inverts :func:`project` by fixed-point iteration."""
    height, width = background.shape[:2]
    step = max(2, min(8, width // 32))
    yaw, pitch, roll = np.deg2rad([pose.yaw_deg, pose.pitch_deg, pose.roll_deg])
    rotation = np.array([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]])
    back = np.linalg.inv(face_to_image[:, :2] @ rotation)
    column, row = (
        np.arange(-1, -(-extent // step) + 1) * step + (step - 1) / 2 - face_to_image[axis, 2]
        for axis, extent in ((0, width), (1, height))
    )
    x = back[0, 0] * column[None] + back[0, 1] * row[:, None]
    y = back[1, 0] * column[None] + back[1, 1] * row[:, None]
    u, v = x, y
    for _ in range(4):
        depth = _depth(u, v)
        u, v = (x - depth * np.sin(yaw)) / np.cos(yaw), (y + depth * np.sin(pitch)) / np.cos(pitch)
    maps: list[Any] = []
    for part, origin in ((u, LEFT_U), (v, TOP_V)):
        coarse = ((part - origin) * px_per_unit - 0.5).astype(np.float32)
        fine = cv2.resize(coarse, None, fx=step, fy=step, interpolation=cv2.INTER_LINEAR)
        maps.append(fine[step : step + height, step : step + width])
    figure = cv2.remap(_bytes(rgb), maps[0], maps[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    share = cv2.remap(coverage, maps[0], maps[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return cv2.blendLinear(figure, background, share, 1 - share)


def _bytes(rgb: Canvas) -> Image:
    return cv2.convertScaleAbs(np.maximum(rgb, 0, out=rgb), alpha=255.0)
