"""Overlays: Grad-CAM maps and heatmaps over a face, as small JPEGs."""

from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from vitau.schema import AUS
from vitau.scoring.gradcam import gradcam
from vitau.scoring.predict import Predictor

SIZE: Final = 192
"""Side of an overlay, px."""
QUALITY: Final = 82
FACE: Final = "face"
RECOGNITION: Final = "recognition"
REGIONS: Final = "regions"
AFFECTED: Final = (214, 62, 20)
"""Color of a heatmap above 0, RGB."""
SPARED: Final = (28, 108, 200)
"""Color of a heatmap below 0, RGB."""

Image = NDArray[np.uint8]


def draw_overlays(predictor: Predictor, crop_NHWC: Image, analysed_N: NDArray[np.bool_]) -> list[dict[str, bytes]]:
    """Draw the overlays of N crops (N, S, S, 3) uint8 RGB.

    Returns:
        JPEGs by name, per crop: ``face``, and ``recognition`` with the Grad-CAM of "palsied". Analyzed crops also have
        ``regions`` and ``AU1`` … ``AU26``. ``regions`` shows the strongest of the 8 heatmaps at each point, orange for affected
        and blue for spared. ``AU1`` … ``AU26`` show the Grad-CAM of each region's score.
    """
    if not len(crop_NHWC):
        return []
    palsied_N1HW = gradcam(predictor.recognition, predictor.to_input(crop_NHWC, predictor.recognition), [1]).cpu().numpy()
    drawn = [
        {FACE: to_jpeg(shrink(crop)), RECOGNITION: to_jpeg(cam_overlay(crop, map_HW))}
        for crop, (map_HW,) in zip(crop_NHWC, palsied_N1HW, strict=True)
    ]
    rows = np.flatnonzero(analysed_N)
    if predictor.regions is None or not len(rows):
        return drawn
    chosen = crop_NHWC[rows]
    heatmap_NAHW = predictor.heatmaps(chosen).cpu().numpy()
    cam_NAHW = gradcam(predictor.regions, predictor.to_input(chosen, predictor.regions)).cpu().numpy()
    for row, crop, heatmap_AHW, cam_AHW in zip(rows, chosen, heatmap_NAHW, cam_NAHW, strict=True):
        drawn[row][REGIONS] = to_jpeg(heatmap_overlay(crop, heatmap_AHW))
        drawn[row] |= {au.value: to_jpeg(cam_overlay(crop, cam_HW)) for au, cam_HW in zip(AUS, cam_AHW, strict=True)}
    return drawn


def shrink(crop: Image) -> Image:
    """Resize a crop to the size of an overlay."""
    return np.asarray(cv2.resize(crop, (SIZE, SIZE), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def cam_overlay(crop: Image, cam_HW: NDArray[np.float32]) -> Image:
    """Blend a map in [0, 1] over a crop; where it is 0, the face is unchanged."""
    level = (np.clip(_scaled(cam_HW), 0, 1) * 255).astype(np.uint8)
    color = cv2.cvtColor(cv2.applyColorMap(level, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)
    return _blend(shrink(crop), color, 0.75 * level[..., None] / 255)


def heatmap_overlay(crop: Image, heatmap_AHW: NDArray[np.float32]) -> Image:
    """Blend the strongest of 8 heatmaps (8, h, w) at each point over a crop, orange above 0 and blue below."""
    clamped_AHW = np.clip(heatmap_AHW, -1, 1)
    strongest = np.take_along_axis(clamped_AHW, np.abs(clamped_AHW).argmax(0)[None], axis=0)[0]
    value = _scaled(strongest)[..., None]
    color = np.where(value > 0, np.array(AFFECTED), np.array(SPARED))
    return _blend(shrink(crop), color, 0.75 * np.abs(value))


def to_jpeg(image: Image) -> bytes:
    """Encode an image (H, W, 3) uint8 RGB as JPEG."""
    written, encoded = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    if not written:
        raise ValueError(f"an image of shape {image.shape} cannot be written as JPEG")
    return bytes(encoded.tobytes())


def evenly_spaced(count: int, wanted: int) -> list[int]:
    """Return up to ``wanted`` positions, evenly spaced over ``count`` items, in order."""
    return sorted({round(position) for position in np.linspace(0, count - 1, min(count, wanted))}) if count else []


def _scaled(map_HW: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(cv2.resize(map_HW.astype(np.float32), (SIZE, SIZE), interpolation=cv2.INTER_LINEAR))


def _blend(face: Image, color: NDArray[Any], alpha: NDArray[np.float64]) -> Image:
    return np.clip(face * (1 - alpha) + color * alpha, 0, 255).astype(np.uint8)
