"""The style ``sketched``: a pencil drawing on paper, from the lines of the shape and from hatching."""

import math
from functools import lru_cache
from typing import Final

import cv2
import numpy as np

from vitau.media.synthetic.canvas import LEFT_U, TOP_V, Canvas, Patch, bump, clip, empty_canvas, noise, polygon
from vitau.media.synthetic.painting import paint_backdrop, slopes
from vitau.media.synthetic.shape import Brow, Eye, Shape
from vitau.media.synthetic.values import SIGNS, Camera, Floats, Image, Light, Look

_FINE: Final = 2
"""Lines are drawn at this multiple of the resolution and averaged."""
_GRAPHITE: Final = (0.20, 0.20, 0.22)


class _Pencil:
    """Draws lines on a sheet of ink: 0 is paper, 255 black."""

    def __init__(self, shape: tuple[int, int], scale: float) -> None:
        self.ink = np.zeros((shape[0] * _FINE, shape[1] * _FINE), np.uint8)
        self._scale = scale * _FINE

    def _px(self, u: Floats, v: Floats) -> Image:
        points = np.stack([np.asarray(u, float) - LEFT_U, np.asarray(v, float) - TOP_V], axis=-1)
        px: Image = np.rint((points * self._scale - 0.5) * 16).astype(np.int32)
        return px

    def line(self, u: Floats, v: Floats, width: float, strength: float | Floats) -> None:
        """Draw a line through points, face units, with a strength of 0 to 1, or one for each point."""
        px, thick = self._px(u, v), max(1, round(width * self._scale))
        if isinstance(strength, float | int):
            self._stroke(px, strength, thick)
            return
        for first in range(0, len(px) - 1, 3):
            self._stroke(px[first : first + 4], float(strength[min(first + 1, len(px) - 1)]), thick)

    def _stroke(self, px: Image, strength: float, thick: int) -> None:
        if strength > 0.03:
            cv2.polylines(self.ink, [px], False, int(255 * min(strength, 1.0)), thick, cv2.LINE_AA, 4)

    def fill(self, u: Floats, v: Floats, strength: float, inside: Image | None = None) -> None:
        """Fill a polygon, within a mask if one is given."""
        if inside is None:
            cv2.fillPoly(self.ink, [self._px(u, v)], int(255 * strength), cv2.LINE_AA, 4)
            return
        mask = np.zeros_like(self.ink)
        cv2.fillPoly(mask, [self._px(u, v)], int(255 * strength), cv2.LINE_AA, 4)
        np.maximum(self.ink, cv2.min(mask, inside), out=self.ink)

    def erase(self, u: Floats, v: Floats) -> None:
        """Erase a polygon."""
        cv2.fillPoly(self.ink, [self._px(u, v)], 0, cv2.LINE_AA, 4)

    def mask(self, u: Floats, v: Floats) -> Image:
        """Return the mask of a polygon."""
        mask: Image = np.zeros_like(self.ink)
        cv2.fillPoly(mask, [self._px(u, v)], 255, cv2.LINE_AA, 4)
        return mask


