"""Benchmark of streamed, sampled decoding against reading all frames and keeping every n-th."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import cv2
import numpy as np

from vitau.bench.ingest import FPS, RATE_FPS, write_drawn
from vitau.bench.measure import Result, Watch, compare
from vitau.media.clips import sample_frames
from vitau.media.crops import Image

ROUNDS: Final = 7


def bench(rounds: int = ROUNDS, watch: Watch = lambda *_: None) -> Result:
    """Decode a drawn clip of 640 × 480 px and 30 frames per second at 6 frames per second.

    The baseline reads and converts every frame with OpenCV, keeps them all, and then takes every fifth.
    """
    cv2.setNumThreads(1)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        num_sampled = write_drawn(path)
        case = compare(
            f"{num_sampled} of {num_sampled * FPS // RATE_FPS} frames",
            lambda: [frame.image for frame in sample_frames(path, RATE_FPS)],
            partial(read_all, path),
            _judge,
            amount=num_sampled,
            unit="frames/s",
            rounds=rounds,
            watch=watch,
        )
    return Result(
        name="decode",
        compared="streamed and sampled decoding beside reading every frame",
        difference="of the pixels' mean in one frame, 0 to 255, because both convert colors a little differently",
        cases=(case,),
    )


def read_all(path: Path) -> list[Image]:
    """Read all frames as RGB, and keep every n-th."""
    video, images = cv2.VideoCapture(str(path)), []
    while (read := video.read())[0]:
        images.append(cv2.cvtColor(read[1], cv2.COLOR_BGR2RGB))
    video.release()
    return images[:: FPS // RATE_FPS]


def _judge(ours: list[Image], theirs: list[Image]) -> Mapping[str, float]:
    pairs = zip(ours, theirs, strict=True)
    return {"max_difference": max(float(np.abs(a.astype(float) - b).mean()) for a, b in pairs)}
