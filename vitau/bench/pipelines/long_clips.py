"""Memory and time of a clip of an hour beside a short one."""

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import pyarrow.parquet as pq

from vitau.bench.ingest import CLIP, FRAMES_PER_TASK, PERSON, SEED
from vitau.bench.measure import Case, Watch
from vitau.bench.memory import Peak, peak_of
from vitau.bench.pipelines.score import ours as score
from vitau.bench.pipelines.score import write_model
from vitau.media.frames import write_frames
from vitau.media.synthetic.cohort import draw_clip, encode_clip
from vitau.media.synthetic.people import draw_person
from vitau.scoring.predict import Predictor

FPS: Final = 1
"""Frames per second of the clips; ingest samples every frame of them."""
MORE_MB: Final = 100.0
"""The memory that the long clip may take beyond that of the shortest."""
Prepare = Callable[[Path, Path, Path], Callable[[], float]]


def long_clip_cases(folder: Path, minutes: Sequence[int], watch: Watch, at_least: float) -> list[Case]:
    """Ingest and score clips of these durations, each in a process of its own, after a run with the shortest.

    The first and the last duration are compared by memory, the last two by the time per frame.

    Args:
        folder: for the clips and a model.
        minutes: three durations, ascending.
        watch: called before every case.
        at_least: smallest ratio of the times per frame that is wanted.
    """
    clips = {number: folder / f"{number}-minutes.mp4" for number in minutes}
    for number, path in clips.items():
        write_slow(path, number * 60 * FPS)
    model = write_model(folder / "long-clips-model")
    cases = []
    for name, prepare in {"ingest": prepare_ingest, "score": prepare_score}.items():
        watch(f"{name} a clip of {minutes[-1]} minutes", 0, 1)
        peaks = {number: peak_of(prepare, clips[minutes[0]], path, model) for number, path in clips.items()}
        cases += [_memory(name, peaks, minutes), _time(name, peaks, minutes, at_least)]
        watch(f"{name} a clip of {minutes[-1]} minutes", 1, 1)
    return cases


def write_slow(path: Path, num_frames: int) -> None:
    """Write a clip of 1 frame per second that repeats the frames of a drawn person."""
    images = itertools.cycle(draw_clip(draw_person(SEED, PERSON), FRAMES_PER_TASK))
    encode_clip(path, itertools.islice(images, num_frames), FPS)


def prepare_ingest(first: Path, path: Path, _model: Path) -> Callable[[], float]:
    """Return a function that writes the frame table of ``first`` when it is called, and then that of ``path``."""
    paths, table = iter((first, path)), path.with_suffix(".parquet")

    def work() -> float:
        write_frames(CLIP, next(paths), table)
        return float(pq.read_metadata(table).num_rows)

    return work


def prepare_score(first: Path, path: Path, model: Path) -> Callable[[], float]:
    """Return a function that scores ``first`` when it is called, and then ``path``."""
    paths, loaded = iter((first, path)), Predictor(model, device="cpu")
    return lambda: score(next(paths), loaded)


def _memory(name: str, peaks: dict[int, Peak], minutes: Sequence[int]) -> Case:
    text = f"{name}, {minutes[-1] * 60 * FPS} frames of {minutes[-1]} min"
    return memory_case(text, f"{minutes[0]} min", peaks[minutes[-1]].whole_mb, peaks[minutes[0]].whole_mb)


def memory_case(name: str, few: str, many_mb: float, few_mb: float) -> Case:
    """Return the case of the peaks of much work and of little; its ratio is at least 1 within :data:`MORE_MB` more."""
    allowed = few_mb + MORE_MB
    return Case(
        name=f"{name}, memory beside {few} and {MORE_MB:.0f} MB",
        ratio=allowed / many_mb,
        ours=1024 / many_mb,
        baseline=1024 / allowed,
        unit="runs/GB",
        rounds=1,
        max_difference=0.0,
        agreement={"our_peak_mb": many_mb, "peak_mb_of_the_few": few_mb},
        at_least=1.0,
    )


def _time(name: str, peaks: dict[int, Peak], minutes: Sequence[int], at_least: float) -> Case:
    few, many = (minutes[index] * 60 * FPS for index in (-2, -1))
    return time_case(name, few, many, peaks[minutes[-2]].duration_s, peaks[minutes[-1]].duration_s, at_least)


def time_case(name: str, few: int, many: int, few_s: float, many_s: float, at_least: float) -> Case:
    """Return the case of the frames per second of much work beside those of less."""
    return Case(
        name=f"{name}, {many} frames beside {few}",
        ratio=(many / many_s) / (few / few_s),
        ours=many / many_s,
        baseline=few / few_s,
        unit="frames/s",
        rounds=1,
        max_difference=0.0,
        at_least=at_least,
    )
