"""Features of a face, painted on windows of the canvas: forehead, folds, nose, eyes, brows, mouth."""

import numpy as np

from vitau.media.synthetic.canvas import Patch, bump, clip, curve, noise
from vitau.media.synthetic.shape import Brow, Eye, Mouth, Shape
from vitau.media.synthetic.values import SIGNS, Look


def paint_forehead(canvas: Patch, look: Look, shape: Shape, side: int) -> None:
    """Paint the lines of the forehead over the inner and outer brow, and the frown line, of one side."""
    sign = SIGNS[side]
    inner, outer = (float(depth) for depth in shape.forehead[side])
    patch = canvas.window(min(0, sign * 1.0), -1.1, max(0, sign * 1.0), -0.42)
    across = sign * patch.u
    depth = inner * np.exp(-np.square((across - 0.22) / 0.24)) + outer * np.exp(-np.square((across - 0.68) / 0.22))
    for row, at in enumerate((-0.58, -0.73, -0.88)):
        away = patch.v - at - 0.05 * np.square(across) - 0.012 * np.sin(7 * across + row + look.grain % 7)
        patch.darken((1 - 0.15 * row) * depth * (0.26 * patch.line(away, 0.022) - 0.08 * patch.line(away - 0.04, 0.03)))
    patch = canvas.window(min(0, sign * 0.3), -0.5, max(0, sign * 0.3), -0.1)
    frown = patch.line(sign * patch.u - 0.10 + 0.06 * (patch.v + 0.3), 0.028) * np.exp(-np.square((patch.v + 0.3) / 0.13))
    patch.darken(0.34 * float(shape.frown[side]) * frown)


def paint_orbit(canvas: Patch, look: Look, eye: Eye, side: int) -> None:
    """Paint the bag under the lower lid, which sags with the cheek, and the crow's feet."""
    sign = SIGNS[side]
    patch = canvas.window(sign * 0.6 - 0.55, -0.1, sign * 0.6 + 0.55, 0.55)
    along = (sign * patch.u - look.eye_u) / look.eye_half
    away = patch.v - float(eye.lower[20]) - 0.10 - 0.05 * eye.sag + 0.06 * np.square(along)
    depth = (0.07 + 0.13 * look.age + 0.24 * eye.sag) * np.exp(-np.square(along / 0.95))
    patch.darken(depth * (patch.line(away, 0.030) - 0.4 * patch.line(away - 0.07, 0.05)))
    if look.age < 0.35:
        return
    patch = canvas.window(sign * 0.92 - 0.13, -0.2, sign * 0.92 + 0.13, 0.3)
    fan = 0.16 * look.age * np.exp(-np.square((sign * patch.u - 0.88) / 0.08))
    for slope in (-0.5, 0.0, 0.5):
        patch.darken(fan * patch.line(patch.v - 0.02 - slope * (sign * patch.u - 0.76), 0.016))


def paint_folds(canvas: Patch, look: Look, shape: Shape, side: int) -> None:
    """Paint the nasolabial fold in two halves, the marionette line, and the edge of the jowl, of one side."""
    sign, mouth, end = SIGNS[side], shape.mouth, (0, 80)[side]
    ala_u, ala_v = (float(part) for part in shape.ala[side])
    corner_u, corner_v = abs(float(mouth.u[end])), float(mouth.top[end])
    patch = canvas.window(sign * 0.6 - 0.6, 0.4, sign * 0.6 + 0.6, 2.2)
    across = sign * (patch.u - shape.nose_u * 0.5)
    share = clip((patch.v - ala_v + 0.12) / (corner_v + 0.17 - ala_v), -0.2, 1.3)
    away = across - ala_u - 0.07 - (corner_u + 0.13 - ala_u) * clip(share, 0, 2) ** 1.25
    depth = float(shape.fold_top[side]) * np.exp(-np.square((share - 0.22) / 0.34))
    depth += float(shape.fold_bottom[side]) * np.exp(-np.square((share - 0.82) / 0.30))
    patch.darken(depth * (0.30 * patch.line(away, 0.036) - 0.13 * patch.line(away - 0.085, 0.06)))
    droop = min(max(corner_v - look.mouth_v, 0.0), 0.3)
    depth = (0.08 * look.age + 0.9 * droop) * np.exp(-np.square((patch.v - corner_v - 0.13) / 0.12))
    away = across - corner_u - 0.02 - 0.10 * (patch.v - corner_v)
    patch.darken(depth * (patch.line(away, 0.045) - 0.35 * patch.line(away - 0.09, 0.06)))
    chin_u, chin_v = shape.chin
    away = across - sign * chin_u * 0.5 - 0.42 - 0.3 * (patch.v - chin_v + 0.35)
    depth = min(2.0 * float(shape.jowl[side]), 0.22) * np.exp(-np.square((patch.v - chin_v + 0.30) / 0.22))
    patch.darken(depth * (patch.line(away, 0.075) - 0.5 * patch.line(away - 0.16, 0.11)))


