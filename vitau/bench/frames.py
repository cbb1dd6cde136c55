"""Benchmark of face tracking in a clip against dlib's full search in every frame."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final, TypeAlias

import dlib
import numpy as np
from numpy.typing import NDArray

from vitau.bench.measure import Result, Watch, compare
from vitau.media.clips import SampledFrame
from vitau.media.crops import Image
from vitau.media.faces import Detection, FaceCrop, align
from vitau.media.synthetic.cohort import draw_clip
from vitau.media.synthetic.people import draw_person
from vitau.media.tracking.tracker import track_faces

ROUNDS: Final = 3
PEOPLE: Final = (3, 4)
SEED: Final = 1

Faces: TypeAlias = list[FaceCrop | None]


def bench(
    rounds: int = ROUNDS, watch: Watch = lambda *_: None, people: Sequence[int] = PEOPLE, frames_per_task: int = 2
) -> Result:
    """Follow the face through drawn clips of 640 × 480 px, one case per clip; both sides give aligned crops and landmarks.

    The baseline searches every frame at twice its size (dlib's ``upsample`` 1, as its examples do) and takes the best face.
    Both run in one thread, from decoded frames, and share landmarks and alignment.
    """
    cases = []
    for index in people:
        images = list(draw_clip(draw_person(SEED, index), frames_per_task))
        case = compare(
            f"drawn person {index}, {len(images)} frames",
            partial(follow, images),
            partial(search_all, images),
            judge,
            amount=len(images),
            unit="frames/s",
            rounds=rounds,
            watch=watch,
        )
        cases.append(case)
    return Result(
        name="frames",
        compared="the face in every frame, followed beside dlib's full search of each",
        difference="of the 68 landmarks' mean distance in one frame, px of the frame",
        cases=tuple(cases),
    )


def follow(images: Sequence[Image]) -> Faces:
    """Find the faces as ingest does."""
    frames = (SampledFrame(index=number, time_s=0.0, image=image) for number, image in enumerate(images))
    return [face for _, _, face in track_faces(frames)]


def search_all(images: Sequence[Image]) -> Faces:
    """Find the faces by a full search in every frame."""
    detector = dlib.get_frontal_face_detector()
    return [_best(detector, image) for image in images]


def judge(ours: Faces, theirs: Faces) -> Mapping[str, float]:
    """Compare two lists of faces: the share of frames with both, and the distances of their landmarks, px."""
    both = [(a, b) for a, b in zip(ours, theirs, strict=True) if a is not None and b is not None]
    assert both, "a drawn face is found"
    distances = np.stack([_distances(a, b) for a, b in both])
    return {
        "max_difference": float(distances.mean(1).max()),
        "share_both_found": len(both) / len(ours),
        "share_ours_found": sum(face is not None for face in ours) / len(ours),
        "share_baseline_found": sum(face is not None for face in theirs) / len(theirs),
        "median_landmark_distance_px": float(np.median(distances)),
    }


def _distances(a: FaceCrop, b: FaceCrop) -> NDArray[np.float32]:
    distance: NDArray[np.float32] = np.hypot(*(a.landmarks - b.landmarks).T)
    return distance


def _best(detector: dlib.fhog_object_detector, image: Image) -> FaceCrop | None:
    rectangles, scores, _ = detector.run(image, 1, 0.0)
    if not rectangles:
        return None
    best = rectangles[0]  # the best comes first
    return align(image, Detection(box=(best.left(), best.top(), best.width(), best.height()), score=scores[0]))
