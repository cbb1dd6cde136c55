"""Pictures of a synthetic person: a camera frame, an aligned crop, or the landmarks alone."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import cv2
import numpy as np
from numpy.random import Generator

from vitau.media.crops import alignment
from vitau.media.synthetic.canvas import Canvas, project, warp
from vitau.media.synthetic.filming import film, film_background, film_face
from vitau.media.synthetic.painting import paint
from vitau.media.synthetic.people import TASKS, Person, act
from vitau.media.synthetic.shape import Shape, shape_face
from vitau.media.synthetic.sketching import blank_sheet, put_on_paper, sketch_face
from vitau.media.synthetic.values import Camera, Floats, Image, Light, Look, Pose, Style

FRAME_SIZE: Final = (640, 480)
"""Width and height of a camera frame, px."""
_NOISE_SD: Final = 36.0
_ALIGNMENT_SD: Final = ((slice(36, 42), 0.02), (slice(42, 48), 0.02), (slice(48, 68), 0.03))
"""Standard deviations of dlib's eyes and mouth around the exact ones, face units: measured, these landmarks align the crops."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawing:
    """An image, RGB uint8 (H, W, 3), with its exact 68 landmarks (68, 2), px."""

    image: Image
    landmarks: Floats


def draw_frame(
    person: Person,
    task: str,
    amount: float,
    rng: Generator | None = None,
    size: tuple[int, int] = FRAME_SIZE,
    *,
    style: Style = Style.PAINTED,
) -> Drawing:
    """Draw a camera frame of a person performing a task.

    Args:
        person: from :func:`draw_person`.
        task: one of ``TASKS``.
        amount: progress of the task, from 0 at rest to 1 at the person's full effort.
        rng: source of what changes from frame to frame (head, gaze, blinks, noise); by default always the same.
        size: width and height, px.
        style: how it is drawn; the geometry and the landmarks are those of every style.

    Raises:
        ValueError: an unknown task.
    """
    rng = _checked(person, task, rng)
    camera, (width, height) = person.camera, size
    shape = shape_face(person.look, act(person, task, amount, rng))
    pose = _moved(person.pose, rng)
    scale = camera.zoom * height / FRAME_SIZE[1]
    origin = np.array(camera.position) * (width / FRAME_SIZE[0], height / FRAME_SIZE[1]) + rng.normal(0, 0.03 * scale, 2)
    face_to_image = np.column_stack([np.eye(2) * scale, origin])
    blur_px = camera.blur_px + float(rng.random() < 0.01) * rng.uniform(2, 4)
    image = _photograph(person, shape, pose, face_to_image, (width, height), blur_px, rng, style)
    return Drawing(image=image, landmarks=project(shape.landmarks, pose, face_to_image))


def draw_crop(
    person: Person, task: str, amount: float, rng: Generator, size: int = 96, *, style: Style = Style.PAINTED
) -> Drawing:
    """Draw an aligned crop directly, much cheaper than drawing a frame, detecting the face and aligning it.

    Alignment uses landmarks with noise like that of dlib. The returned landmarks, (68, 2) px of the crop, are exact.

    Raises:
        ValueError: an unknown task.
    """
    rng = _checked(person, task, rng)
    shape = shape_face(person.look, act(person, task, amount, rng))
    pose = _moved(person.pose, rng)
    exact = project(shape.landmarks, pose, np.eye(2, 3))
    noisy = exact.copy()
    for points, sd in _ALIGNMENT_SD:
        noisy[points] += rng.normal(0, sd, 2)
    crop_to_face = alignment(noisy, size)
    face_to_image = cv2.invertAffineTransform(crop_to_face)
    image = _photograph(person, shape, pose, face_to_image, (size, size), person.camera.blur_px, rng, style)
    return Drawing(image=image, landmarks=project(shape.landmarks, pose, face_to_image))


def draw_landmarks(person: Person, task: str, amount: float, rng: Generator | None = None) -> Floats:
    """Return the exact 68 landmarks of :func:`draw_frame` without painting: (68, 2) face units, x to the right, y down."""
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


