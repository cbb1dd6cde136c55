"""A random camera for drawn patches: light, color, resolution, noise, compression."""

import math
from typing import Any

import cv2
import numpy as np
from numpy.random import Generator

from vitau.measures.landmarks.refinement.patches import PATCH_PX
from vitau.measures.landmarks.training.grid import Floats, clip
from vitau.media.crops import Image

_LUMA = np.array([0.30, 0.59, 0.11], np.float32)


def photograph(rng: Generator, rgb: Floats) -> Image:
    """Return the picture (P, P, 3) uint8 that a random camera takes of a painted patch, RGB 0–1."""
    return _take(rng, clip(_color(rng, _light(rng, rgb)), 0, 1).astype(np.float32))


def _light(rng: Generator, rgb: Floats) -> Floats:
    if rng.random() < 0.6:
        angle = rng.uniform(0, 2 * math.pi)
        y, x = np.mgrid[-1 : 1 : PATCH_PX * 1j, -1 : 1 : PATCH_PX * 1j].astype(np.float32)
        rgb = rgb * (1 + rng.normal(0, 0.22) * (math.cos(angle) * x + math.sin(angle) * y))[..., None]
    return clip(rgb * rng.uniform(0.5, 1.3) * (1 + rng.normal(0, 0.06, 3).astype(np.float32)), 0, 1.3)


def _color(rng: Generator, rgb: Floats) -> Floats:
    if rng.random() < 0.5:
        rgb = np.power(rgb, rng.uniform(0.6, 1.6))
    if rng.random() < 0.5:
        mean = rgb.mean(axis=(0, 1))
        rgb = mean + (rgb - mean) * rng.uniform(0.45, 1.5)
    choice, gray = rng.random(), (rgb @ _LUMA)[..., None]
    if choice < 0.2:
        return np.repeat(gray, 3, axis=2)
    return gray + (rgb - gray) * rng.uniform(0.2, 1.7) if choice < 0.45 else rgb


def _take(rng: Generator, rgb: Floats) -> Image:
    if rng.random() < 0.7:
        size = int(PATCH_PX * rng.uniform(0.33, 1.0))
        rgb = cv2.resize(rgb, (size, size), interpolation=cv2.INTER_AREA)
        if rng.random() < 0.6:
            rgb = cv2.GaussianBlur(rgb, (0, 0), rng.uniform(0.3, 0.9))
    else:
        rgb = cv2.GaussianBlur(rgb, (0, 0), rng.uniform(0.3, 2.0))
    rgb = rgb + rng.uniform(0, 0.03) * rng.standard_normal(rgb.shape).astype(np.float32)
    image: Image = (clip(rgb, 0, 1) * 255).astype(np.uint8)
    if rng.random() < 0.5:
        jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 95))])[1]
        decoded: Any = cv2.imdecode(jpeg, cv2.IMREAD_COLOR)
        image = decoded
    interpolation = cv2.INTER_CUBIC if rng.random() < 0.5 else cv2.INTER_LINEAR
    return cv2.resize(image, (PATCH_PX, PATCH_PX), interpolation=interpolation)
