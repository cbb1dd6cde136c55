"""Faces with dlib: detection, 68 landmarks, alignment, identity embedding, and tracking of one person through a clip."""

import functools
import importlib.util
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar

import cv2
import dlib
import numpy as np
from numpy.typing import NDArray

from vitau.media.clips import SampledFrame
from vitau.media.crops import Image, alignment, extract_crop, transform
from vitau.schema import CROP_SIZE

COARSE_WIDTH: Final = 320
"""Longer side at which every frame of a clip is searched, px; dlib's smallest face is 80 px, a quarter of it."""
FINE_WIDTH: Final = 640
FINEST_WIDTH: Final = 1280
FINE_SEARCH_EVERY: Final = 12
"""Every 12th frame is searched at the fine width too, which counts smaller faces."""
SAME_PERSON: Final = 0.5
"""Largest distance between embeddings of one person within a clip; dlib suggests 0.6, strangers may be 0.52 apart."""
SAME_PLACE: Final = 0.3
"""Smallest intersection over union of one face in two consecutive sampled frames."""
SCENE_CUT: Final = 30.0
"""Mean absolute difference of consecutive thumbnails, 0 to 255, that counts as a scene cut."""
WEAK_REFERENCE: Final = 0.5
"""Detection score below which the reference face may be a false detection; a better one replaces it."""

_ALIGNED_AT_ONCE: Final = 32
_ALIGNED_BYTES: Final = 32 << 20
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
    if scale != 1.0:
        interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=interpolation)
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


