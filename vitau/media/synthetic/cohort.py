"""Cohorts of synthetic people with a known palsy: one clip each, a manifest to ingest, and the truth."""

import csv
import json
import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import av
import numpy as np

from vitau.media.manifests import SYNTHETIC_SOURCE
from vitau.media.synthetic.drawing import FRAME_SIZE, draw_frame
from vitau.media.synthetic.people import TASKS, Person, draw_person
from vitau.media.synthetic.values import Image, Style
from vitau.processes import init_worker
from vitau.schema import AUS, Cohort
from vitau.store.atomic import atomic_path, remove_partials, write_atomic

LOOK_VERSION: Final = 2
"""Version of the drawings: a folder does not mix people of two versions."""
COLUMNS: Final = ("subject", "clip", "cohort", "source", "consent", "licence", "mirrored")
"""Columns of the written manifest."""
TRUTH_COLUMNS: Final = ("subject", "palsied", "side", "severity", *AUS)


def write_cohort(
    out: Path,
    num_subjects: int,
    seed: int,
    *,
    frames_per_task: int = 2,
    fps: int = 6,
    style: Style = Style.PAINTED,
    num_processes: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write a cohort: one H.264 clip per person, ``manifest.csv`` to ingest, and ``truth.csv``.

    Existing clips are kept: an interrupted call is continued, and a larger cohort of the same seed extends a smaller one.

    Args:
        out: folder; clips are written to ``out/clips``, the parameters of the drawing to ``out/cohort.json``.
        num_subjects: number of people; half of them have a palsy.
        seed: identifies the population.
        frames_per_task: frames from onset to apex of each of the 7 tasks.
        fps: frames per second of the clips.
        style: of the drawings; the people and their movements are the same in every style.
        num_processes: number of worker processes; by default one per processor.
        progress: called with (existing clips, all clips), first with the kept clips, then after every clip.

    Returns:
        The manifest's path.

    Raises:
        ValueError: a negative seed, fewer than one subject or frame per task, or a folder with other people.
    """
    if seed < 0:
        raise ValueError(f"the seed is {seed}; give 0 or more")
    if num_subjects < 1 or frames_per_task < 1:
        raise ValueError(
            f"{num_subjects} subjects with {frames_per_task} frames per task make no cohort; give at least 1 of each"
        )
    out = Path(out)
    (out / "clips").mkdir(parents=True, exist_ok=True)
    people = [draw_person(seed, index) for index in range(num_subjects)]
    drawn_with: dict[str, Any] = {
        "synthetic": True,
        "drawing": LOOK_VERSION,
        "seed": seed,
        "frames_per_task": frames_per_task,
        "fps": fps,
    }
    if style is not Style.PAINTED:  # folders of earlier versions do not name the default
        drawn_with["style"] = style.value
    _claim(out, drawn_with | {"first_subject": people[0].subject})
    remove_partials(out / "clips")
    wanted = [person for person in people if not _clip_path(out, person).exists()]
    report = progress or (lambda _done, _all: None)
    report(num_subjects - len(wanted), num_subjects)
    written = _write_clips(out, wanted, frames_per_task, fps, style, num_processes or os.cpu_count() or 1)
    for done, _ in enumerate(written, start=num_subjects - len(wanted) + 1):
        report(done, num_subjects)
    _write_rows(out / "truth.csv", TRUTH_COLUMNS, (_truth_row(person) for person in people))
    manifest = out / "manifest.csv"
    _write_rows(manifest, COLUMNS, (_manifest_row(out, person) for person in people))
    return manifest


def _claim(out: Path, drawn_with: dict[str, Any]) -> None:
    """Raise ValueError if the folder holds another population; a manifest lists only one."""
    note = out / "cohort.json"
    if not note.exists():
        write_atomic(note, json.dumps(drawn_with, indent=1) + "\n")
    existing = json.loads(note.read_text(encoding="utf-8"))
    if existing != drawn_with:
        raise ValueError(f"{out} holds people drawn with {existing}, not with {drawn_with}; give another folder")


def _write_clips(
    out: Path, people: list[Person], frames_per_task: int, fps: int, style: Style, num_processes: int
) -> Iterator[None]:
    if num_processes == 1 or len(people) < 3:
        for person in people:
            write_clip(_clip_path(out, person), person, frames_per_task, fps, style)
            yield
        return
    with ProcessPoolExecutor(num_processes, mp_context=multiprocessing.get_context("spawn"), initializer=init_worker) as pool:
        waiting = [pool.submit(write_clip, _clip_path(out, person), person, frames_per_task, fps, style) for person in people]
        for ready in as_completed(waiting):
            ready.result()
            yield


def write_clip(path: Path, person: Person, frames_per_task: int = 2, fps: int = 6, style: Style = Style.PAINTED) -> None:
    """Write one person's clip, 640 × 480 H.264, all tasks from onset to apex, by an atomic rename."""
    encode_clip(path, draw_clip(person, frames_per_task, style), fps)


def encode_clip(path: Path, images: Iterable[Image], fps: int, *, size: tuple[int, int] = FRAME_SIZE, crf: int = 18) -> None:
    """Write images (H, W, 3) uint8 RGB as H.264, by an atomic rename; a larger ``crf`` loses more in compression."""
    with atomic_path(path) as partial, av.open(partial, "w") as container:
        container.metadata["comment"] = "synthetic: a drawn person, no recording of anybody"
        options = {"crf": str(crf), "preset": "veryfast", "threads": "1"}
        stream = container.add_stream("libx264", rate=Fraction(fps), options=options)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        for image in images:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


def draw_clip(person: Person, frames_per_task: int = 2, style: Style = Style.PAINTED) -> Iterator[Image]:
    """Draw the frames of a clip, RGB uint8, task by task from onset to apex."""
    rng = np.random.default_rng([person.seed, person.index, 4])
    for task in TASKS:
        for number in range(frames_per_task):
            amount = (number + 1) / frames_per_task + rng.uniform(-0.1, 0.0)
            yield draw_frame(person, task, float(amount), rng, style=style).image


def _clip_path(out: Path, person: Person) -> Path:
    return out / "clips" / f"{person.subject}.mp4"


def _manifest_row(out: Path, person: Person) -> tuple[Any, ...]:
    cohort = Cohort.PALSY if person.palsied else Cohort.CONTROL
    clip = _clip_path(out, person).relative_to(out).as_posix()
    return (person.subject, clip, cohort.value, SYNTHETIC_SOURCE, "not needed: a drawn person", "Apache-2.0", "false")


def _truth_row(person: Person) -> tuple[Any, ...]:
    side = "" if person.side is None else person.side.value
    return (person.subject, int(person.palsied), side, f"{person.severity:.3f}", *(int(au in person.affected) for au in AUS))


def _write_rows(path: Path, columns: tuple[str, ...], rows: Iterator[tuple[Any, ...]]) -> None:
    with atomic_path(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
