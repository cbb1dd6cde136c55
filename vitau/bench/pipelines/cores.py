"""Benchmark of the cores: `vitau score` and `vitau measure` of many clips with two processes beside one."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from vitau.bench.ingest import RATE_FPS, write_drawn
from vitau.bench.measure import Case, Result, Watch, compare, rate
from vitau.bench.pipelines.score import write_model
from vitau.errors import BenchError
from vitau.measures.landmarks.choice import open_backend
from vitau.measures.reporting.folder import measure_into
from vitau.measures.sources import list_sources
from vitau.media.inputs import RecordingOptions
from vitau.media.synthetic.cohort import write_cohort
from vitau.scoring.batch import score_inputs
from vitau.scoring.predict import Predictor

SEED: Final = 1
AT_LEAST: Final = 1.7
COMMANDS: Final = ("score", "measure")
PROBED: Final = 6
"""Clips whose rate is the floor."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Inputs:
    """Folders of the clips, of some of them for the floor, of a long clip, of the model, and of all outputs."""

    clips: Path
    few: Path
    long: Path
    model: Path
    outputs: Path


def bench(
    rounds: int = 1,
    watch: Watch = lambda *_: None,
    *,
    num_clips: int = 60,
    num_people: int = 10,
    long_s: float | None = 120.0,
    commands: Sequence[str] = COMMANDS,
) -> Result:
    """Run commands over short drawn clips, and over a long one, with two processes and with one, as a user starts them.

    Two processes share the long clip by time. The time includes the start of Python, all imports and the models. The floor is
    the rate of two processes that need no start: twice the rate of this one, which has loaded everything. The files of both
    sides are compared byte by byte.

    Args:
        rounds: paired measurements, without one to warm up, because every command is a new process.
        watch: called after every round.
        num_clips: clips of 14 frames.
        num_people: drawn people; their clips are repeated under other names.
        long_s: duration of the long clip, which has a case for each command too; ``None`` leaves it out.
        commands: some of ``COMMANDS``, one case each.

    Raises:
        BenchError: there is one core only, or a command fails.
    """
    if len(os.sched_getaffinity(0)) < 2:
        raise BenchError("two processes share one core here; take a machine, or a container, with two")
    with TemporaryDirectory() as folder:
        inputs = _write_inputs(Path(folder), num_clips, num_people)
        cases = [_case(command, inputs, num_clips, rounds, watch) for command in commands]
        if long_s is not None:
            num_frames = write_drawn(inputs.long / "long.mp4", long_s)
            cases += [_long_case(command, inputs, num_frames, rounds, watch) for command in commands]
    return Result(
        name="cores",
        compared="a command over many clips, and over a long one, with two processes beside one",
        difference="number of written files that are not byte-identical",
        cases=tuple(cases),
    )


def _write_inputs(folder: Path, num_clips: int, num_people: int) -> Inputs:
    clips, few, long, model, outputs = (folder / name for name in ("clips", "few", "long", "model", "outputs"))
    inputs = Inputs(clips=clips, few=few, long=long, model=model, outputs=outputs)
    write_cohort(folder / "people", min(num_people, num_clips), SEED)
    drawn = sorted((folder / "people" / "clips").iterdir())
    for path in (clips, few, long, outputs):
        path.mkdir()
    for number in range(num_clips):
        shutil.copyfile(drawn[number % len(drawn)], inputs.clips / f"{number:03d}.mp4")
    for path in sorted(inputs.clips.iterdir())[:PROBED]:
        shutil.copyfile(path, inputs.few / path.name)
    write_model(inputs.model)
    return inputs


def _case(command: str, inputs: Inputs, num_clips: int, rounds: int, watch: Watch) -> Case:
    new_folder = partial(next, (inputs.outputs / f"{command}-{number}" for number in count()))
    here = _scored_here(inputs, new_folder) if command == "score" else _measured_here(inputs, new_folder)
    here()  # loads the models
    num_few = len(list(inputs.few.iterdir()))
    return compare(
        f"`vitau {command}`, {num_clips} clips",
        partial(_run, command, inputs.clips, inputs.model, new_folder, 2),
        partial(_run, command, inputs.clips, inputs.model, new_folder, 1),
        _judge,
        amount=num_clips,
        unit="clips/s",
        rounds=rounds,
        watch=watch,
        at_least=AT_LEAST,
        floors={"two processes without a start": 2 * rate(here, num_few, 2)},
        warm=False,
    )


def _long_case(command: str, inputs: Inputs, num_frames: int, rounds: int, watch: Watch) -> Case:
    new_folder = partial(next, (inputs.outputs / f"{command}-long-{number}" for number in count()))
    return compare(
        f"`vitau {command}`, one clip of {num_frames / RATE_FPS:.0f} s",
        partial(_run, command, inputs.long, inputs.model, new_folder, 2),
        partial(_run, command, inputs.long, inputs.model, new_folder, 1),
        _judge,
        amount=num_frames / RATE_FPS,
        unit="s of the clip/s",
        rounds=rounds,
        watch=watch,
        at_least=AT_LEAST,
        warm=False,
    )


def _scored_here(inputs: Inputs, new_folder: Callable[[], Path]) -> Callable[[], object]:
    model = Predictor(inputs.model, device="cpu")
    return lambda: score_inputs(model, [inputs.few], new_folder(), model_name="model")


def _measured_here(inputs: Inputs, new_folder: Callable[[], Path]) -> Callable[[], object]:
    backend, listed = open_backend("refined"), list_sources([inputs.few], RecordingOptions())
    return lambda: measure_into(new_folder(), listed, backend)


def _run(command: str, clips: Path, model: Path, new_folder: Callable[[], Path], workers: int) -> Mapping[str, str]:
    """Run a command; return the SHA-256 of each file that it wrote, by its path in the output folder."""
    out = new_folder()
    arguments = ["vitau.cli", command, *([model] if command == "score" else []), clips, "--out", out]
    done = subprocess.run(
        [sys.executable, "-m", *map(str, arguments), "--workers", str(workers)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise BenchError(f"`vitau {command}` failed: {' '.join(done.stderr.splitlines()[-1:])}")
    written = dict(_digests(out))
    shutil.rmtree(out)
    return written


def _digests(folder: Path) -> Iterator[tuple[str, str]]:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield path.relative_to(folder).as_posix(), sha256(path.read_bytes()).hexdigest()


def _judge(mine: Mapping[str, str], theirs: Mapping[str, str]) -> Mapping[str, float]:
    names = {*mine, *theirs}
    return {"max_difference": sum(mine.get(name) != theirs.get(name) for name in names), "files": len(names)}
