"""Recordings of people: which frames belong together, and windows of as many frames as a network takes.

A recording is one clip, in the order of the snapshot, which sorts by clip and frame. Of crops that do not name clips, it is all
frames of one person from one source.

Axes: N frames, R recordings, W windows, T frames of a window.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitau.data.dataset import Crops

Rows = NDArray[np.int64]


def recordings(crops: Crops) -> list[Rows]:
    """Return the row numbers of each recording, in the order of the crops; recordings in the order of their first frames."""
    clip_N = crops.source_N if crops.clip_N is None else crops.clip_N
    clip_N = np.full(len(crops), "") if clip_N is None else clip_N
    rows: dict[tuple[str, str], list[int]] = {}
    for row, key in enumerate(zip(crops.subject_N.tolist(), clip_N.tolist(), strict=True)):
        rows.setdefault(key, []).append(row)
    return [np.array(own, dtype=np.int64) for own in rows.values()]


def windows(crops: Crops, length: int) -> tuple[Rows, Rows]:
    """Cut each recording into windows of consecutive frames.

    The last window ends with the last frame, and may overlap the one before. A recording with fewer frames than ``length`` is
    one window, in which frames repeat evenly.

    Args:
        crops: N frames.
        length: frames of a window.

    Returns:
        Row numbers (W, length), and the number of each window's recording (W,).
    """
    window_rows, owners = [], []
    for number, row_T in enumerate(recordings(crops)):
        if len(row_T) <= length:
            starts, positions = [0], np.floor(np.arange(length) * len(row_T) / length).astype(np.int64)
        else:
            starts, positions = [*range(0, len(row_T) - length, length), len(row_T) - length], np.arange(length)
        window_rows += [row_T[start + positions] for start in starts]
        owners += [number] * len(starts)
    return np.array(window_rows, dtype=np.int64).reshape(-1, length), np.array(owners, dtype=np.int64)


def to_frames(crops: Crops, score_W: NDArray[Any], owner_W: Rows) -> NDArray[np.float32]:
    """Return the mean score of each recording's windows for all its frames, (N,)."""
    score_N = np.zeros(len(crops), np.float32)
    for number, row_T in enumerate(recordings(crops)):
        score_N[row_T] = score_W[owner_W == number].mean()
    return score_N
