"""FKA + GAN-style: 29 ratios and angles of landmarks, classified by a small network.

S. Naganjaneyulu, N. SrinivasaRao, S. Sessa and others, *Efficient composite model to detect facial paralysis using generative
adversarial network and facial key points analysis*, Research Square preprint rs-4111256, 2024. The 29 measures follow G. S.
Parra-Dominguez, R. E. Sanchez-Yanez, C. H. Garcia-Capulin, Healthcare 10(4), 2022, whose exact list we do not copy.

The authors': a generative network raises the resolution before landmarks are found; 29 measures; a multilayer perceptron. Ours:
no weights of such a network exist here, and its stand-in is bicubic enlargement. That moves no landmark, so those of the
snapshot are used as they are. Our own 29 measures in upright coordinates; two hidden layers of 64 and 32. A super-resolution
network may be brought by preparing the snapshot with it.

Axes: N frames, L landmarks, M measures.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from vitau.baselines.fitting import FrameMethod, Settings
from vitau.baselines.method import Budget
from vitau.measures.geometry import upright
from vitau.training.tasks import Batch

NUM_MEASURES: Final = 29
_LARGEST_RATIO: Final = 10.0
_SMALLEST: Final = 1e-3
_IMAGE_PX: Final = 16
_RIGHT_BROW, _LEFT_BROW = slice(17, 22), slice(22, 27)
_RIGHT_EYE, _LEFT_EYE = slice(36, 42), slice(42, 48)
_RIGHT_MOUTH, _LEFT_MOUTH = (51, 50, 49, 48, 59, 58, 57), (51, 52, 53, 54, 55, 56, 57)
_LEVEL_PAIRS: Final = ((17, 26), (21, 22), (19, 24), (39, 42), (36, 45), (31, 35), (48, 54))
"""Pairs of points whose line is level in a symmetric face."""
_UPRIGHT_PAIRS: Final = ((27, 33), (51, 57))
"""Pairs of points whose line is vertical in a symmetric face."""
_DISTANCES: Final = (
    *(((17, 21), (26, 22)), ((21, 39), (22, 42)), ((17, 36), (26, 45)), ((36, 39), (45, 42)), ((37, 41), (44, 46))),
    *(((38, 40), (43, 47)), ((31, 33), (35, 33)), ((31, 39), (35, 42)), ((48, 51), (54, 51)), ((48, 57), (54, 57))),
    *(((48, 36), (54, 45)),),
)
"""Pairs of distances of the person's right and left side whose ratio is a measure."""


def fka_gan() -> FrameMethod:
    """Return the method."""
    return FrameMethod(
        name="fka-gan",
        title="FKA+GAN-style, bicubic",
        task="palsy",
        image_px=_IMAGE_PX,  # the image is not used
        build=_build,
        objective=lambda network, batch: functional.cross_entropy(network(_measures(batch)), batch.palsied_B.long()),
        read=lambda network, batch: network(_measures(batch)).softmax(1)[:, 1],
        settings=Settings(lr=3e-3, weight_decay=1e-3, own_lr=True),
    )


