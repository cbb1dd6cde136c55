"""Overlays: explanations and heatmaps over a face, as small JPEGs."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from vitau.asymmetry.explaining.places import place_regions, squares
from vitau.evaluation.explanations.results import FUSED, GRADCAM, MIRROR_OCCLUSION
from vitau.schema import AU, AUS
from vitau.scoring.explanations.explain import EXPLAIN
from vitau.scoring.explanations.fused import fused_maps, movement_places
from vitau.scoring.gradcam import cam
from vitau.scoring.predict import Predictor

SIZE: Final = 192
"""Side of an overlay, px."""
QUALITY: Final = 82
FACE: Final = "face"
MIRROR: Final = "mirror"
RECOGNITION: Final = "recognition"
REGIONS: Final = "regions"
CONTRIBUTIONS: Final = "contributions"
PICTURES: Final[Mapping[str, str]] = {CONTRIBUTIONS: FUSED, MIRROR: MIRROR_OCCLUSION, RECOGNITION: GRADCAM}
"""The explanations of recognition by the names of their overlays; the first is shown first."""
OUTLINE: Final = 0.5
"""Share of its own maximum at which a heatmap is outlined."""
MOST_CONTRIBUTIONS: Final = 6
"""Regions whose contributions of movement are outlined: the largest ones."""
LEAST_CONTRIBUTION: Final = 0.05
"""Smaller log-odds are not outlined."""
_FAINTEST: Final = 0.3
"""Opacity of an outline whose region contributes next to nothing."""
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


def draw_overlays(
    predictor: Predictor,
    crop_NHWC: Image,
    analysed_N: NDArray[np.bool_],
    *,
    landmarks_NL2: NDArray[Any] | None = None,
    movement_F: NDArray[Any] | None = None,
) -> list[dict[str, bytes]]:
    """Draw the overlays of N crops (N, S, S, 3) uint8 RGB.

    Args:
        predictor: the model.
        crop_NHWC: the crops.
        analysed_N: whose regions were analyzed.
        landmarks_NL2: dlib's landmarks of the crops, (N, 68, 2) px, for the picture of the whole score.
        movement_F: features of the person in the crops; ``None`` if the networks answer alone.

    Returns:
        JPEGs by name, per crop: ``face``, and the explanations of "palsied", ``mirror`` by mirror occlusion and ``recognition``
        by Grad-CAM. Where the score contains movement, ``contributions`` explains the whole score. Analyzed crops also have
        ``regions`` and ``AU1`` … ``AU26``. ``regions`` has the outlines of the affected regions' heatmaps, each in its color.
        ``AU1`` … ``AU26`` show the Grad-CAM of each region's score.
    """
    if not len(crop_NHWC):
        return []
    input_NCHW = predictor.to_input(crop_NHWC, predictor.recognition)
    drawn = [{FACE: to_jpeg(shrink(crop))} for crop in crop_NHWC]
    if landmarks_NL2 is not None and movement_F is not None:
        for pictures, image in zip(drawn, _contributions(predictor, crop_NHWC, landmarks_NL2, movement_F), strict=True):
            pictures[CONTRIBUTIONS] = to_jpeg(image)
    for name in (MIRROR, RECOGNITION):
        map_NHW = EXPLAIN[PICTURES[name]](predictor.recognition, input_NCHW).cpu().numpy()
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


def _contributions(
    predictor: Predictor, crop_NHWC: Image, landmarks_NL2: NDArray[Any], movement_F: NDArray[Any]
) -> Iterator[Image]:
    """Yield the explanation of the whole score on each crop, with outlines of the regions whose movement contributes to it."""
    fusion, calibration = predictor.recognition_fusion, predictor.rule.calibration
    if fusion is None:
        return
    moved_NF = np.broadcast_to(movement_F, (len(crop_NHWC), len(movement_F)))
    input_NCHW = predictor.to_input(crop_NHWC, predictor.recognition)
    map_NHW = fused_maps(predictor.recognition, fusion, input_NCHW, landmarks_NL2, moved_NF).float().cpu().numpy()
    side, added = movement_places(fusion, movement_F)
    scale = 1.0 if calibration is None else calibration.scale
    for crop, map_HW, landmarks_L2 in zip(crop_NHWC, map_NHW, landmarks_NL2, strict=True):
        places = {place: (*squares(landmarks_L2, side)[place], scale * log_odds) for place, log_odds in added.items()}
        yield contributions_overlay(crop, map_HW, places)


def contributions_overlay(
    crop: Image, map_HW: NDArray[np.float32], places: Mapping[str, tuple[NDArray[Any], float, float]]
) -> Image:
    """Outline the regions whose movement adds to a score on the map of the whole score, the stronger the more it adds.

    Args:
        crop: (S, S, 3) uint8 RGB.
        map_HW: of the whole score, at least 0.
        places: middle (2,) and half the side of each place, px of the crop, and its log-odds.
    """
    if map_HW.max() <= 0:
        return captioned(shrink(crop), NO_EVIDENCE)
    image, to_overlay = cam_overlay(crop, map_HW), SIZE / len(crop)
    sums: dict[AU, float] = {}
    for place, (_, _, log_odds) in places.items():
        sums[place_regions()[place]] = sums.get(place_regions()[place], 0.0) + log_odds
    shown = [au for au in sorted(sums, key=lambda au: -sums[au]) if sums[au] >= LEAST_CONTRIBUTION][:MOST_CONTRIBUTIONS]
    for au in reversed(shown):
        inside = np.zeros((SIZE, SIZE), np.uint8)
        for place, (middle_2, half, log_odds) in places.items():
            if place_regions()[place] is au and log_odds > 0:
                x, y, radius = (round(float(value) * to_overlay) for value in (*middle_2, half))
                cv2.circle(inside, (x, y), radius, 1, -1)
        contours, _ = cv2.findContours(inside, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        outlined, strength = image.copy(), sums[au] / sums[shown[0]]
        cv2.drawContours(outlined, contours, -1, (20, 20, 20), 4, cv2.LINE_AA)
        cv2.drawContours(outlined, contours, -1, COLORS[au], 2, cv2.LINE_AA)
        opacity = _FAINTEST + (1 - _FAINTEST) * strength
        image = np.asarray(cv2.addWeighted(outlined, opacity, image, 1 - opacity, 0), dtype=np.uint8)
    return _with_legend(image, {au: f"{au} {sums[au]:+.1f}" for au in shown}, 3) if shown else image


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
    return _with_legend(image, {au: au.value for au, affected in zip(AUS, affected_A, strict=True) if affected}, 4)


def captioned(image: Image, text: str) -> Image:
    """Write a line of text on a dark strip at the bottom of an overlay."""
    shaded = _with_strip(image, 20)
    cv2.putText(shaded, text, (8, SIZE - 6), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (255, 255, 255), 1, cv2.LINE_AA)
    return shaded


def _with_legend(image: Image, regions: Mapping[AU, str], per_line: int) -> Image:
    """Name the colors of regions on a dark strip in the given words."""
    num_lines, width = -(-len(regions) // per_line), (SIZE - 4) // per_line
    size = 0.34 if per_line > 3 else 0.3
    shaded = _with_strip(image, 13 * num_lines + 3)
    for index, (au, words) in enumerate(regions.items()):
        x, y = 4 + width * (index % per_line), SIZE - 5 - 13 * (num_lines - 1 - index // per_line)
        cv2.rectangle(shaded, (x, y - 8), (x + 7, y - 1), COLORS[au], -1)
        cv2.putText(shaded, words, (x + 10, y), cv2.FONT_HERSHEY_SIMPLEX, size, (255, 255, 255), 1, cv2.LINE_AA)
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
