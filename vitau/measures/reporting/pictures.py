"""Pictures of key frames: the upright face with its measured lines, and the face that each half makes with its mirror image."""

from dataclasses import dataclass
from typing import Final, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from vitau.measures.geometry import Floats
from vitau.measures.reporting.words import SIDE_COLORS
from vitau.measures.results import KeyFrame
from vitau.media.crops import Image, from_jpeg
from vitau.schema import Side

SIZE: Final = (420, 480)
"""Width and height of a picture, px."""
EYE_DISTANCE: Final = 142.0
"""Distance between the centers of the eyes in a picture, px: about a third of its width."""
EYE_LEVEL: Final = 0.40
"""Height of the eyes in a picture, as a share from the top."""
_QUALITY: Final = 82
_SHADOW: Final = (24, 26, 30)
_PALE: Final = (245, 245, 245)
_SIDES: Final = {
    Side.RIGHT: (slice(17, 22), slice(36, 42), (37, 38), (41, 40), 48),
    Side.LEFT: (slice(22, 27), slice(42, 48), (43, 44), (47, 46), 54),
}
"""Landmarks of a side: brow, eye, upper lid, lower lid, lip corner."""

Ends: TypeAlias = tuple[tuple[float, float], tuple[float, float]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """A measured line of one side, between two points in px."""

    side: Side
    measure: str
    ends: Ends


def upright_face(frame: KeyFrame) -> tuple[Image, Floats]:
    """Return the face of a key frame in the size of all pictures with level eyes, and its landmarks (68, 2) there."""
    points = frame.points.astype(np.float64)
    right, left = points[36:42].mean(axis=0), points[42:48].mean(axis=0)
    axis = left - right
    scale = EYE_DISTANCE / max(float(np.hypot(*axis)), 1e-6)
    cos, sin = axis / max(float(np.hypot(*axis)), 1e-6)
    turn = scale * np.array([[cos, sin], [-sin, cos]])
    target = np.array([SIZE[0] / 2, SIZE[1] * EYE_LEVEL])
    affine = np.column_stack([turn, target - turn @ ((right + left) / 2)])
    image = cv2.warpAffine(from_jpeg(frame.jpeg), affine, SIZE, flags=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    return image, points @ affine[:, :2].T + affine[:, 2]


def measured_lines(points: Floats) -> list[Line]:
    """Return the lines of the main measures of both sides for landmarks (68, 2) of a face with level eyes, px."""
    lines: list[Line] = []
    nose = points[33]
    for side, (brow, eye, upper, lower, corner) in _SIDES.items():
        center, brow_center = points[eye].mean(axis=0), points[brow].mean(axis=0)
        lid_top, lid_bottom = points[list(upper)].mean(axis=0), points[list(lower)].mean(axis=0)
        x, y = points[corner]
        pairs: dict[str, Ends] = {
            "brow_height": ((brow_center[0], brow_center[1]), (brow_center[0], center[1])),
            "lid_gap": ((center[0], lid_top[1]), (center[0], lid_bottom[1])),
            "lip_corner_height": ((x, nose[1]), (x, y)),
            "lip_corner_lateral": ((nose[0], y), (x, y)),
        }
        lines += [Line(side=side, measure=measure, ends=ends) for measure, ends in pairs.items()]
    return lines


def draw_lines(image: Image, points: Floats, *, thickness: int = 2, measured: bool = True) -> None:
    """Draw landmarks, reference lines and measured lines onto an image, at any roll of the head.

    Args:
        image: (H, W, 3) uint8 RGB; it is changed.
        points: (68, 2) px of the image.
        thickness: of the measured lines, px.
        measured: draw the lines; without them, the landmarks alone.
    """
    if measured:
        level, turn, middle = _leveled(points)

        def back(point: tuple[float, float]) -> tuple[float, float]:
            x, y = np.array(point) @ turn + middle
            return float(x), float(y)

        half = abs(float(level[36:42, 0].mean()))
        nose, chin = level[33][0], level[8][1]
        _dashed(image, back((-1.9 * half, 0)), back((1.9 * half, 0)))
        _dashed(image, back((nose, -0.9 * half)), back((nose, chin + 0.2 * half)))
    for x, y in points:
        _dot(image, (x, y), max(1, thickness - 1))
    if measured:
        for line in measured_lines(level):
            _stroke(image, (back(line.ends[0]), back(line.ends[1])), SIDE_COLORS[line.side], thickness)


def _leveled(points: Floats) -> tuple[Floats, Floats, Floats]:
    """Return landmarks with level eyes around the middle between them, and the turn and the shift that lead back."""
    right, left = points[36:42].mean(axis=0), points[42:48].mean(axis=0)
    axis = left - right
    cos, sin = axis / max(float(np.hypot(*axis)), 1e-6)
    turn, middle = np.array([[cos, sin], [-sin, cos]]), (right + left) / 2
    return (points - middle) @ turn.T, turn, middle


def measured_picture(frame: KeyFrame) -> bytes:
    """Return the upright face of a key frame with its measured lines, JPEG; R and L mark the person's own sides."""
    image, points = upright_face(frame)
    drawn = image.copy()
    draw_lines(drawn, points)
    for side, x in ((Side.RIGHT, 14), (Side.LEFT, SIZE[0] - 30)):
        _letter(drawn, side.value[0].upper(), (x, 30), SIDE_COLORS[side])
    return _jpeg(drawn)


def mirrored_halves(frame: KeyFrame) -> tuple[bytes, bytes]:
    """Return two whole faces as JPEG: the person's right half with its mirror image, then the left half with its own.

    The halves meet in the middle of the nose (mean of 27–30 and 33): between the eyes, a slightly turned head would have two
    noses.
    """
    image, points = upright_face(frame)
    width, height = SIZE
    middle = int(np.clip(round(float(points[[27, 28, 29, 30, 33], 0].mean())), width // 3, width - width // 3))
    half = min(middle, width - middle)
    right, left = image[:, middle - half : middle], image[:, middle : middle + half]
    whole = (np.concatenate([right, right[:, ::-1]], axis=1), np.concatenate([left[:, ::-1], left], axis=1))
    first, second = (_jpeg(_filled(face, (width // 2, height // 2))) for face in whole)
    return first, second


def _filled(face: Image, size: tuple[int, int]) -> Image:
    """Return a face in another size with its proportions, with the middle of its height."""
    width, height = size
    used = round(face.shape[1] * height / width)
    top = max((face.shape[0] - used) // 2, 0)
    return cv2.resize(face[top : top + used], size, interpolation=cv2.INTER_AREA)


def _jpeg(image: Image) -> bytes:
    _, encoded = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    return encoded.tobytes()


def _px(point: tuple[float, float]) -> tuple[int, int]:
    return round(float(point[0]) * 16), round(float(point[1]) * 16)


def _stroke(image: Image, ends: Ends, color: tuple[int, int, int], thickness: int) -> None:
    """Draw a line with a dark edge, so that it is seen on any skin; subpixel ends."""
    start, end = _px(ends[0]), _px(ends[1])
    cv2.line(image, start, end, _SHADOW, thickness + 2, cv2.LINE_AA, shift=4)
    cv2.line(image, start, end, color, thickness, cv2.LINE_AA, shift=4)


def _dot(image: Image, point: tuple[float, float], radius: int) -> None:
    cv2.circle(image, _px(point), 16 * (radius + 1), _SHADOW, -1, cv2.LINE_AA, shift=4)
    cv2.circle(image, _px(point), 16 * radius, _PALE, -1, cv2.LINE_AA, shift=4)


def _dashed(image: Image, start: tuple[float, float], end: tuple[float, float], dash: float = 9.0) -> None:
    first, last = np.array(start), np.array(end)
    count = max(1, int(np.hypot(*(last - first)) / dash))
    for number in range(0, count, 2):
        ends = first + (last - first) * number / count, first + (last - first) * min(number + 1, count) / count
        cv2.line(image, _px((ends[0][0], ends[0][1])), _px((ends[1][0], ends[1][1])), _PALE, 1, cv2.LINE_AA, shift=4)


def _letter(image: NDArray[np.uint8], letter: str, place: tuple[int, int], color: tuple[int, int, int]) -> None:
    cv2.putText(image, letter, place, cv2.FONT_HERSHEY_SIMPLEX, 0.8, _SHADOW, 5, cv2.LINE_AA)
    cv2.putText(image, letter, place, cv2.FONT_HERSHEY_SIMPLEX, 0.8, color, 2, cv2.LINE_AA)
