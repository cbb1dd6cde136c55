"""Inputs of a command: the options of a recording, and the photos and clips among files and folders."""

import math
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from vitau.media.clips import PHOTO_SUFFIXES, SEQUENCE_SUFFIX, VIDEO_SUFFIXES


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordingOptions:
    """Options of a recording, as in a manifest: whether it is mirrored, its time range, and the rate of an image sequence.

    Attributes:
        mirrored: the picture is a mirror image, as of a phone's front camera.
        start_s: start of the range, s from the start of the recording. A photo has no range.
        end_s: end of the range, exclusive.
        fps: frames per second of an image sequence; without it, every image is used.

    Raises:
        ValueError: the range is empty, or a number is negative or not finite.
    """

    mirrored: bool = False
    start_s: float | None = None
    end_s: float | None = None
    fps: float | None = None

    def __post_init__(self) -> None:
        for name in ("start_s", "end_s", "fps"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name} is {value:g}; give a number from 0")
        if self.end_s is not None and self.end_s <= (self.start_s or 0.0):
            raise ValueError(
                f"the range ends at {self.end_s:g} s, not after its start at {self.start_s or 0.0:g} s; correct it"
            )
        if self.fps == 0:
            raise ValueError("fps is 0; give a positive number of frames per second")


def list_files(inputs: Iterable[Path]) -> tuple[list[Path], int]:
    """Return the photos and clips among files and folders, sorted within folders, and the number of other files in folders."""
    paths: list[Path] = []
    num_ignored = 0
    for path in inputs:
        if not path.is_dir():
            paths.append(path)
            continue
        files = [file for file in sorted(path.rglob("*")) if file.is_file() and not file.name.startswith(".")]
        media = [file for file in files if file.suffix.lower() in {*PHOTO_SUFFIXES, *VIDEO_SUFFIXES, SEQUENCE_SUFFIX}]
        paths += media
        num_ignored += len(files) - len(media)
    return paths, num_ignored


def default_workers(paths: Iterable[Path]) -> int:
    """Return the number of processes for some recordings: one per core, each with two clips at least.

    A process takes seconds to load its models, so that photos alone are for one.
    """
    num_clips = sum(path.suffix.lower() not in PHOTO_SUFFIXES for path in paths)
    return max(1, min(len(os.sched_getaffinity(0)), num_clips // 2))


def num_readers(num_processes: int, num_inputs: int, num_workers: int | None = None) -> int:
    """Return the number of processes that share a long clip, so that no core is idle.

    Args:
        num_processes: that take one input after the other.
        num_inputs: photos and clips.
        num_workers: processes for everything; by default one per core.
    """
    num_workers = num_workers or len(os.sched_getaffinity(0))
    return max(1, num_workers // max(1, min(num_processes, num_inputs)))
