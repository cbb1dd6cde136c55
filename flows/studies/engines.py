"""Study of the engines on drawn people: one process, and Ray with one and two workers, with the same objects and times.

The models are untrained: the study measures time, not predictions.
"""

import platform
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import torch

from flows.execution.clip_worker import Ingested, clip_work, local_source
from flows.execution.executor import Engine, Executor
from flows.execution.subject_worker import SubjectWork
from vitau.bench.measure import machine
from vitau.errors import EngineError
from vitau.media.frames import FrameRecipe
from vitau.media.manifests import SourceClip, read_manifest
from vitau.media.synthetic.cohort import write_cohort
from vitau.models.checkpoint import save_model
from vitau.models.regions import RegionConfig, build_regions
from vitau.models.vit import ViTConfig, build_vit
from vitau.registry.bundle import folder_digest
from vitau.store import open_store, sha256_of
from vitau.training.recipes import RECIPES

_KEY: Final = b"names nobody: the people are drawn"
_ANYBODY: Final = 0.0  # recognition's threshold: the region model scores everyone


@dataclass(frozen=True, kw_only=True)
class Part:
    """Seconds of one kind of work: ``whole_s`` from the call, ``work_s`` from the first item's start to the last one's end.

    The difference is the start of the workers, which import torch and load the model; it does not depend on the work.
    """

    whole_s: float
    work_s: float


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run of all the work: the seconds of Ray's start and of both parts, and the digests of the objects."""

    engine: Engine
    num_workers: int
    start_s: float
    clips: Part
    people: Part
    objects: Mapping[str, str]


@dataclass(frozen=True)
class _Timed:
    """Work that returns its start and end, by the monotonic clock that all processes of a machine share."""

    work: Callable[[Any], Any]

    def __call__(self, item: Any) -> tuple[float, float, Any]:
        began = time.monotonic()
        outcome = self.work(item)
        return began, time.monotonic(), outcome


def bench(*, subjects: int, seed: int, size: str, rounds: int, tell: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """Measure all engines, Ray's in alternation; every other round begins with two workers.

    Returns:
        Rates and ratios as JSON values; a ratio is the median of the rounds'.

    Raises:
        EngineError: if Ray is not installed, or an engine wrote other objects than one process.
    """
    with tempfile.TemporaryDirectory(prefix="vitau-bench-") as name:
        folder = Path(name)
        tell(f"Drawing {subjects} people …")
        clips, _ = read_manifest(write_cohort(folder / "cohort", subjects, seed))
        model = untrained(folder / "model", size, seed)
        alone = run(Engine.LOCAL, 1, clips, model, folder / "local")
        tell(describe(alone, len(clips)))
        pairs: list[dict[int, Run]] = []
        for number in range(rounds):
            pair = {}
            for workers in (1, 2) if number % 2 == 0 else (2, 1):
                pair[workers] = run(Engine.RAY, workers, clips, model, folder / f"ray-{number}-{workers}")
                tell(describe(pair[workers], len(clips)))
                check(pair[workers], alone)
            pairs.append(pair)
    return summary(alone, pairs, clips=len(clips), seed=seed, size=size)


def run(engine: Engine, num_workers: int, clips: Sequence[SourceClip], model: Path, store: Path) -> Run:
    """Ingest all clips into a fresh store, and score everyone in it."""
    with Executor(engine, num_workers=num_workers) as executor:
        began = time.monotonic()
        list(executor.run([0], abs))  # starts Ray
        start_s = time.monotonic() - began
        outcomes, cut = timed(executor, [local_source(clip, _KEY) for clip in clips], clip_work(str(store), FrameRecipe()))
        people = [frames for outcome in outcomes if isinstance(outcome, Ingested) and (frames := usable(outcome)).num_rows]
        _, scored = timed(executor, people, SubjectWork(store_uri=str(store), model=model, digest=folder_digest(model)))
    objects = open_store(store)
    return Run(
        engine=engine,
        num_workers=num_workers,
        start_s=start_s,
        clips=cut,
        people=scored,
        objects={key: sha256_of(objects.get(key)) for key in objects.keys()},  # noqa: SIM118 - a store's method
    )


def timed(executor: Executor, items: Sequence[Any], work: Callable[[Any], Any]) -> tuple[list[Any], Part]:
    """Do the work; return the results and the time."""
    began = time.monotonic()
    done = list(executor.run(items, _Timed(work)))
    whole_s = time.monotonic() - began
    work_s = max(ended for _, ended, _ in done) - min(begun for begun, _, _ in done)
    return [outcome for _, _, outcome in done], Part(whole_s=whole_s, work_s=work_s)


def usable(ingested: Ingested) -> pa.Table:
    """List the frames of a clip that are not in quarantine, as a snapshot lists them."""
    rows = ingested.rows.filter(pc.is_null(ingested.rows["quarantine"])).select(["subject", "clip", "frame_index"])
    return rows.append_column("frames_key", pa.array([ingested.frames.key] * rows.num_rows))


def untrained(folder: Path, size: str, seed: int) -> Path:
    """Write a model folder with the initial weights of a training of this size."""
    torch.manual_seed(seed)
    palsy, regions = RECIPES[f"{size}-palsy"]().model, RECIPES[f"{size}-regions"]().model
    assert isinstance(palsy, ViTConfig)
    assert isinstance(regions, RegionConfig)
    save_model(folder / "model", build_regions(regions), regions, threshold=None, synthetic=True, ledger_offset=0)
    save_model(folder / "recognition", build_vit(palsy), palsy, threshold=_ANYBODY, synthetic=True, ledger_offset=0)
    return folder


def check(run: Run, alone: Run) -> None:
    """Compare every object with that of one process.

    Raises:
        EngineError: if an object is missing, additional or different.
    """
    if run.objects != alone.objects:
        other = sorted(set(run.objects.items()) ^ set(alone.objects.items()))
        raise EngineError(
            f"Ray with {run.num_workers} workers left {len(other)} objects that one process does not leave ({other[0][0]}): "
            "this is a bug, report it"
        )


def describe(run: Run, num_clips: int) -> str:
    """Return a line about the time of a run."""
    return (
        f"{run.engine}, {run.num_workers} worker{'s' * (run.num_workers > 1)}: {num_clips} clips in {run.clips.work_s:.1f} s, "
        f"people in {run.people.work_s:.1f} s; with the workers' start {run.clips.whole_s:.1f} s and {run.people.whole_s:.1f} s"
    )


def summary(alone: Run, pairs: Sequence[Mapping[int, Run]], *, clips: int, seed: int, size: str) -> dict[str, Any]:
    """Return the measurements as JSON values."""
    parts: dict[str, Callable[[Run], Part]] = {"clips": lambda run: run.clips, "people": lambda run: run.people}
    found = {
        name: {
            "one_process_s": round(part(alone).work_s, 1),
            "ray_1_s": round(median(part(pair[1]).work_s for pair in pairs), 1),
            "ray_2_s": round(median(part(pair[2]).work_s for pair in pairs), 1),
            "ratio_2_to_1": round(median(part(pair[1]).work_s / part(pair[2]).work_s for pair in pairs), 2),
            "ratio_with_start": round(median(part(pair[1]).whole_s / part(pair[2]).whole_s for pair in pairs), 2),
        }
        for name, part in parts.items()
    }
    return {
        "clips": clips,
        "seed": seed,
        "size": size,
        "rounds": len(pairs),
        "same_objects": len(alone.objects),
        "ray_start_s": round(median(run.start_s for pair in pairs for run in pair.values()), 1),
        "parts": found,
        "machine": {**machine(), "python": platform.python_version()},
    }
