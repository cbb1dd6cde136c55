"""Key frames: the frames of a person that a page shows."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labeling.sampling.landmark_shapes import unit_shapes, upright
from vitau.schema import NUM_LANDMARKS

# quality columns of the frame table that matter to a reader; with this sign, larger is better
_BETTER = {"sharpness": 1.0, "detector_score": 1.0, "yaw_deg": -1.0, "pitch_deg": -1.0}


def choose_key_frames(
    crop_landmarks: NDArray[np.floating[Any]],
    quality: Mapping[str, NDArray[np.floating[Any]]],
    count: int = 8,
    *,
    named: Sequence[int] = (),
) -> list[int]:
    """Choose the frames of one person to show: rest, the strongest frame of each facial task, then the most different frames.

    With ``named``, the frames that measures found come first, in their order. Otherwise rest is the frame nearest to the median
    shape. A facial task (``_task_measures``, in their order) is shown at its strongest
    frame, if that is an outlier among the person's frames. The other frames come from farthest-point sampling (Gonzalez, 1985)
    over the landmark shapes, centered and scaled to unit size. The worst third by ``quality`` is used only if too few frames
    remain.

    Args:
        crop_landmarks: (N, 136) px of the crop, x0, y0, x1, y1, …; rows that are not finite are never chosen.
        quality: columns of the frame table by name, each (N,); missing columns are ignored.
        count: largest number of frames.
        named: the frames that show rest and the facial tasks best, if they are known.
    """
    shapes = np.asarray(crop_landmarks, dtype=np.float64).reshape(-1, NUM_LANDMARKS, 2)
    candidates = np.flatnonzero(np.isfinite(shapes).all(axis=(1, 2)))
    first = [index for index in named if index in candidates][:count]
    if not len(candidates):
        return []
    ranks = _quality_ranks(quality, candidates)
    good = ranks >= min(np.quantile(ranks, 1 / 3), np.sort(ranks)[-count:][0])
    candidates = candidates[good | np.isin(candidates, first)]
    unit = unit_shapes(shapes[candidates])
    chosen = [int(np.flatnonzero(candidates == index)[0]) for index in first]
    if not chosen:
        chosen = [int(np.argmin(np.linalg.norm(unit - np.median(unit, axis=0), axis=1)))]
        for measure in _task_measures(shapes[candidates]).values():
            chosen += [index for index in _outliers(measure) if index not in chosen][:1]
    chosen = chosen[: min(count, len(candidates))]
    nearest = np.linalg.norm(unit[:, None] - unit[None, chosen], axis=2).min(axis=1)
    while len(chosen) < min(count, len(candidates)):
        nearest[chosen] = -1.0
        chosen.append(int(np.argmax(nearest)))
        nearest = np.minimum(nearest, np.linalg.norm(unit - unit[chosen[-1]], axis=1))
    return [int(candidates[index]) for index in chosen]


def _task_measures(shapes: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Measure each facial task, (N,) by task, from (N, 68, 2) landmarks, in interocular distances.

    Both sides are averaged, so that the movement of the healthy side suffices.
    """
    points = upright(shapes)
    x, y = points[..., 0], points[..., 1]

    def height(*landmarks: int) -> NDArray[np.float64]:
        return -y[:, list(landmarks)].mean(axis=1)

    width = x[:, 54] - x[:, 48]
    return {
        "brow raise": height(*range(17, 27)),
        "eye closure": height(40, 41, 46, 47) - height(37, 38, 43, 44),
        "snarl": height(31, 35) + height(49, 50, 52, 53) - height(20, 21, 22, 23),  # wings and lip up, brows down
        "smile": width,
        "pucker": -width,
        "jaw opening": height(61, 62, 63) - height(65, 66, 67),
    }


def _outliers(measure: NDArray[np.float64]) -> list[int]:
    """Return the frames whose ``measure`` is far above the person's median, the strongest first.

    The limit is 2.5 standard deviations, at least 0.03, three times the error of the landmarks. The standard deviation is
    estimated as 1.4826 times the median absolute deviation, on which the facial tasks have little effect.
    """
    above = measure - np.median(measure)
    limit = max(2.5 * 1.4826 * float(np.median(np.abs(above))), 0.03)
    return [int(index) for index in np.argsort(-above, kind="stable") if above[index] > limit]


def _quality_ranks(quality: Mapping[str, NDArray[np.floating[Any]]], candidates: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return the sum over quality columns of each candidate's rank, 0 (worst) to 1 (best); ties have equal ranks."""
    ranks = np.zeros(len(candidates))
    for name, sign in _BETTER.items():
        if name in quality:
            values = np.asarray(quality[name], dtype=np.float64)[candidates]
            values = sign * (np.abs(values) if sign < 0 else values)  # a head turned to the left is as bad as one to the right
            levels, rank = np.unique(np.nan_to_num(values, nan=-np.inf), return_inverse=True)
            ranks += rank / max(len(levels) - 1, 1)
    return ranks
