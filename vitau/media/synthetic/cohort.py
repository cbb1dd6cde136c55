"""Drawn people with a known palsy: pictures of them, and whole cohorts of clips to train, test and show the system with."""

import csv
import json
import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import av
import cv2
import numpy as np
from numpy.random import Generator

from vitau.media.crops import alignment
from vitau.media.synthetic.canvas import project, warp
from vitau.media.synthetic.painting import paint
from vitau.media.synthetic.people import TASKS, Person, act, draw_person
from vitau.media.synthetic.shape import Shape, shape_face
from vitau.media.synthetic.values import Floats, Image, Pose
from vitau.processes import start_worker
from vitau.schema import AUS, Cohort
from vitau.store.atomic import atomic_path, remove_partials, write_atomic

__all__ = [
    "FRAME_SIZE",
    "TASKS",
    "Drawing",
    "Person",
    "draw_clip",
    "draw_crop",
    "draw_frame",
    "draw_landmarks",
    "draw_person",
    "write_clip",
    "write_cohort",
]

SOURCE: Final = "synthetic"
DRAWING: Final = 2
"""Version of the look: a cohort that was drawn by another one is not mixed with this one's."""

FRAME_SIZE: Final = (640, 480)
MANIFEST_COLUMNS: Final = ("subject", "clip", "cohort", "source", "consent", "licence", "mirrored")
TRUTH_COLUMNS: Final = ("subject", "palsied", "side", "severity", *AUS)
_NOISE_SD: Final = 36.0
_ALIGNMENT_SD: Final = ((slice(36, 42), 0.02), (slice(42, 48), 0.02), (slice(48, 68), 0.03))
"""How far dlib's eyes and mouth wander together from a drawing's exact ones, face units: measured, it aligns the crops."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawing:
    """A picture, RGB uint8 (H, W, 3), and where its 68 landmarks are, (68, 2) px."""

    image: Image
    landmarks: Floats


def draw_frame(
    person: Person, task: str, amount: float, rng: Generator | None = None, size: tuple[int, int] = FRAME_SIZE
) -> Drawing:
    """Draw a camera frame of a person who is ``amount`` (0–1) into a task.

    Args:
        person: from :func:`draw_person`.
        task: one of ``TASKS``.
        amount: 0 at rest, 1 at the person's full effort.
        rng: what changes from frame to frame (head, gaze, blinks, noise); by default always the same.
        size: width and height, px.

    Raises:
        ValueError: an unknown task.
    """
    rng = _checked(person, task, rng)
    camera, (width, height) = person.camera, size
    shape = shape_face(person.look, act(person, task, amount, rng))
    pose = _moved(person.pose, rng)
    scale = camera.zoom * height / FRAME_SIZE[1]
    place = np.array(camera.position) * (width / FRAME_SIZE[0], height / FRAME_SIZE[1]) + rng.normal(0, 0.03 * scale, 2)
    face_to_image = np.column_stack([np.eye(2) * scale, place])
    blur_px = camera.blur_px + float(rng.random() < 0.01) * rng.uniform(2, 4)
    image = _take(person, shape, pose, face_to_image, (width, height), blur_px, rng)
    return Drawing(image=image, landmarks=project(shape.landmarks, pose, face_to_image))


def draw_crop(person: Person, task: str, amount: float, rng: Generator, size: int = 96) -> Drawing:
    """Draw an aligned crop directly, as if a frame had been found, aligned and cut: much cheaper than doing so.

    The landmarks scatter a little before the alignment, as dlib's do; the ones returned, (68, 2) px of the crop, are exact.

    Raises:
        ValueError: an unknown task.
    """
    rng = _checked(person, task, rng)
    shape = shape_face(person.look, act(person, task, amount, rng))
    pose = _moved(person.pose, rng)
    seen = project(shape.landmarks, pose, np.eye(2, 3))
    found = seen.copy()
    for points, sd in _ALIGNMENT_SD:
        found[points] += rng.normal(0, sd, 2)
    crop_to_face = alignment(found, size)
    face_to_image = cv2.invertAffineTransform(crop_to_face)
    image = _take(person, shape, pose, face_to_image, (size, size), person.camera.blur_px, rng)
    return Drawing(image=image, landmarks=project(shape.landmarks, pose, face_to_image))


def draw_landmarks(person: Person, task: str, amount: float, rng: Generator | None = None) -> Floats:
    """The 68 landmarks of :func:`draw_frame` without painting the frame: exact, (68, 2) face units, x to the right, y down."""
    rng = _checked(person, task, rng)
    shape = shape_face(person.look, act(person, task, amount, rng))
    return project(shape.landmarks, _moved(person.pose, rng), np.eye(2, 3))


def _checked(person: Person, task: str, rng: Generator | None) -> Generator:
    if task not in TASKS:
        raise ValueError(f"no task {task!r}; there are {', '.join(TASKS)}")
    return np.random.default_rng([person.seed, person.index, 3]) if rng is None else rng


def _moved(pose: Pose, rng: Generator) -> Pose:
    yaw, pitch, roll = rng.normal(0, (2.5, 2.0, 1.5))
    return Pose(
        yaw_deg=float(np.clip(pose.yaw_deg + yaw, -14, 14)),
        pitch_deg=float(np.clip(pose.pitch_deg + pitch, -10, 10)),
        roll_deg=float(np.clip(pose.roll_deg + roll, -9, 9)),
    )


def _take(
    person: Person, shape: Shape, pose: Pose, face_to_image: Floats, size: tuple[int, int], blur_px: float, rng: Generator
) -> Image:
    """Paint, place, blur and add noise; a picture smaller than the camera's is drawn larger, then averaged down."""
    scale = float(np.hypot(*face_to_image[:, 0]))
    shrink = min(1.0, scale / person.camera.zoom)
    fine = 2 if shrink < 0.5 else 1
    if fine > 1:  # the centre of pixel 0 moves with the grid
        face_to_image = np.column_stack([face_to_image[:, :2] * fine, (face_to_image[:, 2] + 0.5) * fine - 0.5])
    large = (size[0] * fine, size[1] * fine)
    canvas_scale = scale * (1.6 if fine > 1 else 1.0)
    rgb, coverage = paint(person.look, shape, person.light, canvas_scale)
    image = warp(rgb, coverage, _room(person.camera.room, large), pose, face_to_image, canvas_scale)
    spread = blur_px * shrink * fine
    if spread > 0.25:
        image = cv2.GaussianBlur(image, (0, 0), spread)
    if fine > 1:
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    top, left = (int(rng.integers(0, 160)) for _ in range(2))
    grain = _sensor_noise(*size)[top : top + size[1], left : left + size[0]]
    share = 255 * person.camera.noise * shrink / _NOISE_SD
    return cv2.addWeighted(image, 1, grain, share, -128 * share)


