"""Aligned crops: alignment by 68 landmarks, unmirroring, extraction, and quality measures."""

from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from vitau.schema import CROP_SIZE, MIRROR, NUM_LANDMARKS

Image: TypeAlias = NDArray[np.uint8]
"""(H, W, 3) RGB."""
Points: TypeAlias = NDArray[np.floating[Any]]
"""(N, 2) x and y in px; the center of the first pixel is (0, 0)."""

LEFT_EYE: Final = slice(36, 42)
RIGHT_EYE: Final = slice(42, 48)
MOUTH_CORNERS: Final = (48, 54)

MAX_SUPERSAMPLING: Final = 12

_POSE_POINTS: Final = np.array([8, 27, 30, 33, 36, 39, 42, 45, 48, 54])
# mm from the midpoint of the eyes; x to the right of the picture, y down, z away from the camera. Rounded proportions of
# adult heads: the pose is accurate to a few degrees, which suffices for a limit on the turn of the head.
_POSE_MODEL: Final = np.array(
    [
        (0.0, 126.0, 4.0),
        (0.0, -3.0, -13.0),
        (0.0, 37.0, -34.0),
        (0.0, 52.0, -18.0),
        (-46.0, 0.0, 14.0),
        (-20.0, 1.0, 2.0),
        (20.0, 1.0, 2.0),
        (46.0, 0.0, 14.0),
        (-28.0, 74.0, -4.0),
        (28.0, 74.0, -4.0),
    ]
)

_POSE_REFINED: Final = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 20, 1e-9)


def alignment(landmarks: Points, size: int = CROP_SIZE, *, mirrored: bool = False) -> NDArray[np.float64]:
    """Compute the affine map from px of an aligned crop to px of the frame, with the alignment of FFHQ.

    ``e`` is the vector from eye to eye, ``m`` from the eyes to the mouth. Half the crop's width is x = e − rot90(m), scaled to
    max(2·|e|, 1.8·|m|). The crop's center is the midpoint of the eyes + 0.1·m (Karras et al., CVPR 2019).

    Args:
        landmarks: (68, 2), in dlib's order as seen in the picture, also in a mirrored one.
        size: side of the crop, px.
        mirrored: the picture is a mirror image; the map then includes the flip.

    Returns:
        (2, 3) affine; apply it with :func:`transform`.

    Raises:
        ValueError: not 68 points, or eyes and mouth coincide.
    """
    points = np.asarray(landmarks, dtype=np.float64)
    if points.shape != (NUM_LANDMARKS, 2):
        raise ValueError(f"landmarks have the shape {points.shape}; give ({NUM_LANDMARKS}, 2)")
    eye_left, eye_right = points[LEFT_EYE].mean(axis=0), points[RIGHT_EYE].mean(axis=0)
    eyes = (eye_left + eye_right) / 2
    eye_to_eye = eye_right - eye_left
    eyes_to_mouth = points[list(MOUTH_CORNERS)].mean(axis=0) - eyes
    x = eye_to_eye - _rot90(eyes_to_mouth)
    length = np.linalg.norm(x)
    if not length > 0:
        raise ValueError("the eyes and the mouth of these landmarks do not span a face; leave this face out")
    x *= max(2 * np.linalg.norm(eye_to_eye), 1.8 * np.linalg.norm(eyes_to_mouth)) / length
    y = _rot90(x)
    corner = eyes + 0.1 * eyes_to_mouth - x - y
    step_u, step_v = 2 * x / size, 2 * y / size
    origin = corner + (step_u + step_v) / 2  # center of the crop's first pixel
    crop_to_frame = np.column_stack([step_u, step_v, origin])
    if mirrored:
        crop_to_frame = np.column_stack([-step_u, step_v, origin + (size - 1) * step_u])
    return crop_to_frame


def transform(affine: NDArray[np.float64], points: Points) -> NDArray[np.float64]:
    """Return points (N, 2) mapped by a (2, 3) affine."""
    return np.asarray(points, dtype=np.float64) @ affine[:, :2].T + affine[:, 2]


def renumbered(landmarks: Points) -> Points:
    """Return landmarks (68, 2) of a mirrored picture in the order of the person's own sides; the positions do not change."""
    return landmarks[list(MIRROR)]