def sketch_face(look: Look, shape: Shape, light: Light, px_per_unit: float) -> tuple[Canvas, Canvas]:
    """Draw a face in pencil, as :func:`vitau.media.synthetic.painting.paint` does in paint.

    Returns:
        The light that the pencil leaves, (H, W, 3) float32 in 0–1, and a coverage (H, W): the sheet is blank elsewhere.
    """
    canvas = empty_canvas(px_per_unit)
    size = canvas.size
    head = polygon(shape.outline, size, px_per_unit)
    figure = paint_backdrop(canvas, look, head)
    shade = _hatching(canvas, look, shape, light, head, figure)
    pencil = _Pencil(size, px_per_unit)
    _draw_body(pencil, look, shape)
    for side in (0, 1):
        _draw_forehead(pencil, shape, side)
        _draw_folds(pencil, look, shape, side)
        _draw_nose(pencil, look, shape, side)
        _draw_eye(pencil, look, shape.eyes[side], side)
        _draw_brow(pencil, look, shape.brows[side], side)
    _draw_mouth(pencil, shape)
    _draw_hair(pencil, look)
    lines = cv2.resize(pencil.ink, size[::-1], interpolation=cv2.INTER_AREA).astype(np.float32) / np.float32(255)
    pressure = clip(0.86 + 0.16 * noise(size, (90, 80), look.grain // 29), 0.3, 1)
    left = (1 - 0.92 * lines * pressure) * (1 - shade)
    rgb = np.empty((*size, 3), np.float32)
    for channel, graphite in enumerate(_GRAPHITE):
        rgb[..., channel] = graphite + (1 - graphite) * left
    sheet = np.ones(size, np.float32)
    sheet[[0, -1]] = sheet[:, [0, -1]] = 0
    return rgb, sheet


def _hatching(canvas: Patch, look: Look, shape: Shape, light: Light, head: Canvas, figure: Canvas) -> Canvas:
    """Return the ink (H, W), 0–1, of hatching in two directions: shadows of the face, the neck and the clothes."""
    slope_u, slope_v = slopes(canvas, look, shape)
    lu, lv, lz = (float(part) for part in light.direction)
    facing = (lz - lu * slope_u - lv * slope_v) / np.sqrt(1 + np.square(slope_u) + np.square(slope_v))
    dark = clip(0.95 - facing, 0, 1) * 0.95 + 0.16 * (1 - float(look.skin.mean()))
    for side, sign in enumerate(SIGNS):
        dark = dark + 0.30 * bump(canvas, sign * 0.44, -0.10, 0.30, 0.15)
        dark -= 0.10 * float(shape.cheek[side]) * bump(canvas, sign * 0.62, float(shape.cheek_v[side]), 0.26, 0.22)
    mouth = shape.mouth
    dark += 0.25 * bump(canvas, shape.nose_u, look.nose_v + 0.07, 0.22, 0.07)
    dark += 0.22 * bump(canvas, float(mouth.u[40]), float(mouth.bottom[40]) + 0.08, 0.26, 0.06)
    body = figure * (1 - head)
    tone = head * dark + body * (0.30 + 0.25 * (1 - float(look.shirt.mean())) * (canvas.v > look.chin_v + 0.4))
    wobble = 0.25 * noise(canvas.rgb.shape[:2], (9, 8), look.grain // 31)
    first = np.cos(2 * np.pi * ((canvas.u + 0.9 * canvas.v) / 0.085 + wobble))
    second = np.cos(2 * np.pi * ((canvas.u - 0.7 * canvas.v) / 0.075 + wobble))
    ink = 0.55 * clip(1.6 * (0.5 * first - 0.5 + 1.5 * tone), 0, 1) * clip(3 * tone, 0, 1)
    ink += 0.35 * clip(1.6 * (0.5 * second - 0.9 + 1.5 * tone), 0, 1)
    return clip(0.45 * ink + 0.40 * tone, 0, 0.8)


def _draw_body(pencil: _Pencil, look: Look, shape: Shape) -> None:
    """Draw the contour of the head, the jowls, ears, neck and collar."""
    outline = shape.outline
    bald = look.hairline_v <= -1.5
    long = look.hair_length > 0.25 and not bald
    for sign in SIGNS:
        v = np.linspace(look.chin_v - 0.25, 2.6, 12)
        pencil.line(sign * look.neck_half * (1 + 0.25 * np.square(clip(v - 1.2, 0, 9))), v, 0.020, 0.7)
        if not long:
            angle = np.linspace(-1.9, 1.9, 16)
            at = look.head_half + 0.02
            pencil.line(sign * (at + 0.13 * np.cos(angle)), 0.22 + 0.34 * np.sin(angle), 0.020, 0.75)
            pencil.line(sign * (at + 0.06 * np.cos(angle)), 0.20 + 0.20 * np.sin(angle), 0.012, 0.4)
    u = np.linspace(-1.9, 1.9, 40)
    v = look.chin_v + 0.42 + 0.22 * np.sqrt(clip(1 - np.square(u / 0.95), 0, 1)) + 0.5 * clip(np.abs(u) - 0.7, 0, 9) ** 1.4
    pencil.line(u, v, 0.024, 0.8)
    pencil.erase(outline[:, 0], outline[:, 1])
    jaw = outline[:65]
    pencil.line(jaw[:, 0], jaw[:, 1], 0.026, 0.85)
    if bald:
        pencil.line(outline[64:, 0], outline[64:, 1], 0.022, 0.8)


def _draw_forehead(pencil: _Pencil, shape: Shape, side: int) -> None:
    """Draw the lines of the forehead and the frown line of one side."""
    sign, (inner, outer) = SIGNS[side], (float(depth) for depth in shape.forehead[side])
    across = np.linspace(0.02, 0.95, 28)
    depth = inner * np.exp(-np.square((across - 0.22) / 0.24)) + outer * np.exp(-np.square((across - 0.68) / 0.22))
    for row, at in enumerate((-0.58, -0.73, -0.88)):
        pencil.line(sign * across, at + 0.05 * np.square(across), 0.018, (0.95 - 0.15 * row) * depth)
    v = np.linspace(-0.46, -0.16, 10)
    pencil.line(
        sign * (0.10 - 0.06 * (v + 0.3)), v, 0.020, 0.95 * float(shape.frown[side]) * np.exp(-np.square((v + 0.3) / 0.15))
    )


def _draw_folds(pencil: _Pencil, look: Look, shape: Shape, side: int) -> None:
    """Draw the nasolabial fold, the marionette line, and the edge of the jowl, of one side."""
    sign, mouth, end = SIGNS[side], shape.mouth, (0, 80)[side]
    ala_u, ala_v = (float(part) for part in shape.ala[side])
    corner_u, corner_v = abs(float(mouth.u[end])), float(mouth.top[end])
    share = np.linspace(0, 1.2, 28)
    u = sign * (ala_u + 0.07 + (corner_u + 0.13 - ala_u) * share**1.25) + shape.nose_u * 0.5
    depth = float(shape.fold_top[side]) * np.exp(-np.square((share - 0.22) / 0.34))
    depth += float(shape.fold_bottom[side]) * np.exp(-np.square((share - 0.82) / 0.30))
    pencil.line(u, ala_v - 0.12 + share * (corner_v + 0.17 - ala_v), 0.024, clip(0.85 * depth, 0, 1))
    droop = min(max(corner_v - look.mouth_v, 0.0), 0.3)
    v = np.linspace(corner_v + 0.02, corner_v + 0.28, 10)
    fade = np.exp(-np.square((v - corner_v - 0.13) / 0.12))
    pencil.line(sign * (corner_u + 0.02 + 0.10 * (v - corner_v)), v, 0.022, clip((0.25 * look.age + 2.4 * droop) * fade, 0, 1))
    chin_u, chin_v = shape.chin
    v = np.linspace(chin_v - 0.55, chin_v - 0.08, 12)
    fade = np.exp(-np.square((v - chin_v + 0.30) / 0.22))
    jowl = min(4.5 * float(shape.jowl[side]), 0.7)
    pencil.line(sign * (chin_u * sign * 0.5 + 0.42 + 0.3 * (v - chin_v + 0.35)), v, 0.022, jowl * fade)


def _draw_nose(pencil: _Pencil, look: Look, shape: Shape, side: int) -> None:
    """Draw the bridge, the ala and the nostril of one side."""
    sign, middle = SIGNS[side], shape.nose_u
    ala_u, ala_v = (float(part) for part in shape.ala[side])
    t = np.linspace(0, 1, 10)
    pencil.line(sign * (0.13 - 0.02 * t) + middle * t, -0.05 + t * (look.nose_v - 0.25), 0.014, (0.38 if side else 0.22))
    angle = np.linspace(-1.7, 1.6, 14)
    pencil.line(middle + sign * (ala_u - 0.10 + 0.11 * np.cos(angle)), ala_v + 0.115 * np.sin(angle), 0.022, 0.85)
    turn = np.linspace(0, 2 * np.pi, 16)
    wide = 0.085 * float(shape.nostril[side])
    pencil.fill(middle + sign * (0.55 * ala_u + wide * np.cos(turn)), look.nose_v + 0.005 + 0.036 * np.sin(turn), 0.9)
    t = np.linspace(0, 1, 8)
    pencil.line(middle + sign * 0.42 * ala_u * t, look.nose_v + 0.05 - 0.02 * t**2, 0.018, 0.6)


def _draw_eye(pencil: _Pencil, look: Look, eye: Eye, side: int) -> None:
    """Draw lids, lashes, crease, bag, and between open lids the iris."""
    sign = SIGNS[side]
    pencil.erase(np.concatenate([eye.u, eye.u[::-1]]), np.concatenate([eye.upper, eye.lower[::-1]]))
    if eye.open_share > 0.08:
        inside = pencil.mask(np.concatenate([eye.u, eye.u[::-1]]), np.concatenate([eye.upper, eye.lower[::-1]]))
        turn = np.linspace(0, 2 * np.pi, 24)
        for radius, strength in ((0.105, 0.45 + 0.35 * (1 - float(look.iris.mean()))), (0.05, 1.0)):
            pencil.fill(eye.iris[0] + radius * np.cos(turn), eye.iris[1] + radius * np.sin(turn), strength, inside)
    pencil.line(eye.u, eye.upper - 0.004, 0.034 + 0.012 * look.makeup, 0.95)
    pencil.line(eye.u, eye.lower, 0.014, 0.6 + 0.3 * eye.sag)
    pencil.line(eye.u[4:-3], eye.crease[4:-3], 0.016, 0.55 + 0.2 * eye.hood)
    along = np.linspace(-0.9, 0.9, 14)
    v = float(eye.lower[20]) + 0.10 + 0.05 * eye.sag - 0.06 * np.square(along)
    depth = (0.14 + 0.30 * look.age + 0.62 * eye.sag) * np.exp(-np.square(along / 0.95))
    pencil.line(sign * (look.eye_u + look.eye_half * along), v, 0.018, clip(depth, 0, 1))
    if look.age > 0.35:
        for slope in (-0.5, 0.0, 0.5):
            u = np.linspace(0.80, 0.98, 4)
            pencil.line(sign * u, 0.02 + slope * (u - 0.76), 0.012, 0.5 * look.age)


def _draw_brow(pencil: _Pencil, look: Look, brow: Brow, side: int) -> None:
    """Draw the hairs of a brow, each a short stroke that leans outward."""
    sign, strength = SIGNS[side], 0.55 + 0.4 * look.brow_ink * (1 - 0.5 * float(look.hair.mean()))
    rng = np.random.default_rng([look.grain, side])
    for t in np.linspace(0, 32, 46):
        low, lean = int(t), 0.02 + 0.05 * t / 32
        u, v, half = float(brow.u[low]), float(brow.v[low]), float(brow.half[low])
        foot, tip = rng.uniform(0.3, 1.0), rng.uniform(0.3, 1.0)
        ends = np.array([u, u + sign * lean]), np.array([v + foot * half, v - tip * half])
        pencil.line(*ends, 0.020, strength * float(rng.uniform(0.75, 1.0)))


def _draw_mouth(pencil: _Pencil, shape: Shape) -> None:
    """Draw the lips in outline with hatching, and between open lips the dark and the teeth."""
    mouth = shape.mouth
    for column in range(6, 76, 3):
        u = mouth.u[[column, column]]
        pencil.line(u, np.array([mouth.top[column], mouth.inner_top[column]]), 0.014, 0.50)
        pencil.line(
            u,
            np.array([mouth.inner_bottom[column], mouth.inner_bottom[column] * 0.4 + mouth.bottom[column] * 0.6]),
            0.012,
            0.32,
        )
    if float(np.max(mouth.inner_bottom - mouth.inner_top)) > 0.02:
        u = np.concatenate([mouth.u, mouth.u[::-1]])
        pencil.fill(u, np.concatenate([mouth.inner_top, mouth.inner_bottom[::-1]]), 0.88)
        teeth = np.minimum(mouth.inner_bottom, mouth.inner_top + 0.10 * (1 - 0.5 * np.square(np.linspace(-1, 1, len(mouth.u)))))
        middle = slice(14, 67)
        edge = np.concatenate([mouth.inner_top[middle], teeth[middle][::-1]])
        pencil.erase(np.concatenate([mouth.u[middle], mouth.u[middle][::-1]]), edge)
    pencil.line(mouth.u, mouth.top, 0.018, 0.70)
    pencil.line(mouth.u, mouth.bottom, 0.018, 0.62)
    pencil.line(mouth.u, mouth.inner_top, 0.022, 0.92)
    pencil.line(mouth.u, mouth.inner_bottom, 0.016, 0.75)
    u = np.linspace(-0.22, 0.22, 10)
    pencil.line(float(mouth.u[40]) + u, float(mouth.bottom[40]) + 0.05 - 0.3 * np.square(u), 0.020, 0.45)
    for end in (0, 80):
        pencil.line(mouth.u[[end, end]] + (-0.015, 0.015), mouth.inner_top[[end, end]], 0.035, 0.9)


def _draw_hair(pencil: _Pencil, look: Look) -> None:
    """Draw strands from the hairline to the top, and beside the face those of long hair."""
    if look.hairline_v <= -1.5:
        return
    rng = np.random.default_rng([look.grain, 7])
    darkness = 0.35 + 0.6 * (1 - float(look.hair.mean()))
    wide, high = look.head_half + look.hair_volume, look.skull_v + 0.9 * look.hair_volume
    t = np.linspace(0, 1, 8)
    for start in np.linspace(-1, 1, 84):
        angle = start * 1.35 + rng.normal(0, 0.03)
        root_u = start * look.head_half * 0.98
        root_v = look.hairline_v + 0.75 * max(abs(root_u) - 0.25, 0) ** 2 + rng.normal(0, 0.03)
        top_u, top_v = wide * math.sin(angle), -0.1 - high * math.cos(angle)
        root_v = min(root_v, 0.1)
        u = root_u + (top_u - root_u) * t + 0.05 * np.sin(np.pi * t) * rng.normal()
        v = root_v + (top_v - root_v) * t
        pencil.line(u, v, 0.026, darkness * float(rng.uniform(0.55, 1.0)))
    rim = np.linspace(-1.45, 1.45, 40)
    pencil.line(wide * np.sin(rim), -0.1 - high * np.cos(rim), 0.028, min(1.0, darkness + 0.1))
    if look.hair_length <= 0.25:
        return
    end = 2.3 * look.hair_length
    v = np.linspace(-0.75, end, 24)
    for sign in SIGNS:
        for offset in np.linspace(0.0, 1.0, 26):
            inner = look.head_half - 0.10 + 0.12 * clip(v - 0.2, 0, 9) - 0.12 * np.exp(-np.square((v + 0.5) / 0.4))
            outer = wide * np.sqrt(clip(1 - np.square(np.minimum(v + 0.1, 0) / high), 0, 1)) + 0.05 * np.sin(
                2.6 * v + look.grain % 6
            )
            u = inner + (outer - inner) * offset + 0.012 * rng.normal()
            last = len(v) - int(rng.integers(0, 5))
            pencil.line(sign * u[:last], v[:last], 0.024, darkness * float(rng.uniform(0.45, 1.0)))


@lru_cache(maxsize=4)
def blank_sheet(_seed: int, size: tuple[int, int]) -> Image:
    """Return an image of a blank sheet, on which nothing is drawn."""
    return np.full((size[1], size[0], 3), 255, np.uint8)


def put_on_paper(image: Image, camera: Camera, _shrink: float, corner: tuple[int, int]) -> Image:
    """Return the drawing on paper with fibers and uneven light."""
    height, width = image.shape[:2]
    paper = _paper(camera.background, (width, height), corner)
    grain = np.abs(image.astype(np.float32) * paper)
    sheet: Image = clip(grain, 0, 255).astype(np.uint8)
    return sheet


def _paper(seed: int, size: tuple[int, int], corner: tuple[int, int]) -> Canvas:
    """Return the light that paper reflects, (H, W, 3) float32: the sheet's own color, fibers, and light from one side."""
    rng = np.random.default_rng([seed, 6])
    width, height = size
    color = rng.uniform(0.80, 0.97) * np.array([1.0, rng.uniform(0.95, 1.0), rng.uniform(0.84, 1.0)])
    slant = (
        1 + rng.normal(0, 0.05) * np.linspace(-1, 1, width)[None] + rng.normal(0, 0.05) * np.linspace(-1, 1, height)[:, None]
    )
    fibers = 0.022 * noise((height, width), (height, width), seed % 64007 + 251 * corner[0] + corner[1])
    return ((slant + fibers)[..., None] * color).astype(np.float32)