def track_faces(
    frames: Iterable[SampledFrame], *, mirrored: bool = False
) -> Iterator[tuple[SampledFrame, int, FaceCrop | None]]:
    """Yield each frame of a clip with the number of its faces and the face of the tracked person.

    Up to 32 frames or 32 MiB are held and aligned at once, which changes the speed only.
    """
    tracker, frames = FaceTracker(mirrored=mirrored), iter(frames)
    for first in frames:
        following = itertools.islice(frames, max(min(_ALIGNED_AT_ONCE, _ALIGNED_BYTES // first.image.nbytes) - 1, 0))
        held = [(frame, *tracker.find(frame.image)) for frame in itertools.chain([first], following)]
        faces = iter(align_all([(frame.image, face) for frame, _, face in held if face is not None], mirrored=mirrored))
        for frame, num_faces, found in held:
            yield frame, num_faces, None if found is None else next(faces)


class FaceTracker:
    """Finds one person in the frames of one clip, in their order.

    Every frame is searched at the coarse width. While the tracked face is alone, the pyramid is searched from the level below
    its own only, which gives the same box. If the tracked face is not among the detections, its last position is searched at a
    higher resolution, then the whole frame at finer widths. Position identifies the face from frame to frame. After a gap
    or a scene cut, or with two candidates, its embedding is compared with that of the reference face.
    """

    def __init__(self, *, mirrored: bool = False, same_person: float = SAME_PERSON) -> None:
        self._mirrored = mirrored
        self._same_person = same_person
        self._last: Box | None = None
        self._reference: tuple[Image, Detection] | None = None
        self._reference_embedding: NDArray[np.float32] | None = None
        self._thumbnail: NDArray[np.float32] | None = None
        self._others: list[Box] = []
        self._level = 0
        self._num_seen = 0
        self._num_small = 0

    def find(self, image: Image) -> tuple[int, Detection | None]:
        """Return the number of faces in the next frame, and the tracked face if it is among them.

        Faces that are much smaller than the tracked one, or under a quarter of the frame, are counted in every 12th frame; the
        count is kept until the next one.
        """
        fine_search = self._num_seen % FINE_SEARCH_EVERY == 0
        scene_cut = self._is_scene_cut(image)
        if scene_cut:
            self._last = None
        if fine_search or scene_cut:
            self._others = []
        self._num_seen += 1
        coarse = self._search_coarse(image, alone=not (fine_search or scene_cut or self._others or self._num_small))
        faces = coarse
        if fine_search or scene_cut:
            faces = _merged(coarse, detect(image, min(FINE_WIDTH, 2 * max(image.shape[:2]))))
            self._num_small = len(faces) - len(coarse)
        if not self._near(faces):
            faces = _merged(faces, self._search_last_position(image))
        tracked = self._choose(image, faces)
        if tracked is None:
            self._others = [face.box for face in faces]
            faces = _merged(faces, _search_fine(image, thorough=fine_search or self._last is not None))
            tracked = self._choose(image, faces)
        # faces that were not tracked need no new embedding for a while
        self._others = [face.box for face in faces if tracked is None or face.box != tracked.box]
        self._last = tracked.box if tracked else None
        self._level = next((face.level for face in coarse if tracked is not None and face.box == tracked.box), 0)
        return max(len(faces), len(coarse) + self._num_small), tracked

    def _search_coarse(self, image: Image, *, alone: bool) -> list[Detection]:
        """Detect faces at the coarse width; skip the levels of much smaller faces while the tracked face is ``alone``."""
        width = min(COARSE_WIDTH, max(image.shape[:2]))
        if alone and self._level > 1:
            faces = detect(image, width, self._level - 1)
            if [face.level >= self._level for face in self._near(faces)] == [True]:
                return faces  # at a lower level, a skipped one might fit the face better
        return detect(image, width)

    def _near(self, faces: Sequence[Detection]) -> list[Detection]:
        return [face for face in faces if self._last is not None and iou(face.box, self._last) >= SAME_PLACE]

    def _choose(self, image: Image, faces: Sequence[Detection]) -> Detection | None:
        near = self._near(faces)
        if len(near) == 1:
            return self._keep(image, near[0])
        unknown = [face for face in faces if all(iou(face.box, other) < SAME_PLACE for other in self._others)]
        return self._identify(image, near or unknown)

    def _identify(self, image: Image, candidates: Sequence[Detection]) -> Detection | None:
        """Return the candidate closest to the reference face, or None if all are too far from it."""
        if not candidates:
            return None
        best = person_of_interest(candidates, image.shape[1], image.shape[0])
        if self._reference is None or (self._reference[1].score < WEAK_REFERENCE <= best.score):
            self._reference, self._reference_embedding = (image, best), None
            return best
        if self._reference_embedding is None:
            self._reference_embedding = self._embed(*self._reference)
        distances = [float(np.linalg.norm(self._embed(image, face) - self._reference_embedding)) for face in candidates]
        nearest = int(np.argmin(distances))
        return candidates[nearest] if distances[nearest] <= self._same_person else None

    def _embed(self, image: Image, face: Detection) -> NDArray[np.float32]:
        aligned = align(image, face, mirrored=self._mirrored)
        return embed(aligned.crop, aligned.crop_landmarks)

    def _search_last_position(self, image: Image) -> list[Detection]:
        """Detect faces at the last position, at a scale that suits the size of the tracked face."""
        if self._last is None:
            return []
        x, y, w, h = self._last
        left, top = max(round(x - w / 2), 0), max(round(y - h / 2), 0)
        region = np.ascontiguousarray(image[top : round(y + 1.5 * h), left : round(x + 1.5 * w)])
        if min(region.shape[:2]) == 0:
            return []
        found = detect(region, round(min(100 / w, 2.0) * max(region.shape[:2])))
        return self._near([Detection(box=(f.box[0] + left, f.box[1] + top, *f.box[2:]), score=f.score) for f in found])

    def _is_scene_cut(self, image: Image) -> bool:
        thumbnail = cv2.resize(image, (32, 24), interpolation=cv2.INTER_AREA).astype(np.float32)
        before, self._thumbnail = self._thumbnail, thumbnail
        return before is not None and float(np.abs(thumbnail - before).mean()) > SCENE_CUT

    def _keep(self, image: Image, face: Detection) -> Detection:
        if self._reference is None or (self._reference_embedding is None and face.score > self._reference[1].score):
            self._reference = image, face
        return face


def _search_fine(image: Image, *, thorough: bool) -> list[Detection]:
    """Detect all faces at the fine width; if there are none and ``thorough``, at the finest width."""
    largest = 2 * max(image.shape[:2])  # enlarging an image further finds no more faces
    fine = detect(image, min(FINE_WIDTH, largest))
    return fine if fine or not thorough or largest <= FINE_WIDTH else detect(image, min(FINEST_WIDTH, largest))


def _merged(faces: Sequence[Detection], more: Sequence[Detection]) -> list[Detection]:
    """Merge the faces of two searches of one image; a face found twice keeps its first detection."""
    return [*faces, *(new for new in more if all(iou(new.box, face.box) < SAME_PLACE for face in faces))]


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
    return dlib.shape_predictor(_model_path("shape_predictor_68_face_landmarks.dat"))


@functools.cache
def _identity_net() -> Any:
    return dlib.face_recognition_model_v1(_model_path("dlib_face_recognition_resnet_model_v1.dat"))