def asymmetry_measures(points_NL2: NDArray[Any]) -> NDArray[np.float64]:
    """Compute 29 measures (N, 29) of asymmetry from landmarks (N, 68, 2).

    In this order, with ratios as of :func:`ratio`:

    * 7 angles of lines that are level in a symmetric face and 2 of lines that are vertical, degrees from there;
    * the difference of the slopes of the brows, degrees;
    * 11 ratios of distances;
    * ratios of the heights of brow and of the brow's peak over the eye, and of the gap between the lids;
    * ratios of the areas and of the perimeters of the eyes, then of the halves of the mouth;
    * the difference of the eyes' height to width.
    """
    face_NL2 = upright(points_NL2)
    x_NL, y_NL = face_NL2[..., 0], face_NL2[..., 1]
    angles = [_from_level(face_NL2, *pair) for pair in _LEVEL_PAIRS]
    angles += [90 - _from_level(face_NL2, *pair) for pair in _UPRIGHT_PAIRS]
    slopes = np.degrees(np.arctan2(y_NL[:, 21] - y_NL[:, 17], x_NL[:, 21] - x_NL[:, 17]))
    mirrored_slopes = np.degrees(np.arctan2(y_NL[:, 22] - y_NL[:, 26], x_NL[:, 26] - x_NL[:, 22]))
    eyes = [y_NL[:, _RIGHT_EYE].mean(1), y_NL[:, _LEFT_EYE].mean(1)]
    brows = [eyes[0] - y_NL[:, _RIGHT_BROW].mean(1), eyes[1] - y_NL[:, _LEFT_BROW].mean(1)]
    peaks = [eyes[0] - y_NL[:, 19], eyes[1] - y_NL[:, 24]]
    gaps = [y_NL[:, low].mean(1) - y_NL[:, high].mean(1) for low, high in (([40, 41], [37, 38]), ([46, 47], [43, 44]))]
    widths = [_distance(face_NL2, 36, 39), _distance(face_NL2, 42, 45)]
    outlines = [[*range(36, 42)], [*range(42, 48)], _RIGHT_MOUTH, _LEFT_MOUTH]
    areas = [_area(face_NL2, outline) for outline in outlines]
    perimeters = [_perimeter(face_NL2, outline) for outline in outlines]
    shapes = [gap / np.maximum(width, _SMALLEST) for gap, width in zip(gaps, widths, strict=True)]
    ratios = [ratio(_distance(face_NL2, *right), _distance(face_NL2, *left)) for right, left in _DISTANCES]
    ratios += [ratio(*pair) for pair in (brows, peaks, gaps, areas[:2], perimeters[:2], areas[2:], perimeters[2:])]
    return np.stack([*angles, np.abs(slopes - mirrored_slopes), *ratios, np.abs(shapes[0] - shapes[1])], 1)


def ratio(right_N: NDArray[np.float64], left_N: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return max(l/r, r/l), at least 1 and at most 10; lengths below a thousandth of the eye distance count as that."""
    right_N, left_N = np.maximum(right_N, _SMALLEST), np.maximum(left_N, _SMALLEST)
    larger_N: NDArray[np.float64] = np.minimum(np.maximum(right_N / left_N, left_N / right_N), _LARGEST_RATIO)
    return larger_N


def _distance(face_NL2: NDArray[np.float64], first: int, second: int) -> NDArray[np.float64]:
    distance_N: NDArray[np.float64] = np.linalg.norm(face_NL2[:, first] - face_NL2[:, second], axis=1)
    return distance_N


def _from_level(face_NL2: NDArray[np.float64], first: int, second: int) -> NDArray[np.float64]:
    across_N2 = np.abs(face_NL2[:, second] - face_NL2[:, first])
    angle_N: NDArray[np.float64] = np.degrees(np.arctan2(across_N2[:, 1], across_N2[:, 0]))
    return angle_N


def _area(face_NL2: NDArray[np.float64], outline: Sequence[int]) -> NDArray[np.float64]:
    point_NP2 = face_NL2[:, list(outline)]
    next_NP2 = np.roll(point_NP2, -1, axis=1)
    twice_N: NDArray[np.float64] = (point_NP2[..., 0] * next_NP2[..., 1] - point_NP2[..., 1] * next_NP2[..., 0]).sum(1)
    return np.abs(twice_N) / 2


def _perimeter(face_NL2: NDArray[np.float64], outline: Sequence[int]) -> NDArray[np.float64]:
    point_NP2 = face_NL2[:, list(outline)]
    length_N: NDArray[np.float64] = np.linalg.norm(np.roll(point_NP2, -1, axis=1) - point_NP2, axis=2).sum(1)
    return length_N


def _build(_budget: Budget, _image_px: int) -> nn.Module:
    hidden = [nn.Linear(NUM_MEASURES, 64), nn.ReLU(), nn.Dropout(0.1), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 2)]
    return nn.Sequential(nn.BatchNorm1d(NUM_MEASURES), *hidden)


def _measures(batch: Batch) -> Tensor:
    measure_BM = asymmetry_measures(batch.landmarks_BL2.cpu().numpy())
    return torch.from_numpy(measure_BM).float().to(batch.landmarks_BL2.device)