def extract_crop(image: Image, crop_to_frame: NDArray[np.float64], size: int = CROP_SIZE) -> Image:
    """Extract the aligned crop (size, size, 3) uint8, with reflected borders.

    A face larger than the crop is supersampled and averaged, so that fine structure does not alias.
    """
    scale = np.linalg.norm(crop_to_frame[:, 0])
    finer = int(np.clip(np.ceil(scale - 1e-6), 1, MAX_SUPERSAMPLING))
    linear = crop_to_frame[:, :2] / finer
    origin = crop_to_frame[:, 2] - crop_to_frame[:, :2].sum(axis=1) / 2 + linear.sum(axis=1) / 2
    warped = cv2.warpAffine(
        image,
        np.column_stack([linear, origin]),
        (size * finer, size * finer),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT_101,
    )
    return warped if finer == 1 else cv2.resize(warped, (size, size), interpolation=cv2.INTER_AREA)


@dataclass(frozen=True, kw_only=True, slots=True)
class Quality:
    """Quality measures of a crop; the fields are columns of the frame table, with their units."""

    sharpness: float
    brightness: float
    clipped: float
    face_px: float
    yaw_deg: float
    pitch_deg: float
    roll_deg: float


def quality(
    crop: Image, crop_landmarks: Points, landmarks: Points, frame_size: tuple[int, int], *, mirrored: bool = False
) -> Quality:
    """Measure sharpness, exposure, size and head pose of one face.

    Args:
        crop: (S, S, 3) uint8 RGB.
        crop_landmarks: (68, 2) px of the crop.
        landmarks: (68, 2) px of the frame, in dlib's order as seen in the picture.
        frame_size: width and height of the frame, px.
        mirrored: the frame is a mirror image; the head pose is always the person's own.
    """
    luma = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)
    face = np.zeros_like(luma)
    cv2.fillConvexPoly(face, cv2.convexHull(np.round(crop_landmarks).astype(np.int32)), 1)
    face_luma = luma[face.astype(bool)] if face.any() else luma.ravel()
    if mirrored:
        landmarks = renumbered(landmarks) * (-1, 1) + (frame_size[0] - 1, 0)
    yaw, pitch, roll = head_pose(landmarks, frame_size)
    return Quality(
        sharpness=float(cv2.Laplacian(luma, cv2.CV_64F).var()),
        brightness=float(face_luma.mean()),
        clipped=float(((face_luma <= 4) | (face_luma >= 251)).mean()),
        face_px=float(np.linalg.norm(landmarks[RIGHT_EYE].mean(axis=0) - landmarks[LEFT_EYE].mean(axis=0))),
        yaw_deg=yaw,
        pitch_deg=pitch,
        roll_deg=roll,
    )


def head_pose(landmarks: Points, frame_size: tuple[int, int]) -> tuple[float, float, float]:
    """Estimate yaw (to the person's left), pitch (up) and roll (clockwise in the picture) of an unmirrored face, degrees.

    Ten rigid points of an average head are fitted to the landmarks by perspective-n-point: in closed form (SQPnP, Terzakis and
    Lourakis, ECCV 2020), and refined until the reprojection error is least, to a hundredth of a degree. The focal length of the
    camera is 1.2 times the longer side of the frame.
    """
    width, height = frame_size
    focal = 1.2 * max(frame_size)
    camera = np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])
    points = np.asarray(landmarks, dtype=np.float64)[_POSE_POINTS]
    _, rotation, position = cv2.solvePnP(_POSE_MODEL, points, camera, None, flags=cv2.SOLVEPNP_SQPNP)
    rotation, _ = cv2.solvePnPRefineVVS(_POSE_MODEL, points, camera, None, rotation, position, _POSE_REFINED)
    head: NDArray[np.float64] = cv2.Rodrigues(rotation)[0]
    gaze = -head[:, 2]
    yaw, pitch = np.arctan2(gaze[0], -gaze[2]), np.arcsin(np.clip(-gaze[1], -1, 1))
    turn = cv2.Rodrigues(np.array([0.0, -yaw, 0.0]))[0] @ cv2.Rodrigues(np.array([-pitch, 0.0, 0.0]))[0]
    tilt = turn.T @ head
    return float(np.degrees(yaw)), float(np.degrees(pitch)), float(np.degrees(np.arctan2(tilt[1, 0], tilt[0, 0])))


def to_jpeg(crop: Image) -> bytes:
    """Encode a crop as JPEG of quality 95; the same crop gives the same bytes."""
    _, encoded = cv2.imencode(".jpg", cv2.cvtColor(crop, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 95])
    return encoded.tobytes()


def from_jpeg(data: bytes) -> Image:
    """Decode a crop (S, S, 3) uint8 RGB from :func:`to_jpeg`."""
    return cv2.cvtColor(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def _rot90(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.array([-vector[1], vector[0]])
