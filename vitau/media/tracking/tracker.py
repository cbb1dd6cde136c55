"""The tracker: one person in the frames of a clip."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from vitau.media.clips import SampledFrame
from vitau.media.crops import Image
from vitau.media.faces import (
    SAME_PERSON,
    Box,
    Detection,
    FaceCrop,
    align,
    align_all,
    detect,
    detect_resized,
    embed,
    iou,
    person_of_interest,
    resized,
)

T = TypeVar("T")

COARSE_WIDTH: Final = 320
"""Longer side at which every frame of a clip is searched, px; dlib's smallest face is 80 px, a quarter of it."""
FINE_WIDTH: Final = 640
FINEST_WIDTH: Final = 1280
FINE_SEARCH_EVERY: Final = 12
"""Every 12th frame is searched at the fine width too, which counts smaller faces."""
SAME_PLACE: Final = 0.3
"""Smallest intersection over union of one face in two consecutive sampled frames."""
SCENE_CUT: Final = 30.0
"""Mean absolute difference of consecutive thumbnails, 0 to 255, that counts as a scene cut."""
WEAK_REFERENCE: Final = 0.5
"""Detection score below which the reference face may be a false detection; a better one replaces it."""

_ALIGNED_AT_ONCE: Final = 8

FoundFrame: TypeAlias = tuple[SampledFrame, int, Detection | None]
"""A frame, the number of its faces, and where the tracked person was found in it."""
TrackedFrame: TypeAlias = tuple[SampledFrame, int, FaceCrop | None]
"""A frame, the number of its faces, and the face of the tracked person if it shows it."""


def track_faces(frames: Iterable[SampledFrame], *, mirrored: bool = False) -> Iterator[TrackedFrame]:
    """Yield each frame of a clip with the number of its faces and the face of the tracked person."""
    tracker = FaceTracker(mirrored=mirrored)
    return align_found(((frame, *tracker.find(frame.image)) for frame in frames), mirrored=mirrored)


def align_found(frames: Iterable[FoundFrame], *, mirrored: bool = False) -> Iterator[TrackedFrame]:
    """Yield frames with the number of their faces and the face of the tracked person, given where it was found.

    Up to 8 frames or 8 MiB are held and aligned at once, which changes the speed only.
    """
    for held in in_batches(frames, lambda found: found[0].image.nbytes, _ALIGNED_AT_ONCE):
        faces = iter(align_all([(frame.image, face) for frame, _, face in held if face is not None], mirrored=mirrored))
        for frame, num_faces, found in held:
            yield frame, num_faces, None if found is None else next(faces)