def paint_nose(canvas: Patch, look: Look, shape: Shape, side: int) -> None:
    """Paint the ala, the nostril and the shadow under the tip of the nose, of one side."""
    sign, middle = SIGNS[side], shape.nose_u
    patch = canvas.window(middle - 0.5, 0.3, middle + 0.5, 0.95)
    ala_u, ala_v = (float(part) for part in shape.ala[side])
    across = sign * (patch.u - middle)
    away = np.hypot((across - ala_u + 0.10) / 0.11, (patch.v - ala_v) / 0.115) - 1
    patch.darken(0.34 * patch.line(0.11 * away, 0.024) * clip((across - ala_u + 0.085) / 0.06, 0, 1))
    nostril = float(shape.nostril[side])
    hole = 0.06 * (
        1
        - np.hypot(
            (across - 0.55 * ala_u) / (0.085 * nostril),
            (patch.v - look.nose_v - 0.005 + 0.25 * (across - 0.55 * ala_u)) / 0.036,
        )
    )
    patch.lay(look.skin * 0.16, 0.92 * patch.soft(hole))
    patch.darken(
        0.20 * np.exp(-np.square((patch.v - look.nose_v - 0.045) / 0.03)) * clip(1 - across / ala_u, 0, 1) * (across > 0)
    )


def paint_eye(canvas: Patch, look: Look, eye: Eye, side: int) -> None:
    """Paint lids, crease and lashes, and between open lids the sclera, the iris and its highlight."""
    sign = SIGNS[side]
    patch = canvas.window(sign * look.eye_u - 0.42, -0.40, sign * look.eye_u + 0.42, 0.34)
    u, v = patch.u, patch.v
    upper, lower, crease = (curve(u[0], eye.u, edge) for edge in (eye.upper, eye.lower, eye.crease))
    t = (sign * u - look.eye_u) / look.eye_half
    along = clip(1.35 - np.abs(t), 0, 0.35) / 0.35
    patch.darken(0.20 * np.exp(-np.square((v - crease[None] + 0.03) / 0.085)) * clip(1.6 - np.abs(t), 0, 1))
    patch.darken(along * 0.30 * patch.line(v - crease, 0.020))
    patch.darken(eye.hood * 0.30 * np.exp(-np.square((v - upper + 0.03) / 0.05)) * clip(t - 0.1, 0, 1) * clip(1.5 - t, 0, 1))
    patch.darken(
        -0.10 * (1 - eye.open_share) * np.exp(-np.square((v - 0.5 * (upper + crease)) / 0.05)) * np.exp(-np.square(t / 0.6))
    )
    inside = patch.soft(np.minimum(v - upper, lower - v)) * (np.abs(t) < 1) * min(1.0, 6 * eye.open_share)
    ball = 0.90 - 0.16 * np.square(t) - 0.30 * np.exp(-(v - upper) / 0.035)
    white = clip(ball, 0.2, 1)[..., None] * np.array([0.97, 0.95, 0.93], np.float32) * (0.62 + 0.38 * float(look.skin.max()))
    patch.lay(white, inside)
    away = np.hypot(u - eye.iris[0], v - eye.iris[1])
    patch.lay(look.iris * 0.8 + 0.1 * (v > eye.iris[1])[..., None] * look.iris, inside * patch.soft(0.105 - away))
    patch.lay(look.iris * 0.25, inside * 0.7 * patch.line(away - 0.10, 0.014))
    patch.lay(np.array([0.03, 0.03, 0.03]), inside * patch.soft(0.045 - away))
    patch.lay(
        np.array([1.0, 1.0, 1.0]), inside * 0.85 * patch.soft(0.022 - np.hypot(u - eye.iris[0] + 0.03, v - eye.iris[1] + 0.035))
    )
    within = clip((1.12 - np.abs(t)) / 0.15, 0, 1)
    lash = patch.line(v - upper + 0.006, 0.020 + 0.012 * look.makeup) * within
    patch.lay(np.array([0.10, 0.07, 0.06]), clip(0.92 * lash, 0, 1))
    patch.darken(within * (0.34 * patch.line(v - lower, 0.016) + 0.1 * eye.sag * patch.line(v - lower - 0.02, 0.02)))
    patch.lay(
        np.array([0.80, 0.55, 0.50]) * look.skin.max(),
        within * eye.sag * 0.6 * eye.open_share * patch.line(v - lower + 0.008, 0.016),
    )