@lru_cache(maxsize=4)
def _sensor_noise(width: int, height: int) -> Image:
    """More noise than a picture needs, so that each takes another window of it; 128 is no noise."""
    noise = np.random.default_rng(width).normal(128, _NOISE_SD, (height + 160, width + 160, 3))
    return np.clip(noise, 0, 255).astype(np.uint8)


@lru_cache(maxsize=4)
def _room(room: int, size: tuple[int, int]) -> Image:
    """An unsharp room: a wall with a gradient, some pictures and furniture."""
    rng = np.random.default_rng(room)
    wall, width, height = rng.uniform(0.25, 0.9) * rng.normal(1, 0.07, 3), 80, 60
    image = np.empty((height, width, 3), np.float32)
    across, down = np.linspace(-1, 1, width)[None, :, None], np.linspace(-1, 1, height)[:, None, None]
    image[:] = wall * (1 + rng.normal(0, 0.15) * across + rng.normal(0, 0.15) * down)
    for _ in range(int(rng.integers(0, 7))):
        corner, extent = rng.integers((-10, -10), (width, height)), rng.integers(4, 34, 2)
        colour = wall * rng.uniform(0.5, 1.4) * rng.normal(1, 0.12, 3)
        cv2.rectangle(
            image, corner.tolist(), (corner + extent).tolist(), colour.tolist(), thickness=int(rng.choice([-1, -1, 2]))
        )
    image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.6, 4))
    return cv2.convertScaleAbs(cv2.resize(image, size, interpolation=cv2.INTER_LINEAR), alpha=255.0)


