"""Uncertainty of measures: standard error from frames at rest and from repetitions, and the smallest detectable change."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from vitau.measures.geometry import Floats

CONFIDENCE_Z: Final = 1.96
FEWEST_AT_REST: Final = 3
"""Frames at rest from which noise is estimated."""


def smallest_detectable_change(standard_error: float) -> float:
    """Return the smallest change between two measurements that is larger than their error: 1.96 · √2 · SEM (95 %)."""
    return float(CONFIDENCE_Z * np.sqrt(2) * standard_error)


def frame_noise(at_rest: Floats) -> float | None:
    """Return the standard deviation of a measure over frames at rest, robustly: 1.4826 · median absolute deviation.

    ``None`` with fewer than three frames, and for a measure that most of them share exactly, such as teeth that are covered:
    its noise shows only where it is not at its limit.
    """
    if len(at_rest) < FEWEST_AT_REST:
        return None
    return float(1.4826 * np.median(np.abs(at_rest - np.median(at_rest)))) or None


def median_error(noise: float, num_frames: int) -> float:
    """Return the standard error of a median of frames; its variance is π/2 times that of their mean."""
    return float(noise * np.sqrt(np.pi / (2 * num_frames)))


def excursion_error(noise: float, num_peak_frames: int, num_at_rest: int) -> float:
    """Return the standard error of an excursion from the noise of single frames: that of a mean minus a median."""
    return float(np.hypot(noise / np.sqrt(num_peak_frames), median_error(noise, num_at_rest)))


def repetition_error(values: Sequence[float]) -> float | None:
    """Return the standard error of one repetition, the standard deviation of repeated values; ``None`` with fewer than two."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def pooled(errors: Sequence[float | None]) -> float | None:
    """Return the root mean square of the errors of both sides; ``None`` if one is missing."""
    known = [error for error in errors if error is not None]
    return float(np.sqrt(np.mean(np.square(known)))) if known and len(known) == len(errors) else None