def paint_brow(canvas: Patch, look: Look, brow: Brow, side: int) -> None:
    """Paint the hairs between the edges of the brow."""
    low, high = float(np.min(brow.v)) - 0.15, float(np.max(brow.v)) + 0.15
    patch = canvas.window(float(brow.u.min()) - 0.05, low, float(brow.u.max()) + 0.05, high)
    middle, half = curve(patch.u[0], brow.u, brow.v), curve(patch.u[0], brow.u, brow.half)
    within = clip((np.abs(patch.u) - np.abs(brow.u).min() + 0.02) / 0.07, 0, 1) * clip(
        (np.abs(brow.u).max() + 0.02 - np.abs(patch.u)) / 0.07, 0, 1
    )
    grain = noise(patch.rgb.shape[:2], (60, 90), look.grain // 5 + side)
    body = clip((half - np.abs(patch.v - middle)) / np.maximum(0.8 * half, 1.0 / patch.scale) + 0.25, 0, 1)
    patch.lay(look.hair * 0.62, clip(look.brow_ink * body * within * (1 + 0.16 * grain), 0, 1))


def paint_mouth(canvas: Patch, look: Look, mouth: Mouth) -> None:
    """Paint the lips, the shadow below them, and between them the dark, teeth and tongue."""
    patch = canvas.window(
        float(mouth.u[0]) - 0.08, float(mouth.top.min()) - 0.1, float(mouth.u[-1]) + 0.08, float(mouth.bottom.max()) + 0.14
    )
    u, v = patch.u, patch.v
    top, inner_top, inner_bottom, bottom = (
        curve(u[0], mouth.u, edge)[None] for edge in (mouth.top, mouth.inner_top, mouth.inner_bottom, mouth.bottom)
    )
    t = np.interp(u[0], mouth.u, np.linspace(-1, 1, len(mouth.u)))[None].astype(np.float32)
    within = ((u > mouth.u[0]) & (u < mouth.u[-1])).astype(np.float32)
    patch.darken(0.22 * within * np.exp(-np.square((v - bottom - 0.035) / 0.04)) * (1 - np.square(t)) * (v > bottom))
    lips = patch.soft(np.minimum(v - top, bottom - v)) * within
    height = np.where(
        v < inner_top, (v - top) / np.maximum(inner_top - top, 0.02), (bottom - v) / np.maximum(bottom - inner_bottom, 0.02)
    )
    tone = np.where(v < inner_top, 0.84, 1.02) + np.where(v < inner_top, -0.02, 0.14) * np.sin(np.pi * clip(height, 0, 1))
    tone = tone * (1 + 0.03 * noise(patch.rgb.shape[:2], (8, 60), look.grain))
    patch.lay(look.lip.astype(np.float32) * clip(tone, 0, 1.25)[..., None], 0.92 * lips)
    gap = (
        patch.soft(np.minimum(v - inner_top, inner_bottom - v)) * within * clip((inner_bottom - inner_top) * patch.scale, 0, 1)
    )
    patch.lay(np.array([0.13, 0.045, 0.045]), gap)
    teeth = np.minimum(v - inner_top, inner_top + 0.10 * (1 - 0.5 * np.square(t)) - v)
    seams = 1 - 0.10 * clip(np.cos(2 * np.pi * u / 0.125), 0.8, 1)
    shine = 0.60 + 0.4 * float(look.skin.max())
    patch.lay(
        np.array([0.88, 0.86, 0.80]) * shine * (seams * (1 - 0.45 * np.square(t)))[..., None],
        gap * patch.soft(teeth) * clip((inner_bottom - inner_top) / 0.05, 0, 1),
    )
    tongue = 0.3 * (1 - np.hypot((u - mouth.u[40]) / 0.26, (v - inner_bottom[0, inner_bottom.shape[1] // 2] - 0.02) / 0.13))
    patch.lay(np.array([0.50, 0.22, 0.22]), 0.85 * gap * clip(tongue * 20, 0, 1))
    seam = patch.line(v - inner_top, 0.018) * within * clip(1.1 - np.abs(t) ** 8, 0, 1)
    patch.lay(look.lip * 0.28, 0.85 * seam)
    for end in (0, 80):
        patch.darken(0.42 * bump(patch, float(mouth.u[end]), float(mouth.inner_top[end]), 0.045, 0.035))
