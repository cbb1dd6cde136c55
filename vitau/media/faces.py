"""Faces with dlib: detection, 68 landmarks, alignment and identity embedding."""

import ctypes
import functools
import importlib.util
import math
import re
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar

import cv2
import dlib
import numpy as np
from numpy.typing import NDArray

from vitau.media.crops import Image, alignment, extract_crop, transform
from vitau.schema import CROP_SIZE

SAME_PERSON: Final = 0.5
"""Largest distance between embeddings of one person within a clip; dlib suggests 0.6, strangers may be 0.52 apart."""

_EMBEDDING: Final = threading.Lock()  # the network holds its activations, and a thread may search the next frames
_HUGE_PAGES: Final = 14, 25  # MADV_HUGEPAGE and MADV_COLLAPSE, since Linux 6.1
_WINDOW: Final = 72  # from the left to the right edge of the detector's window, px of its level
_MAX_LEVELS: Final = 40

Box: TypeAlias = tuple[float, float, float, float]
"""x, y, width, height in px."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Detection:
    """A detection of dlib's HOG detector; ``score`` is its confidence, about −1 to 4.

    ``level`` is the level of the detector's image pyramid: its window of 73 px is enlarged 1.2 ** level times.
    """

    box: Box
    score: float
    level: int = 0


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FaceCrop:
    """A face with its aligned crop.

    ``box`` and ``landmarks`` (68, 2) float32 are in px of the frame, in dlib's order as seen in the picture. ``crop`` is
    (256, 256, 3) uint8 RGB, never mirrored; ``crop_landmarks`` (68, 2) float32 were detected in the crop.
    """

    box: Box
    score: float
    landmarks: NDArray[np.float32]
    crop: Image
    crop_landmarks: NDArray[np.float32]


def detect(image: Image, width: int | None = None, first_level: int = 0) -> list[Detection]:
    """Detect the faces of an image (H, W, 3) uint8 RGB, best first.

    Args:
        image: the picture; its longer side is resized to ``width`` px if given.
        width: by default, the image is searched as it is.
        first_level: the first level of the pyramid that is searched. Faces of lower levels, which are smaller, are not found;
            the others have the same box and score as in a full search, which costs up to three times as much.
    """
    scale = 1.0 if width is None else width / max(image.shape[:2])
    return detect_resized(resized(image, scale), scale, first_level)


def resized(image: Image, scale: float) -> Image:
    """Return an image resized for detection."""
    if scale == 1.0:
        return image
    return cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)


def detect_resized(image: Image, scale: float, first_level: int = 0) -> list[Detection]:
    """Detect the faces of an image that was resized by ``scale``, as :func:`detect` does; boxes are in px of the original."""
    for _ in range(first_level):
        image = dlib.resize_image(image, 5 * image.shape[0] // 6, 5 * image.shape[1] // 6)
    rectangles, scores, _ = _detector().run(image, 0, 0.0)
    return [_detection(r, score, scale, first_level) for r, score in zip(rectangles, scores, strict=True)]


def _detection(rectangle: dlib.rectangle, score: float, scale: float, first_level: int) -> Detection:
    """Return a detection in px of the picture, from a rectangle in an image that is ``first_level`` levels smaller."""
    left, top, right, bottom = rectangle.left(), rectangle.top(), rectangle.right(), rectangle.bottom()
    # dlib rounds the corners of its window once, from the window's level to the image: undo this, and round once again
    level = next(n for n in range(_MAX_LEVELS) if right - left <= _enlarged(_WINDOW, n) - _enlarged(0, n) + 1)
    if first_level:
        corners = [_reduced(value, level) for value in (left, top, right, bottom)]
        left, top, right, bottom = (math.floor(_enlarged(value, level + first_level) + 0.5) for value in corners)
    box = (left / scale, top / scale, (right - left + 1) / scale, (bottom - top + 1) / scale)
    return Detection(box=box, score=score, level=level + first_level)


def _enlarged(value: float, levels: int) -> float:
    """Return a coordinate in an image that is ``levels`` levels larger, as dlib maps its points."""
    for _ in range(levels):
        value = value * 1.2 + 0.3
    return value


def _reduced(value: int, levels: int) -> int:
    """Return the integer coordinate that dlib enlarged and rounded to ``value``."""
    near = round(value / 1.2**levels)
    return next(n for n in (near, near - 1, near + 1, near - 2) if math.floor(_enlarged(n, levels) + 0.5) == value)


def landmarks(image: Image, box: Box) -> NDArray[np.float32]:
    """Predict the 68 landmarks (68, 2) float32 of the face in a box, px."""
    x, y, width, height = (round(value) for value in box)
    time.sleep(0)  # the predictor holds the interpreter's lock for 1 ms: let a thread that searches ahead go on
    shape = predictor()(image, dlib.rectangle(x, y, x + width - 1, y + height - 1))
    return np.array([(point.x, point.y) for point in shape.parts()], dtype=np.float32)


def align(image: Image, face: Detection, *, mirrored: bool = False) -> FaceCrop:
    """Align a detected face: extract its crop, unmirrored, and detect landmarks in the crop."""
    return align_all([(image, face)], mirrored=mirrored)[0]


def align_all(faces: Sequence[tuple[Image, Detection]], *, mirrored: bool = False) -> list[FaceCrop]:
    """Align detected faces, each of its own picture, as :func:`align` does.

    The predictor takes half of the time for one face after another: what a person's faces need of its 95 MB stays in the cache.
    """
    points = [landmarks(image, face.box) for image, face in faces]
    to_frame = [alignment(found, mirrored=mirrored) for found in points]
    crops = [extract_crop(image, crop_to_frame) for (image, _), crop_to_frame in zip(faces, to_frame, strict=True)]
    boxes = [_crop_box(face.box, crop_to_frame) for (_, face), crop_to_frame in zip(faces, to_frame, strict=True)]
    crop_points = [landmarks(crop, box) for crop, box in zip(crops, boxes, strict=True)]
    return [
        FaceCrop(box=face.box, score=face.score, landmarks=found, crop=crop, crop_landmarks=in_crop)
        for (_, face), found, crop, in_crop in zip(faces, points, crops, crop_points, strict=True)
    ]


def _crop_box(box: Box, crop_to_frame: NDArray[np.float64]) -> Box:
    """Return the square of a box of the frame in the crop, where it stands upright."""
    x, y, width, height = box
    center = transform(cv2.invertAffineTransform(crop_to_frame), np.array([(x + width / 2, y + height / 2)]))[0]
    width, height = np.array([width, height]) / float(np.linalg.norm(crop_to_frame[:, 0]))
    return (*(center - (width / 2, height / 2)).tolist(), float(width), float(height))


def embed(crop: Image, crop_landmarks: NDArray[np.float32]) -> NDArray[np.float32]:
    """Compute dlib's identity embedding (128,) float32 of an aligned crop; embeddings of one person are rarely 0.6 apart."""
    points = dlib.points([dlib.point(round(float(x)), round(float(y))) for x, y in crop_landmarks])
    shape = dlib.full_object_detection(dlib.rectangle(0, 0, CROP_SIZE - 1, CROP_SIZE - 1), points)
    chip = dlib.get_face_chip(crop, shape, size=150, padding=0.25)
    with _EMBEDDING:
        return np.array(_identity_net().compute_face_descriptor(chip), dtype=np.float32)


