"""Overlays: explanations and heatmaps over a face, as small JPEGs."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from vitau.evaluation.explanations.results import GRADCAM, MIRROR_OCCLUSION
from vitau.schema import AU, AUS
from vitau.scoring.explanations.explain import EXPLAIN
from vitau.scoring.gradcam import cam
from vitau.scoring.predict import Predictor

SIZE: Final = 192
"""Side of an overlay, px."""
QUALITY: Final = 82
FACE: Final = "face"
MIRROR: Final = "mirror"
RECOGNITION: Final = "recognition"
REGIONS: Final = "regions"
PICTURES: Final[Mapping[str, str]] = {MIRROR: MIRROR_OCCLUSION, RECOGNITION: GRADCAM}
"""The explanations of recognition by the names of their overlays; the first is shown first."""
OUTLINE: Final = 0.5
"""Share of its own maximum at which a heatmap is outlined."""
LEAST_AREA: Final = 100.0
"""Smaller outlines, in px², are left out: they are ripples of the interpolation."""
COLORS: Final[Mapping[AU, tuple[int, int, int]]] = dict(
    zip(
        AUS,
        [
            *((255, 225, 25), (0, 200, 255), (255, 130, 0), (60, 220, 90)),
            *((240, 60, 230), (255, 60, 60), (80, 110, 255), (255, 255, 255)),
        ],
        strict=True,
    )
)
"""Colors of the outlines of the regions, RGB."""
NO_EVIDENCE: Final = "no evidence found"
NO_REGION: Final = "no region affected"

Image = NDArray[np.uint8]


def draw_overlays(predictor: Predictor, crop_NHWC: Image, analysed_N: NDArray[np.bool_]) -> list[dict[str, bytes]]:
    """Draw the overlays of N crops (N, S, S, 3) uint8 RGB.

    Returns:
        JPEGs by name, per crop: ``face``, and the explanations of "palsied", ``mirror`` by mirror occlusion and ``recognition``
        by Grad-CAM. Analyzed crops also have ``regions`` and ``AU1`` … ``AU26``. ``regions`` has the outlines of the affected
        regions' heatmaps, each in its color. ``AU1`` … ``AU26`` show the Grad-CAM of each region's score.
    """
    if not len(crop_NHWC):
        return []
    input_NCHW = predictor.to_input(crop_NHWC, predictor.recognition)
    drawn = [{FACE: to_jpeg(shrink(crop))} for crop in crop_NHWC]
    for name, explanation in PICTURES.items():
        map_NHW = EXPLAIN[explanation](predictor.recognition, input_NCHW).cpu().numpy()
        for pictures, crop, map_HW in zip(drawn, crop_NHWC, map_NHW, strict=True):
            pictures[name] = to_jpeg(cam_overlay(crop, map_HW))
    rows = np.flatnonzero(analysed_N)
    if predictor.regions is None or not len(rows):
        return drawn
    chosen = crop_NHWC[rows]
    heatmap_NAHW = predictor.heatmaps(chosen)
    affected_NA = predictor.regions.scores(heatmap_NAHW).float().cpu().numpy() > predictor.region_threshold_A
    cam_NAHW = cam(predictor.regions, predictor.to_input(chosen, predictor.regions)).cpu().numpy()
    for row, crop, heatmap_AHW, affected_A, cam_AHW in zip(
        rows, chosen, heatmap_NAHW.float().cpu().numpy(), affected_NA, cam_NAHW, strict=True
    ):
        drawn[row][REGIONS] = to_jpeg(heatmap_overlay(crop, heatmap_AHW, affected_A))
        drawn[row] |= {au.value: to_jpeg(cam_overlay(crop, cam_HW)) for au, cam_HW in zip(AUS, cam_AHW, strict=True)}
    return drawn


def shrink(crop: Image) -> Image:
    """Resize a crop to the size of an overlay."""
    return np.asarray(cv2.resize(crop, (SIZE, SIZE), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def cam_overlay(crop: Image, map_HW: NDArray[np.float32]) -> Image:
    """Blend a map (h, w), at least 0 and scaled by its maximum, over a crop; a map of zeros says that no evidence was found."""
    peak = float(map_HW.max())
    if peak <= 0:
        return captioned(shrink(crop), NO_EVIDENCE)
    level = (np.clip(_scaled(map_HW / peak), 0, 1) * 255).astype(np.uint8)
    color = cv2.cvtColor(cv2.applyColorMap(level, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)
    return _blend(shrink(crop), color, 0.75 * level[..., None] / 255)


def heatmap_overlay(crop: Image, heatmap_AHW: NDArray[np.float32], affected_A: NDArray[np.bool_]) -> Image:
    """Outline the heatmaps (8, h, w) of the affected regions on a crop, each in its color, with a legend."""
    image = shrink(crop)
    if not affected_A.any():
        return captioned(image, NO_REGION)
    for au, heatmap_HW, affected in zip(AUS, heatmap_AHW, affected_A, strict=True):
        map_HW = _scaled(np.clip(heatmap_HW, 0, 1), cv2.INTER_CUBIC)
        if affected and map_HW.max() > 0:
            inside = (map_HW >= OUTLINE * map_HW.max()).astype(np.uint8)
            found, _ = cv2.findContours(inside, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
            contours = [contour for contour in found if cv2.contourArea(contour) >= LEAST_AREA]
            cv2.drawContours(image, contours, -1, (20, 20, 20), 3, cv2.LINE_AA)
            cv2.drawContours(image, contours, -1, COLORS[au], 1, cv2.LINE_AA)
    return _with_legend(image, [au for au, affected in zip(AUS, affected_A, strict=True) if affected])


def captioned(image: Image, text: str) -> Image:
    """Write a line of text on a dark strip at the bottom of an overlay."""
    shaded = _with_strip(image, 20)
    cv2.putText(shaded, text, (8, SIZE - 6), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (255, 255, 255), 1, cv2.LINE_AA)
    return shaded


def _with_legend(image: Image, regions: Sequence[AU]) -> Image:
    """Name the colors of regions on a dark strip, four in a line."""
    num_lines = -(-len(regions) // 4)
    shaded = _with_strip(image, 13 * num_lines + 3)
    for index, au in enumerate(regions):
        x, y = 4 + 47 * (index % 4), SIZE - 5 - 13 * (num_lines - 1 - index // 4)
        cv2.rectangle(shaded, (x, y - 8), (x + 7, y - 1), COLORS[au], -1)
        cv2.putText(shaded, au.value, (x + 10, y), cv2.FONT_HERSHEY_SIMPLEX, 0.34, (255, 255, 255), 1, cv2.LINE_AA)
    return shaded


def _with_strip(image: Image, height: int) -> Image:
    shaded = image.copy()
    shaded[-height:] = shaded[-height:] // 4
    return shaded


def to_jpeg(image: Image) -> bytes:
    """Encode an image (H, W, 3) uint8 RGB as JPEG."""
    written, encoded = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    if not written:
        raise ValueError(f"an image of shape {image.shape} cannot be written as JPEG")
    return bytes(encoded.tobytes())


def evenly_spaced(count: int, wanted: int) -> list[int]:
    """Return up to ``wanted`` positions, evenly spaced over ``count`` items, in order."""
    return sorted({round(position) for position in np.linspace(0, count - 1, min(count, wanted))}) if count else []


def _scaled(map_HW: NDArray[np.float32], interpolation: int = cv2.INTER_LINEAR) -> NDArray[np.float32]:
    return np.asarray(cv2.resize(map_HW.astype(np.float32), (SIZE, SIZE), interpolation=interpolation))


def _blend(face: Image, color: NDArray[Any], alpha: NDArray[np.float64]) -> Image:
    return np.clip(face * (1 - alpha) + color * alpha, 0, 255).astype(np.uint8)
