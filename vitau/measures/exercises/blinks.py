"""Blinks: short closures of one eye or both, which say nothing about the exercise that they interrupt."""

from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vitau.measures.geometry import SIDES, Floats

BLINK_S: Final = 0.31
"""A closure of the eyes shorter than this is a blink."""
SMALLEST_CLOSURE: Final = 0.035
"""Fall of the lid gap from its level at rest, in distances between the eyes, from which an eye closes: about a quarter."""
_HALF_WAY: Final = 0.35
"""Share of the largest closure from which a neighboring frame belongs to it, and the other eye closes too."""


def find_blinks(columns: Mapping[str, Floats], levels: Mapping[str, float], time_s: Floats) -> NDArray[np.bool_]:
    """Return which frames (N,) belong to a blink.

    The eye that is closed for less time decides: an exercise closes both, as far as they close at all.

    Args:
        columns: measures of the usable frames, (N,) each.
        levels: level at rest of each measure.
        time_s: (N,), s. A step that is not forward starts another part, and no closure goes on in it. The frame of a part
            of its own, such as a photo, is no blink.
    """
    fallen_2N = np.stack([levels[f"lid_gap_{side}"] - columns[f"lid_gap_{side}"] for side in SIDES])
    steps = np.diff(time_s)
    period_s = float(np.median(steps[steps > 0])) if (steps > 0).any() else 0.0
    same_part_N = np.append(steps > 0, False)  # whether the next frame belongs to the same part
    is_blink_N = np.zeros(len(time_s), dtype=bool)
    for first, last in _closures(fallen_2N.max(axis=0), same_part_N):
        deepest_2 = fallen_2N[:, first : last + 1].max(axis=1)
        spans = [
            _span(own_N, first + int(own_N[first : last + 1].argmax()), min(SMALLEST_CLOSURE, _HALF_WAY * deepest), same_part_N)
            for own_N, deepest in zip(fallen_2N, deepest_2, strict=True)
            if deepest >= max(SMALLEST_CLOSURE, _HALF_WAY * deepest_2.max())
        ]
        start, end = min(start for start, _ in spans), max(end for _, end in spans)
        lasts_s = min(time_s[end] - time_s[start] for start, end in spans) + period_s
        is_alone = start == end and not same_part_N[end] and (start == 0 or not same_part_N[start - 1])
        if lasts_s < BLINK_S and not is_alone:
            is_blink_N[start : end + 1] = True
    return is_blink_N


def _closures(fallen_N: Floats, same_part_N: NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    """Yield the first and the last frame of each run in which an eye is closed."""
    first = 0
    while first < len(fallen_N):
        last = first
        if fallen_N[first] >= SMALLEST_CLOSURE:
            while same_part_N[last] and fallen_N[last + 1] >= SMALLEST_CLOSURE:
                last += 1
            yield first, last
        first = last + 1


def _span(fallen_N: Floats, deepest: int, limit: float, same_part_N: NDArray[np.bool_]) -> tuple[int, int]:
    """Return the first and the last frame around the deepest one in which an eye has fallen by ``limit``."""
    start = end = deepest
    while start > 0 and same_part_N[start - 1] and fallen_N[start - 1] >= limit:
        start -= 1
    while same_part_N[end] and fallen_N[end + 1] >= limit:
        end += 1
    return start, end