_Face = TypeVar("_Face", Detection, FaceCrop)


def person_of_interest(faces: Sequence[_Face], width: int, height: int) -> _Face:
    """Return the main face of an image: the largest product of size, closeness to the center and confidence."""

    def interest(face: _Face) -> float:
        x, y, w, h = face.box
        off_center = np.hypot((x + w / 2) / width - 0.5, (y + h / 2) / height - 0.5)
        return float(w * h * (1 - min(off_center, 0.9)) * np.clip(face.score, 0.1, 2.0))

    return max(faces, key=interest)


def iou(a: Box, b: Box) -> float:
    """Compute the intersection over union of two boxes, 0 to 1."""
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    common = max(width, 0.0) * max(height, 0.0)
    return common / (a[2] * a[3] + b[2] * b[3] - common)


def _model_path(name: str) -> str:
    # importing the package fails, because it needs pkg_resources; only its files are used
    spec = importlib.util.find_spec("face_recognition_models")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("face_recognition_models is not installed; run `make setup`")
    return str(Path(spec.origin).parent / "models" / name)


def load_models() -> None:
    """Load dlib's models, which otherwise happens at their first use in this process."""
    for load in (_detector, predictor, _identity_net):
        load()


@functools.cache
def _detector() -> Any:
    return dlib.get_frontal_face_detector()


@functools.cache
def predictor() -> Any:
    """Return dlib's shape predictor of 68 landmarks, loaded once per process."""
    loaded = dlib.shape_predictor(_model_path("shape_predictor_68_face_landmarks.dat"))
    _use_huge_pages()
    return loaded


def _use_huge_pages() -> None:
    """Put the heap of this process in pages of 2 MiB, where Linux does so on request.

    Every face reads values all over the predictor's 75 MB. With pages of 4 KiB, most of these reads miss the TLB, the
    processor's cache of page addresses. A system that does not know the request is left unchanged.
    """
    madvise, maps = getattr(ctypes.CDLL(None), "madvise", None), Path("/proc/self/maps")
    if madvise is None or not maps.exists():
        return
    madvise.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
    for begin, end in re.findall(r"^([0-9a-f]+)-([0-9a-f]+) .*\[heap\]$", maps.read_text(), re.MULTILINE):
        for advice in _HUGE_PAGES:
            madvise(int(begin, 16), int(end, 16) - int(begin, 16), advice)


@functools.cache
def _identity_net() -> Any:
    return dlib.face_recognition_model_v1(_model_path("dlib_face_recognition_resnet_model_v1.dat"))
