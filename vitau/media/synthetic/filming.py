"""The style ``filmed``: skin with pores under a lamp and a window, a lens, and a compressing camera.

Light is mixed per channel: red reaches further into the shadow than green and blue, as in skin. Folds and features are painted
in linear light and are therefore softer than in the style ``painted``.
"""

from dataclasses import replace
from functools import lru_cache
from typing import Final

import cv2
import numpy as np

from vitau.media.synthetic.canvas import Canvas, Patch, bump, clip, empty_canvas, noise, polygon, spread
from vitau.media.synthetic.painting import paint_backdrop, paint_features, paint_hair, slopes
from vitau.media.synthetic.shape import Shape
from vitau.media.synthetic.values import SIGNS, Camera, Floats, Image, Light, Look

_GAMMA: Final = 1.7
_WRAP: Final = (0.45, 0.22, 0.16)
"""How far red, green and blue light reach around an edge."""


def film_face(look: Look, shape: Shape, light: Light, px_per_unit: float) -> tuple[Canvas, Canvas]:
    """Paint a face as :func:`vitau.media.synthetic.painting.paint` does, with other skin and other light."""
    canvas = empty_canvas(px_per_unit)
    head = polygon(shape.outline, canvas.size, px_per_unit)
    linear = replace(look, **{name: np.power(getattr(look, name), _GAMMA) for name in ("skin", "hair", "iris", "lip", "shirt")})
    coverage = paint_backdrop(canvas, linear, head)
    canvas.lay(_skin(canvas, linear, shape), head)
    _light(canvas, linear, shape, light, head)
    paint_features(canvas, linear, shape)
    paint_hair(canvas, linear, coverage, light)
    rgb = canvas.rgb
    rgb *= np.asarray(light.tint, dtype=np.float32)[::-1]
    rgb[:] = np.power(clip(rgb, 0, 4), 1 / _GAMMA)
    rgb *= 1.12 / (1 + 0.12 * rgb * rgb)  # the shoulder of a film's curve
    return rgb, coverage