def in_batches(items: Iterable[T], num_bytes: Callable[[T], int], most: int) -> Iterator[list[T]]:
    """Yield items in batches of 1, 2, 4, …: at most ``most`` of them, and as many MiB if all are of the size of the first.

    The first batches are smaller, so that whoever takes them begins early. Each has one item at least.
    """
    items, size = iter(items), 1
    for first in items:
        size = min(size, most, max((most << 20) // num_bytes(first), 1))
        yield [first, *itertools.islice(items, size - 1)]
        size *= 2


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Reduced:
    """A frame at the coarse width, its scale, and its thumbnail (24, 32, 3), by which scene cuts are seen."""

    image: Image
    scale: float
    thumbnail: NDArray[np.float32]


def reduce(image: Image) -> Reduced:
    """Return a frame as the tracker first looks at it."""
    scale = min(COARSE_WIDTH, max(image.shape[:2])) / max(image.shape[:2])
    small = resized(image, scale)
    thumbnail = cv2.resize(small, (32, 24), interpolation=cv2.INTER_AREA).astype(np.float32)
    return Reduced(image=small, scale=scale, thumbnail=thumbnail)


class UnknownPersonError(Exception):
    """A face must be compared with the reference face, which another process found."""


@dataclass(kw_only=True, slots=True, eq=False)
class Reference:
    """The clearest face of the tracked person so far, with its picture, and its embedding since the first comparison.

    ``known`` is False where the frames before were tracked elsewhere: then a comparison raises :class:`UnknownPersonError`.
    """

    face: tuple[Image, Detection] | None = None
    embedding: NDArray[np.float32] | None = None
    known: bool = True

    def keep(self, image: Image, face: Detection) -> None:
        """Take a face of the tracked person as the reference if it is clearer, until an embedding is compared."""
        if self.face is None or (self.embedding is None and face.score > self.face[1].score):
            self.face = image, face


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
        self.reference = Reference()
        self._thumbnail: NDArray[np.float32] | None = None
        self._others: list[Box] = []
        self._level = 0
        self._num_seen = 0
        self._num_small = 0

    def starts_at(self, index: int) -> None:
        """Start with a later frame of the clip: fine searches are those of a tracker that began with the clip."""
        self._num_seen = index

    def agrees(self, other: "FaceTracker") -> bool:
        """Return whether the other one would track the next frames alike until one of them needs its reference."""
        ours, theirs = vars(self), vars(other)
        return all(name == "reference" or np.array_equal(value, theirs[name]) for name, value in ours.items())

    def find(self, image: Image, reduced: Reduced | None = None) -> tuple[int, Detection | None]:
        """Return the number of faces in the next frame, and the tracked face if it is among them.

        Faces that are much smaller than the tracked one, or under a quarter of the frame, are counted in every 12th frame; the
        count is kept until the next one. A thread may have reduced the frame before.
        """
        fine_search = self._num_seen % FINE_SEARCH_EVERY == 0
        reduced = reduced or reduce(image)
        scene_cut = self._is_scene_cut(reduced.thumbnail)
        if scene_cut:
            self._last = None
        if fine_search or scene_cut:
            self._others = []
        self._num_seen += 1
        coarse = self._search_coarse(reduced, alone=not (fine_search or scene_cut or self._others or self._num_small))
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

    def _search_coarse(self, reduced: Reduced, *, alone: bool) -> list[Detection]:
        """Detect faces at the coarse width; skip the levels of much smaller faces while the tracked face is ``alone``."""
        if alone and self._level > 1:
            faces = detect_resized(reduced.image, reduced.scale, self._level - 1)
            if [face.level >= self._level for face in self._near(faces)] == [True]:
                return faces  # at a lower level, a skipped one might fit the face better
        return detect_resized(reduced.image, reduced.scale)

    def _near(self, faces: Sequence[Detection]) -> list[Detection]:
        return [face for face in faces if self._last is not None and iou(face.box, self._last) >= SAME_PLACE]

    def _choose(self, image: Image, faces: Sequence[Detection]) -> Detection | None:
        near = self._near(faces)
        if len(near) == 1:
            self.reference.keep(image, near[0])
            return near[0]
        unknown = [face for face in faces if all(iou(face.box, other) < SAME_PLACE for other in self._others)]
        return self._identify(image, near or unknown)

    def _identify(self, image: Image, candidates: Sequence[Detection]) -> Detection | None:
        """Return the candidate closest to the reference face, or None if all are too far from it."""
        if not candidates:
            return None
        if not self.reference.known:
            raise UnknownPersonError
        best = person_of_interest(candidates, image.shape[1], image.shape[0])
        reference = self.reference
        if reference.face is None or (reference.face[1].score < WEAK_REFERENCE <= best.score):
            self.reference = Reference(face=(image, best))
            return best
        if reference.embedding is None:
            reference.embedding = self._embed(*reference.face)
        distances = [float(np.linalg.norm(self._embed(image, face) - reference.embedding)) for face in candidates]
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

    def _is_scene_cut(self, thumbnail: NDArray[np.float32]) -> bool:
        before, self._thumbnail = self._thumbnail, thumbnail
        return before is not None and float(np.abs(thumbnail - before).mean()) > SCENE_CUT


def _search_fine(image: Image, *, thorough: bool) -> list[Detection]:
    """Detect all faces at the fine width; if there are none and ``thorough``, at the finest width."""
    largest = 2 * max(image.shape[:2])  # enlarging an image further finds no more faces
    fine = detect(image, min(FINE_WIDTH, largest))
    return fine if fine or not thorough or largest <= FINE_WIDTH else detect(image, min(FINEST_WIDTH, largest))


def _merged(faces: Sequence[Detection], more: Sequence[Detection]) -> list[Detection]:
    """Merge the faces of two searches of one image; a face found twice keeps its first detection."""
    return [*faces, *(new for new in more if all(iou(new.box, face.box) < SAME_PLACE for face in faces))]
