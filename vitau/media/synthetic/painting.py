"""Painting of a face: a shape in face units becomes skin, shaded folds, features and hair."""

import cv2
import numpy as np
from numpy.typing import NDArray

from vitau.media.synthetic.canvas import (
    BOTTOM_V,
    LEFT_U,
    RIGHT_U,
    TOP_V,
    Canvas,
    Patch,
    bump,
    clip,
    empty_canvas,
    noise,
    polygon,
    spread,
)
from vitau.media.synthetic.features import (
    paint_brow,
    paint_eye,
    paint_folds,
    paint_forehead,
    paint_mouth,
    paint_nose,
    paint_orbit,
)
from vitau.media.synthetic.shape import Shape
from vitau.media.synthetic.values import SIGNS, Light, Look


def paint(look: Look, shape: Shape, light: Light, px_per_unit: float) -> tuple[Canvas, Canvas]:
    """Paint a face with hair, neck and shoulders on a canvas from (LEFT_U, TOP_V) to (RIGHT_U, BOTTOM_V).

    Returns:
        RGB (H, W, 3) float32 in 0–1 and the coverage (H, W) float32 in 0–1; pixel (i, j) is at
        (LEFT_U + (j + ½) / px_per_unit, TOP_V + (i + ½) / px_per_unit).
    """
    canvas = empty_canvas(px_per_unit)
    head = polygon(shape.outline, canvas.size, px_per_unit)
    coverage = paint_backdrop(canvas, look, head)
    skin = _skin(canvas, look, shape)
    canvas.lay(skin, head)
    _shade(canvas, look, shape, light, head)
    paint_features(canvas, look, shape)
    paint_hair(canvas, look, coverage, light)
    rgb = canvas.rgb
    rgb *= np.asarray(light.tint, dtype=np.float32)
    peak = np.maximum(np.maximum(rgb[..., 0], rgb[..., 1]), rgb[..., 2])
    rgb *= (1 - 0.6 * np.maximum(1 - 0.75 / np.maximum(peak, 0.75), 0))[..., None]  # compress highlights and keep their hue
    return rgb, coverage


def paint_features(canvas: Patch, look: Look, shape: Shape) -> None:
    """Paint folds, nose, eyes, brows and mouth over the skin."""
    for side in (0, 1):
        paint_forehead(canvas, look, shape, side)
        paint_orbit(canvas, look, shape.eyes[side], side)
        paint_folds(canvas, look, shape, side)
        paint_nose(canvas, look, shape, side)
        paint_eye(canvas, look, shape.eyes[side], side)
        paint_brow(canvas, look, shape.brows[side], side)
    paint_mouth(canvas, look, shape.mouth)


def paint_backdrop(canvas: Patch, look: Look, head: Canvas) -> Canvas:
    """Paint the hair behind the head, neck, shirt and ears; return the coverage of the whole figure."""
    hairy = look.hairline_v > -1.5
    canvas.rgb[:] = look.hair * 0.55 if hairy else look.skin * 0.7
    covered = head.copy()
    if hairy:
        top = canvas.window(LEFT_U, TOP_V, RIGHT_U, 0.1)
        covered[top.rows] = np.maximum(covered[top.rows], cap(top, look))
        if look.hair_length > 0.25:
            fall = canvas.window(LEFT_U, 0.0, RIGHT_U, BOTTOM_V)
            covered[fall.rows] = np.maximum(covered[fall.rows], fall.soft(fall_edge(look, fall.v) - np.abs(fall.u)))
    throat = canvas.window(-1.5, 0.6, 1.5, BOTTOM_V)
    neck = throat.soft(look.neck_half * (1 + 0.25 * np.square(clip(throat.v - 1.2, 0, 9))) - np.abs(throat.u))
    throat.lay(look.skin * 0.80, neck)
    covered[throat.rows, throat.columns] = np.maximum(covered[throat.rows, throat.columns], neck)
    body = canvas.window(LEFT_U, look.chin_v + 0.3, RIGHT_U, BOTTOM_V)
    collar = look.chin_v + 0.42 + 0.22 * np.sqrt(clip(1 - np.square(body.u / 0.95), 0, 1))
    shirt = body.soft(body.v - collar - 0.5 * clip(np.abs(body.u) - 0.7, 0, 9) ** 1.4)
    body.lay(look.shirt, shirt)
    covered[body.rows] = np.maximum(covered[body.rows], shirt)
    for sign in SIGNS if look.hair_length <= 0.25 or not hairy else ():
        at = sign * (look.head_half + 0.02)
        patch = canvas.window(at - 0.16, -0.15, at + 0.16, 0.6)
        ear = patch.soft(0.12 * (1 - np.hypot((patch.u - at) / 0.13, (patch.v - 0.22) / 0.34)))
        patch.lay(look.skin * (0.9 - 0.3 * np.exp(-np.square((patch.v - 0.2) / 0.2)))[..., None], ear)
        covered[patch.rows, patch.columns] = np.maximum(covered[patch.rows, patch.columns], ear)
    below = canvas.window(LEFT_U, 0.8, RIGHT_U, BOTTOM_V)
    shadow = np.roll(spread(head, 0.16 * canvas.scale), round(0.14 * canvas.scale), axis=0)
    below.darken(0.45 * shadow[below.rows])
    return covered