def _skin(canvas: Patch, look: Look, shape: Shape) -> Canvas:
    """Return skin with zones of color, pores, spots and a beard's shadow."""
    size = canvas.rgb.shape[:2]
    pores = 1 + 0.035 * noise(size, (250, 220), look.grain // 13) + 0.05 * noise(size, (26, 22), look.grain // 17)
    spots = clip(noise(size, (70, 60), look.grain // 19) - 2.1, 0, 1) * (0.3 + 0.5 * look.freckles)
    warm = 0.9 * bump(canvas, shape.nose_u, 0.55, 0.22, 0.22)
    for side, sign in enumerate(SIGNS):
        warm += 0.8 * bump(canvas, sign * 0.62, float(shape.cheek_v[side]), 0.36, 0.30)
        warm -= 0.7 * bump(canvas, sign * 0.5, 0.13, 0.26, 0.10)
    cold = clip((canvas.v - 0.7) / 0.4, 0, 1) * clip((np.abs(canvas.u) - 0.05) / 0.3 + 4 * clip(canvas.v - 1.3, 0, 1), 0, 1)
    cold = cold * (0.05 + 0.35 * look.stubble)
    tone = pores * (1 - 0.35 * spots)
    red, green, blue = (float(part) for part in look.skin)
    return cv2.merge(
        [
            red * tone * (1.02 - 0.55 * cold),
            green * tone * (1 - 0.10 * warm - 0.42 * cold - 0.2 * spots),
            blue * tone * (0.96 - 0.13 * warm - 0.34 * cold - 0.2 * spots),
        ]
    ).astype(np.float32)


def _light(canvas: Patch, look: Look, shape: Shape, light: Light, head: Canvas) -> None:
    """Light the skin by a lamp from the other side than in ``painted``, a cool window, and a gloss on pores."""
    slope_u, slope_v = slopes(canvas, look, shape)
    steep = 1 / np.sqrt(1 + np.square(slope_u) + np.square(slope_v))
    lu, lv, lz = (float(part) for part in light.direction * (-1.3, 1.0, 0.9))
    lamp = (lz - lu * slope_u - lv * slope_v) * steep / float(np.linalg.norm((lu, lv, lz)))
    window = (0.75 + 0.6 * np.sign(lu) * slope_u + 0.25 * slope_v) * steep
    hardness = 0.55 + 0.35 * light.hardness
    parts = [
        0.34 + hardness * clip((lamp + wrap) / (1 + wrap), 0, 1.2) * warmth + 0.20 * clip(window, 0, 1) * (1 + 0.12 * number)
        for number, (wrap, warmth) in enumerate(zip(_WRAP, (1.04, 0.97, 0.90), strict=True))
    ]
    bright = cv2.merge([np.asarray(part, np.float32) for part in parts])
    hollow = 0.16 * sum(bump(canvas, sign * 0.40, -0.12, 0.26, 0.16) for sign in SIGNS)
    edge = 0.70 + 0.30 * clip(2 * spread(head, 0.14 * canvas.scale) - 0.9, 0, 1)
    bright *= ((1 - hollow) * edge)[..., None]
    half = np.array([lu, lv, lz + float(np.linalg.norm((lu, lv, lz)))])
    half /= np.linalg.norm(half)
    gloss = clip((half[2] - half[0] * slope_u - half[1] * slope_v) * steep, 0, 1) ** 28
    grain = clip(1 + 0.5 * noise(canvas.rgb.shape[:2], (230, 200), look.grain // 23), 0, 2)
    rgb = canvas.rgb
    rgb *= 1 + head[..., None] * (bright - 1)
    rgb += (0.07 * hardness * head * gloss * grain)[..., None]


@lru_cache(maxsize=4)
def film_background(seed: int, size: tuple[int, int]) -> Image:
    """Draw a background out of focus: a wall in patches, a bright window, and discs of light."""
    rng = np.random.default_rng([seed, 5])
    width, height = 160, 120
    hue = rng.uniform(0.2, 0.75) * rng.uniform(0.85, 1.15, 3)
    shades = rng.normal(0, 1, (6, 8))
    image = np.empty((height, width, 3), np.float32)
    for channel in range(3):
        patches = cv2.resize(
            (0.22 * shades + 0.05 * rng.normal(0, 1, (6, 8))).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC
        )
        image[..., channel] = hue[channel] * (1 + patches)
    left = int(rng.integers(-30, width - 20))
    cv2.rectangle(
        image,
        (left, int(rng.integers(-20, 30))),
        (left + int(rng.integers(20, 70)), int(rng.integers(40, 110))),
        (hue * rng.uniform(1.3, 2.0) * (0.92, 1.0, 1.12)).tolist(),
        -1,
    )
    for _ in range(int(rng.integers(4, 16))):
        center, radius = rng.integers((0, 0), (width, height)), int(rng.integers(2, 9))
        disc = np.zeros((height, width), np.float32)
        cv2.circle(disc, center.tolist(), radius, 1.0, -1, cv2.LINE_AA)
        image += (rng.uniform(-0.15, 0.35) * disc)[..., None] * rng.uniform(0.8, 1.1, 3).astype(np.float32)
    image = cv2.GaussianBlur(image, (0, 0), rng.uniform(1.2, 3.5))
    return cv2.convertScaleAbs(cv2.resize(clip(image, 0, 1), size, interpolation=cv2.INTER_CUBIC), alpha=255.0)


def film(image: Image, camera: Camera, shrink: float, corner: tuple[int, int]) -> Image:
    """Return an image as a lens and a phone's camera record it: fringes, dark corners, noise, sharpening, compression."""
    height, width = image.shape[:2]
    rng = np.random.default_rng([camera.background, *corner])
    strength = 0.0015 + 0.0025 * ((camera.background >> 3) % 101) / 100
    red, green, blue = cv2.split(image)
    image = cv2.merge([_scaled(red, 1 + strength * shrink), green, _scaled(blue, 1 - strength * shrink)])
    light = image.astype(np.float32) * _corners(width, height)
    shot = rng.standard_normal((height, width), np.float32)
    blotches = cv2.resize(rng.standard_normal((max(height // 7, 2), max(width // 7, 2), 3), np.float32), (width, height))
    amount = (255 * (0.4 + camera.noise * 26) * 0.022) * shrink
    light += (shot * amount * np.sqrt(light[..., 1] / 255 + 0.06))[..., None] + 0.45 * amount * blotches
    light = 1.6 * light - 0.6 * cv2.GaussianBlur(light, (0, 0), max(1.1 * shrink, 0.5))
    quality = 45 + (camera.background >> 7) % 40
    done, encoded = cv2.imencode(".jpg", clip(light, 0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert done, "an image can be encoded"
    decoded = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
    assert decoded is not None, "an encoded image can be decoded"
    return np.asarray(decoded, np.uint8)


def _scaled(channel: Image, factor: float) -> Image:
    """Return a channel scaled around the center, by which a lens shifts colors."""
    height, width = channel.shape
    center = np.array([(width - 1) / 2, (height - 1) / 2])
    matrix = np.column_stack([np.eye(2) * factor, center * (1 - factor)])
    scaled: Image = cv2.warpAffine(channel, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return scaled


@lru_cache(maxsize=8)
def _corners(width: int, height: int) -> Floats:
    """Return how much light a lens leaves at each pixel, (H, W, 1)."""
    away = np.hypot(np.linspace(-1, 1, width)[None], np.linspace(-0.75, 0.75, height)[:, None])
    return (1 - 0.24 * np.square(away)).astype(np.float32)[..., None]