def write_cohort(
    out: Path,
    num_subjects: int,
    seed: int,
    *,
    frames_per_task: int = 2,
    fps: int = 6,
    num_processes: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Draw a cohort: one h264 clip per person, ``manifest.csv`` to ingest and ``truth.csv`` to compare with.

    Clips that are already there are kept, so an interrupted call goes on where it stopped, and a larger cohort of the same seed
    adds people to a smaller one.

    Args:
        out: folder; the clips go to ``out/clips``, what they were drawn with to ``out/cohort.json``.
        num_subjects: people; half of them (of an even number) are palsied.
        seed: names the population.
        frames_per_task: frames from the onset to the apex of each of the 7 tasks.
        fps: frames per second of the clips.
        num_processes: how many draw at once; by default one per processor.
        progress: called with (clips there, clips in all), first with what is kept, then after each.

    Returns:
        The manifest's path.

    Raises:
        ValueError: fewer than one subject or frame per task, or a folder that holds other people.
    """
    if num_subjects < 1 or frames_per_task < 1:
        raise ValueError(
            f"{num_subjects} subjects with {frames_per_task} frames per task make no cohort; give at least 1 of each"
        )
    out = Path(out)
    (out / "clips").mkdir(parents=True, exist_ok=True)
    people = [draw_person(seed, index) for index in range(num_subjects)]
    drawn_with = {"synthetic": True, "drawing": DRAWING, "seed": seed, "frames_per_task": frames_per_task, "fps": fps}
    _claim(out, drawn_with | {"first_subject": people[0].subject})
    remove_partials(out / "clips")
    wanted = [person for person in people if not _clip_path(out, person).exists()]
    tell = progress or (lambda _done, _all: None)
    tell(num_subjects - len(wanted), num_subjects)
    written = _write_clips(out, wanted, frames_per_task, fps, num_processes or os.cpu_count() or 1)
    for done, _ in enumerate(written, start=num_subjects - len(wanted) + 1):
        tell(done, num_subjects)
    _write_rows(out / "truth.csv", TRUTH_COLUMNS, (_truth_row(person) for person in people))
    manifest = out / "manifest.csv"
    _write_rows(manifest, MANIFEST_COLUMNS, (_manifest_row(out, person) for person in people))
    return manifest


def _claim(out: Path, drawn_with: dict[str, Any]) -> None:
    """Let a folder hold one population, the first to come: a manifest lists one."""
    note = out / "cohort.json"
    if not note.exists():
        write_atomic(note, json.dumps(drawn_with, indent=1) + "\n")
    there = json.loads(note.read_text(encoding="utf-8"))
    if there != drawn_with:
        raise ValueError(f"{out} holds people drawn with {there}, not with {drawn_with}; give another folder")


def _write_clips(out: Path, people: list[Person], frames_per_task: int, fps: int, num_processes: int) -> Iterator[None]:
    if num_processes == 1 or len(people) < 3:
        for person in people:
            write_clip(_clip_path(out, person), person, frames_per_task, fps)
            yield
        return
    with ProcessPoolExecutor(num_processes, mp_context=multiprocessing.get_context("spawn"), initializer=start_worker) as pool:
        waiting = [pool.submit(write_clip, _clip_path(out, person), person, frames_per_task, fps) for person in people]
        for ready in as_completed(waiting):
            ready.result()
            yield


def write_clip(path: Path, person: Person, frames_per_task: int = 2, fps: int = 6) -> None:
    """Write one person's clip, 640 × 480 h264, all tasks from onset to apex; there is either the whole clip or none."""
    with atomic_path(path) as partial, av.open(partial, "w") as container:
        container.metadata["comment"] = "synthetic: a drawn person, no recording of anybody"
        options = {"crf": "18", "preset": "veryfast", "threads": "1"}
        stream = container.add_stream("libx264", rate=Fraction(fps), options=options)
        stream.width, stream.height = FRAME_SIZE
        stream.pix_fmt = "yuv420p"
        for image in draw_clip(person, frames_per_task):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


def draw_clip(person: Person, frames_per_task: int = 2) -> Iterator[Image]:
    """Draw the frames of a clip, RGB uint8, in the order of the tasks: from onset to apex of each."""
    rng = np.random.default_rng([person.seed, person.index, 4])
    for task in TASKS:
        for number in range(frames_per_task):
            amount = (number + 1) / frames_per_task + rng.uniform(-0.1, 0.0)
            yield draw_frame(person, task, float(amount), rng).image


def _clip_path(out: Path, person: Person) -> Path:
    return out / "clips" / f"{person.subject}.mp4"


def _manifest_row(out: Path, person: Person) -> tuple[Any, ...]:
    cohort = Cohort.PALSY if person.palsied else Cohort.CONTROL
    clip = _clip_path(out, person).relative_to(out).as_posix()
    return (person.subject, clip, cohort.value, SOURCE, "not needed: a drawn person", "Apache-2.0", "false")


def _truth_row(person: Person) -> tuple[Any, ...]:
    side = "" if person.side is None else person.side.value
    return (person.subject, int(person.palsied), side, f"{person.severity:.3f}", *(int(au in person.affected) for au in AUS))


def _write_rows(path: Path, columns: tuple[str, ...], rows: Iterator[tuple[Any, ...]]) -> None:
    with atomic_path(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
