"""dlib's eyes: faces in a picture, 68 landmarks, an identity, and the one person whom a clip is about."""

import functools
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar

import cv2
import dlib
import numpy as np
from numpy.typing import NDArray

from vitau.media.crops import Image, alignment, cut, transform
from vitau.schema import CROP_SIZE

COARSE_WIDTH: Final = 320
"""Longer side at which every frame of a clip is searched, px: dlib's smallest face is 80 px, a quarter of it."""
FINE_WIDTH: Final = 640
FINEST_WIDTH: Final = 1280
CENSUS_EVERY: Final = 12
"""Frames between two searches of the whole frame at the fine width, which also count the smaller faces."""
SAME_PERSON: Final = 0.5
"""Largest distance between the embeddings of a lost face and a found one; dlib's authors take 0.6, but we have met strangers at
0.52, and within one clip 0.5 is rarely exceeded without a hand before the face."""
SAME_PLACE: Final = 0.3
"""Smallest overlap (intersection over union) of one face in two neighbouring sampled frames."""
SCENE_CUT: Final = 30.0
"""Mean difference of two neighbouring frames' thumbnails, 0 to 255, from which on the picture is another one."""
WEAK_ANCHOR: Final = 0.5
"""A first face that was never detected better than this may have been none: a better one takes its place."""

Box: TypeAlias = tuple[float, float, float, float]
"""x, y, width, height in px."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Detection:
    """A face that dlib's HOG detector found; ``score`` is its confidence, about −1 to 4."""

    box: Box
    score: float


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FaceCrop:
    """A face with its aligned crop.

    ``box`` and ``landmarks`` (68, 2) float32 are in px of the frame, numbered as dlib numbers them in the picture; ``crop`` is
    (256, 256, 3) uint8 RGB, never mirrored, and ``crop_landmarks`` (68, 2) float32 were found again in it.
    """

    box: Box
    score: float
    landmarks: NDArray[np.float32]
    crop: Image
    crop_landmarks: NDArray[np.float32]


def detect(image: Image, width: int | None = None) -> list[Detection]:
    """All faces of a picture (H, W, 3) uint8 RGB, best first, searched with its longer side at ``width`` px or as it is."""
    scale = 1.0 if width is None else width / max(image.shape[:2])
    if scale != 1.0:
        interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=interpolation)
    rectangles, scores, _ = _detector().run(image, 0, 0.0)
    return [
        Detection(box=(r.left() / scale, r.top() / scale, r.width() / scale, r.height() / scale), score=score)
        for r, score in zip(rectangles, scores, strict=True)
    ]


def landmarks(image: Image, box: Box) -> NDArray[np.float32]:
    """The 68 landmarks (68, 2) float32 of the face in a box, px."""
    x, y, width, height = (round(value) for value in box)
    shape = _predictor()(image, dlib.rectangle(x, y, x + width - 1, y + height - 1))
    return np.array([(point.x, point.y) for point in shape.parts()], dtype=np.float32)


def align(image: Image, face: Detection, *, mirrored: bool = False) -> FaceCrop:
    """The aligned crop of a detected face, unmirrored where the picture is a mirror image, with landmarks found again in it."""
    points = landmarks(image, face.box)
    crop_to_frame = alignment(points, mirrored=mirrored)
    crop = cut(image, crop_to_frame)
    x, y, width, height = face.box
    scale = float(np.linalg.norm(crop_to_frame[:, 0]))
    centre = transform(cv2.invertAffineTransform(crop_to_frame), np.array([(x + width / 2, y + height / 2)]))[0]
    size = np.array([width, height]) / scale
    crop_box = (*(centre - size / 2).tolist(), *size.tolist())
    return FaceCrop(box=face.box, score=face.score, landmarks=points, crop=crop, crop_landmarks=landmarks(crop, crop_box))


def embed(crop: Image, crop_landmarks: NDArray[np.float32]) -> NDArray[np.float32]:
    """The identity embedding of dlib's network for an aligned crop, (128,) float32; one person's are rarely 0.6 apart."""
    points = dlib.points([dlib.point(round(float(x)), round(float(y))) for x, y in crop_landmarks])
    shape = dlib.full_object_detection(dlib.rectangle(0, 0, CROP_SIZE - 1, CROP_SIZE - 1), points)
    chip = dlib.get_face_chip(crop, shape, size=150, padding=0.25)
    return np.array(_identity_net().compute_face_descriptor(chip), dtype=np.float32)


_Seen = TypeVar("_Seen", Detection, FaceCrop)


def person_of_interest(faces: Sequence[_Seen], width: int, height: int) -> _Seen:
    """The face that a picture is about: the one with the greatest product of size, nearness to the centre and confidence."""

    def interest(face: _Seen) -> float:
        x, y, w, h = face.box
        off_centre = np.hypot((x + w / 2) / width - 0.5, (y + h / 2) / height - 0.5)
        return float(w * h * (1 - min(off_centre, 0.9)) * np.clip(face.score, 0.1, 2.0))

    return max(faces, key=interest)


def overlap(a: Box, b: Box) -> float:
    """Intersection over union of two boxes, 0 to 1."""
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    common = max(width, 0.0) * max(height, 0.0)
    return common / (a[2] * a[3] + b[2] * b[3] - common)