def _photograph(
    person: Person,
    shape: Shape,
    pose: Pose,
    face_to_image: Floats,
    size: tuple[int, int],
    blur_px: float,
    rng: Generator,
    style: Style,
) -> Image:
    """Paint, warp, blur and add noise; a small image is drawn at twice its size and averaged."""
    how = _RENDERINGS[style]
    scale = float(np.hypot(*face_to_image[:, 0]))
    shrink = min(1.0, scale / person.camera.zoom)
    fine = 2 if shrink < 0.5 else 1
    if fine > 1:  # the center of pixel 0 moves with the grid
        face_to_image = np.column_stack([face_to_image[:, :2] * fine, (face_to_image[:, 2] + 0.5) * fine - 0.5])
    large = (size[0] * fine, size[1] * fine)
    canvas_scale = scale * (1.6 if fine > 1 else 1.0)
    rgb, coverage = how.paint(person.look, shape, person.light, canvas_scale)
    image = warp(rgb, coverage, how.background(person.camera.background, large), pose, face_to_image, canvas_scale)
    spread = blur_px * shrink * fine
    if spread > 0.25:
        image = cv2.GaussianBlur(image, (0, 0), spread)
    if fine > 1:
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    corner = (int(rng.integers(0, 160)), int(rng.integers(0, 160)))
    return how.develop(image, person.camera, shrink, corner)


def _add_sensor_noise(image: Image, camera: Camera, shrink: float, corner: tuple[int, int]) -> Image:
    """Add noise to an image; ``corner`` is its place on the sensor."""
    (height, width), (top, left) = image.shape[:2], corner
    grain = _sensor_noise(width, height)[top : top + height, left : left + width]
    share = 255 * camera.noise * shrink / _NOISE_SD
    return cv2.addWeighted(image, 1, grain, share, -128 * share)


@lru_cache(maxsize=4)
def _sensor_noise(width: int, height: int) -> Image:
    """Return sensor noise around 128, larger than an image, from which every image takes a random window."""
    noise = np.random.default_rng(width).normal(128, _NOISE_SD, (height + 160, width + 160, 3))
    return np.clip(noise, 0, 255).astype(np.uint8)


@lru_cache(maxsize=4)
def _background(seed: int, size: tuple[int, int]) -> Image:
    """Draw a blurred interior: a wall with a gradient, pictures and furniture."""
    rng = np.random.default_rng(seed)
    wall, width, height = rng.uniform(0.25, 0.9) * rng.normal(1, 0.07, 3), 80, 60
    image = np.empty((height, width, 3), np.float32)
    across, down = np.linspace(-1, 1, width)[None, :, None], np.linspace(-1, 1, height)[:, None, None]
    image[:] = wall * (1 + rng.normal(0, 0.15) * across + rng.normal(0, 0.15) * down)
    for _ in range(int(rng.integers(0, 7))):
        corner, extent = rng.integers((-10, -10), (width, height)), rng.integers(4, 34, 2)
        color = wall * rng.uniform(0.5, 1.4) * rng.normal(1, 0.12, 3)
        cv2.rectangle(
            image, corner.tolist(), (corner + extent).tolist(), color.tolist(), thickness=int(rng.choice([-1, -1, 2]))
        )
    image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.6, 4))
    return cv2.convertScaleAbs(cv2.resize(image, size, interpolation=cv2.INTER_LINEAR), alpha=255.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Rendering:
    """The functions of a style: it paints a face as :func:`paint` does, draws a background, and adds what the camera adds."""

    paint: Callable[[Look, Shape, Light, float], tuple[Canvas, Canvas]]
    background: Callable[[int, tuple[int, int]], Image]
    develop: Callable[[Image, Camera, float, tuple[int, int]], Image]


_RENDERINGS: Final = {
    Style.PAINTED: _Rendering(paint=paint, background=_background, develop=_add_sensor_noise),
    Style.FILMED: _Rendering(paint=film_face, background=film_background, develop=film),
    Style.SKETCHED: _Rendering(paint=sketch_face, background=blank_sheet, develop=put_on_paper),
}