def cap(patch: Patch, look: Look) -> Canvas:
    """Return the coverage of the top of the head with its hair."""
    volume = look.hair_volume
    return patch.soft(
        0.6 * (1 - np.hypot(patch.u / (look.head_half + volume), (patch.v + 0.1) / (look.skull_v + 0.9 * volume)))
    )


def _skin(canvas: Patch, look: Look, shape: Shape) -> Canvas:
    size = canvas.rgb.shape[:2]
    tone = 1 + 0.022 * noise(size, (14, 12), look.grain) + 0.014 * noise(size, (150, 130), look.grain // 7)
    if look.freckles > 0.05:
        tone -= 0.22 * look.freckles * clip(noise(size, (110, 95), look.grain // 3) - 1.5, 0, 1)
    if look.stubble > 0.05:
        around = clip((np.abs(canvas.u) - 0.1) / 0.3 + 9 * clip(canvas.v - 0.75, 0, 1), 0, 1)
        beard = clip((canvas.v - 0.62) / 0.35, 0, 1) * around
        tone -= 0.32 * look.stubble * beard * (1 + 0.5 * noise(size, (240, 210), look.grain))
    flush = 0.8 * bump(canvas, shape.nose_u, 0.5, 0.2, 0.2)
    for side, sign in enumerate(SIGNS):
        flush += bump(canvas, sign * 0.6, float(shape.cheek_v[side]), 0.28, 0.26)
    cool = tone * (1 - 0.075 * flush)
    red, green, blue = (float(part) for part in look.skin)
    return cv2.merge([red * tone, green * cool, blue * cool])


def relief_of(look: Look, shape: Shape) -> NDArray[np.float64]:
    """Return the relief of the face: (K, 5) of height, u, v, width, height along v."""
    nose, mouth, chin = shape.nose_u, shape.mouth, shape.chin
    rows = [
        (0.20 * look.nose_height, nose * 0.4, 0.12, 0.13, 0.40),
        (0.26 * look.nose_height, nose, look.nose_v - 0.18, 0.17, 0.17),
        (0.10, 0.0, -0.75, 0.70, 0.35),
        (0.09, 0.0, -0.38, 0.75, 0.14),
        (0.10, float(mouth.u[40]), float(mouth.top[40]) - 0.06, 0.42, 0.20),
        (-0.07, float(mouth.u[40]), float(mouth.bottom[40]) + 0.07, 0.28, 0.06),
        (0.15, chin[0], chin[1] - 0.22, 0.26, 0.17),
        (-0.035, nose + 0.3 * (float(mouth.u[mouth.bow]) - nose), look.nose_v + 0.14, 0.05, 0.10),
    ]
    for side, sign in enumerate(SIGNS):
        eye, ala, cheek_v = shape.eyes[side], shape.ala[side], float(shape.cheek_v[side])
        middle, ends = float(eye.lower[20]), (0, 80)
        rows += [
            (-0.13, sign * 0.42, -0.10, 0.26, 0.17),
            (0.055, sign * look.eye_u, middle - 0.05, 0.20, 0.12),
            (0.24 * float(shape.cheek[side]), sign * 0.64, cheek_v, 0.30, 0.24),
            (0.10 * float(ala[0]) / look.nose_half, nose + sign * float(ala[0]) * 0.78, float(ala[1]), 0.085, 0.09),
            (-0.06, sign * 0.72, 1.02, 0.16, 0.28),
            (0.9 * float(shape.jowl[side]), sign * 0.62 + chin[0] * 0.5, chin[1] - 0.38, 0.16, 0.13),
            (0.035, float(mouth.u[ends[side]]) + sign * 0.08, float(mouth.top[ends[side]]), 0.07, 0.10),
        ]
    return np.array(rows)


def slopes(canvas: Patch, look: Look, shape: Shape) -> tuple[Canvas, Canvas]:
    """Return the slopes of the relief along both axes, (H, W): products of Gaussians, so both are matrix products."""
    relief = relief_of(look, shape)
    height, at_u, at_v, width_u, width_v = relief.T.astype(np.float32)[..., None]
    u, v = canvas.u, canvas.v.T
    along_u, along_v = np.exp(-np.square((u - at_u) / width_u)), np.exp(-np.square((v - at_v) / width_v))
    slope_u = (height * along_v).T @ (-2 * (u - at_u) / np.square(width_u) * along_u) - 0.62 * u
    slope_v = (height * (-2 * (v - at_v) / np.square(width_v)) * along_v).T @ along_u - 0.30 * (canvas.v - 0.1)
    return slope_u, slope_v


def _shade(canvas: Patch, look: Look, shape: Shape, light: Light, head: Canvas) -> None:
    """Shade the skin by the slope of the relief."""
    slope_u, slope_v = slopes(canvas, look, shape)
    lu, lv, lz = (float(part) for part in light.direction)
    facing = (lz - lu * slope_u - lv * slope_v) / np.sqrt(1 + np.square(slope_u) + np.square(slope_v))
    bright = 1 + light.hardness * 0.62 * (clip(facing, -0.3, 1.2) - 0.82)
    rim = spread(head, 0.10 * canvas.scale)
    bright *= 0.72 + 0.28 * clip(2 * rim - 0.9, 0, 1)
    gloss = clip(facing - 0.93, 0, 1) * light.hardness * 0.45
    rgb = canvas.rgb
    rgb *= (1 + head * (bright - 1))[..., None]
    rgb += (head * gloss)[..., None]


def fall_edge(look: Look, v: Canvas) -> Canvas:
    """Return half the width of long hair at each height: wavy, with a round end."""
    end = 2.3 * look.hair_length
    rounded = np.sqrt(clip((end - v) / 0.5, 0, 1))
    return (look.head_half + look.hair_volume) * (1 + 0.05 * np.sin(2.6 * v + look.grain % 6) + 0.04 * v) * rounded - 2 * (
        v > end
    )


def paint_hair(canvas: Patch, look: Look, coverage: Canvas, light: Light) -> None:
    """Paint the hair over the forehead and temples, with its strands."""
    if look.hairline_v <= -1.5:
        return
    long = look.hair_length > 0.25
    patch = canvas.window(LEFT_U, TOP_V, RIGHT_U, 2.3 * look.hair_length if long else 0.25)
    u, v = patch.u, patch.v
    size = patch.rgb.shape[:2]
    ragged = 0.05 * noise(size, (3, 40), look.grain)
    line = look.hairline_v + 0.75 * np.square(clip(np.abs(u) - 0.25, 0, 9)) + ragged + 0.06 * np.sin(3 * u + look.grain % 5)
    inside = cap(patch, look)
    mask = clip((line - v) * 9 + 0.5, 0, 1) * inside * (v < 0.25)
    if long:
        inner = look.head_half - 0.10 + 0.12 * clip(v - 0.2, 0, 9) - 0.12 * np.exp(-np.square((v + 0.5) / 0.4)) + 0.4 * ragged
        sides = clip((np.abs(u) - inner) * 12 + 0.5, 0, 1) * patch.soft(np.where(v > 0, fall_edge(look, v), 9) - np.abs(u))
        mask = np.maximum(mask, sides * np.where(v < 0.1, inside, 1) * (v > -1.0))
    gloss = 0.1 * light.hardness * float(-light.direction[1]) * np.exp(-np.square((v + 1.3) / 0.35))
    strands = 1 + 0.22 * noise(size, (6, 200), look.grain // 11) + gloss
    patch.lay(look.hair.astype(np.float32) * clip(strands, 0.4, 1.7)[..., None], mask)
    coverage[patch.rows] = np.maximum(coverage[patch.rows], mask)