class Follower:
    """Keeps to one person through the frames of one clip.

    Every frame is searched whole at the coarse width; where the followed face is not found so, its old place is searched more
    closely, and if it is lost, the whole frame at finer widths. Whenever place alone does not say who a face is (lost and
    found, a cut, two faces near the old place), its identity is compared with that of the first one; a stranger is nobody.
    """

    def __init__(self, *, mirrored: bool = False, same_person: float = SAME_PERSON) -> None:
        self._mirrored = mirrored
        self._same_person = same_person
        self._last: Box | None = None
        self._anchor: FaceCrop | None = None
        self._anchor_embedding: NDArray[np.float32] | None = None
        self._thumbnail: NDArray[np.float32] | None = None
        self._strangers: list[Box] = []
        self._num_seen = 0
        self._num_small = 0

    def look(self, image: Image) -> tuple[int, FaceCrop | None]:
        """The faces in view of the next frame, and the followed one if it is among them.

        Small faces (under a quarter of the frame) are counted in every 12th frame, and taken to stay until the next count.
        """
        census = self._num_seen % CENSUS_EVERY == 0
        cut_here = self._is_cut(image)
        if cut_here:
            self._last = None
        if census or cut_here:
            self._strangers = []
        self._num_seen += 1
        coarse = detect(image, min(COARSE_WIDTH, max(image.shape[:2])))
        faces = coarse
        if census or cut_here:
            faces = _merged(coarse, detect(image, min(FINE_WIDTH, 2 * max(image.shape[:2]))))
            self._num_small = len(faces) - len(coarse)
        if not self._near(faces):
            faces = _merged(faces, self._search_old_place(image))
        followed = self._choose(image, faces)
        if followed is None:
            self._strangers = [face.box for face in faces]
            faces = _merged(faces, _search_finely(image, thorough=census or self._last is not None))
            followed = self._choose(image, faces)
        # whoever is not followed need not be asked again for a while who they are
        self._strangers = [face.box for face in faces if followed is None or face.box != followed.box]
        self._last = followed.box if followed else None
        return max(len(faces), len(coarse) + self._num_small), followed

    def _near(self, faces: Sequence[Detection]) -> list[Detection]:
        return [face for face in faces if self._last is not None and overlap(face.box, self._last) >= SAME_PLACE]

    def _choose(self, image: Image, faces: Sequence[Detection]) -> FaceCrop | None:
        near = self._near(faces)
        if len(near) == 1:
            return self._keep(align(image, near[0], mirrored=self._mirrored))
        unknown = [face for face in faces if all(overlap(face.box, stranger) < SAME_PLACE for stranger in self._strangers)]
        return self._recognise(image, near or unknown)

    def _recognise(self, image: Image, candidates: Sequence[Detection]) -> FaceCrop | None:
        """The candidate who is most like the followed person, if anyone is like them at all."""
        if not candidates:
            return None
        best = align(image, person_of_interest(candidates, image.shape[1], image.shape[0]), mirrored=self._mirrored)
        if self._anchor is None or (self._anchor.score < WEAK_ANCHOR <= best.score):
            self._anchor, self._anchor_embedding = best, None
            return best
        if self._anchor_embedding is None:
            self._anchor_embedding = embed(self._anchor.crop, self._anchor.crop_landmarks)
        faces = [align(image, candidate, mirrored=self._mirrored) for candidate in candidates]
        distances = [float(np.linalg.norm(embed(face.crop, face.crop_landmarks) - self._anchor_embedding)) for face in faces]
        nearest = int(np.argmin(distances))
        return faces[nearest] if distances[nearest] <= self._same_person else None

    def _search_old_place(self, image: Image) -> list[Detection]:
        """Who is where the followed face was, at a scale at which a face of its size is found for sure."""
        if self._last is None:
            return []
        x, y, w, h = self._last
        left, top = max(round(x - w / 2), 0), max(round(y - h / 2), 0)
        region = np.ascontiguousarray(image[top : round(y + 1.5 * h), left : round(x + 1.5 * w)])
        if min(region.shape[:2]) == 0:
            return []
        found = detect(region, round(min(100 / w, 2.0) * max(region.shape[:2])))
        return self._near([Detection(box=(f.box[0] + left, f.box[1] + top, *f.box[2:]), score=f.score) for f in found])

    def _is_cut(self, image: Image) -> bool:
        thumbnail = cv2.resize(image, (32, 24), interpolation=cv2.INTER_AREA).astype(np.float32)
        before, self._thumbnail = self._thumbnail, thumbnail
        return before is not None and float(np.abs(thumbnail - before).mean()) > SCENE_CUT

    def _keep(self, face: FaceCrop) -> FaceCrop:
        if self._anchor is None or (self._anchor_embedding is None and face.score > self._anchor.score):
            self._anchor = face
        return face


def _search_finely(image: Image, *, thorough: bool) -> list[Detection]:
    """All faces at the fine width; if there are none and it is worth the time, at the finest."""
    largest = 2 * max(image.shape[:2])  # no picture is worth enlarging further
    fine = detect(image, min(FINE_WIDTH, largest))
    return fine if fine or not thorough or largest <= FINE_WIDTH else detect(image, min(FINEST_WIDTH, largest))


def _merged(faces: Sequence[Detection], more: Sequence[Detection]) -> list[Detection]:
    """Faces of two searches of one picture, each once, as the first search saw it."""
    return [*faces, *(new for new in more if all(overlap(new.box, face.box) < SAME_PLACE for face in faces))]


def _model_path(name: str) -> str:
    # importing the package fails (it wants pkg_resources); its files are all that we need
    spec = importlib.util.find_spec("face_recognition_models")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("face_recognition_models is not installed; run `make setup`")
    return str(Path(spec.origin).parent / "models" / name)


@functools.cache
def _detector() -> Any:
    return dlib.get_frontal_face_detector()


@functools.cache
def _predictor() -> Any:
    return dlib.shape_predictor(_model_path("shape_predictor_68_face_landmarks.dat"))


@functools.cache
def _identity_net() -> Any:
    return dlib.face_recognition_model_v1(_model_path("dlib_face_recognition_resnet_model_v1.dat"))
