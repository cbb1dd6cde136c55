"""The check of a recording before the person leaves: size, light, direction and sharpness of the face, and its exercises."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from vitau.measures.exercises.naming import name_frames
from vitau.measures.exercises.segments import UsableFrames, find_exercises
from vitau.measures.geometry import Floats, measure_points, own_points
from vitau.measures.landmarks.refinement.network import load_networks
from vitau.measures.landmarks.refinement.refined import refine
from vitau.measures.results import TASK_WORDS, Task
from vitau.media.clips import SampledFrame, read_encoding, sample_frames
from vitau.media.crops import Image, head_pose, quality
from vitau.media.faces import Detection, align, detect, landmarks, person_of_interest
from vitau.media.inputs import RecordingOptions
from vitau.schema import FrameLimits

RATE_FPS: Final = 5.0
"""Looked-at frames per second; a face is detected once per second, and followed between."""
SEARCH_WIDTH: Final = 320
DETECT_EVERY_S: Final = 1.0
SEARCH_EVERY_S: Final = 0.6
"""Time between two searches for a face that was lost."""
GOOD_FACE_PX: Final = 60.0
"""Distance of the eyes from which one px of error is less than 2 % of it."""
GOOD_ANGLE_DEG: Final = 15.0
GOOD_SHARE: Final = 0.9
MOST_UNEVEN: Final = 1.6
"""Ratio of the luma of the two halves of the face."""
GOOD_FRAME_RATE: Final = 20.0
_LIMITS: Final = FrameLimits()


@dataclass(frozen=True, kw_only=True, slots=True)
class Aspect:
    """One aspect of a recording: what was found, whether it is good enough, and what to do if it is not."""

    name: str
    found: str
    good: bool
    advice: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipCheck:
    """The check of one recording; ``took_s`` is how long it took, ``lasts_s`` how long the recording is."""

    aspects: tuple[Aspect, ...]
    exercises: tuple[Task, ...]
    missing: tuple[Task, ...]
    lasts_s: float
    took_s: float

    @property
    def good(self) -> bool:
        """True if every aspect is good enough; missing exercises are the examiner's choice."""
        return all(aspect.good for aspect in self.aspects)


@dataclass(kw_only=True, slots=True)
class _Seen:
    """Observations of the looked-at frames."""

    num_frames: int = 0
    num_others: int = 0
    time_s: list[float] = field(default_factory=list)
    points: list[Floats] = field(default_factory=list)
    face_px: list[float] = field(default_factory=list)
    yaw: list[float] = field(default_factory=list)
    pitch: list[float] = field(default_factory=list)
    sharpness: list[float] = field(default_factory=list)
    brightness: list[float] = field(default_factory=list)
    clipped: list[float] = field(default_factory=list)
    halves: list[tuple[float, float]] = field(default_factory=list)
    last_s: float = 0.0


def check_clip(path: Path, options: RecordingOptions) -> ClipCheck:
    """Look at a recording; about a second per ten seconds of it on one core.

    Raises:
        ClipError: it cannot be read.
    """
    began = time.monotonic()
    seen = _look(path, options)
    aspects = [_face_aspect(seen), *(_aspects(seen) if seen.points else ())]
    frame_rate = read_encoding(path, options.fps).frame_rate
    if frame_rate is not None and seen.num_frames > 1:
        advice = "record at least 25 frames per second: quick movements are missed"
        aspects.append(
            Aspect(name="frame rate", found=f"{frame_rate:.0f} per second", good=frame_rate >= GOOD_FRAME_RATE, advice=advice)
        )
    found = _exercises(seen)
    return ClipCheck(
        aspects=tuple(aspects),
        exercises=tuple(task for task in Task if task in found),
        missing=tuple(task for task in Task if task not in found),
        lasts_s=seen.last_s,
        took_s=time.monotonic() - began,
    )


def _look(path: Path, options: RecordingOptions) -> _Seen:
    """Follow the face through the sampled frames; one is in memory at a time."""
    networks = load_networks()
    seen = _Seen()
    face: Detection | None = None
    detected_s = -np.inf
    for frame in sample_frames(path, RATE_FPS, options.start_s, options.end_s, options.fps):
        seen.num_frames += 1
        seen.last_s = frame.time_s
        if frame.time_s - detected_s >= (DETECT_EVERY_S if face is not None else SEARCH_EVERY_S):
            face = _detected(frame.image, seen)
            detected_s = frame.time_s
            if face is not None:
                _add_quality(seen, frame.image, face, mirrored=options.mirrored)
        if face is None:
            continue
        points = landmarks(frame.image, face.box)
        _add_frame(seen, frame, refine(frame.image, points, networks, num_passes=1), mirrored=options.mirrored)
        face = _followed(face, points)
    return seen


def _detected(image: Image, seen: _Seen) -> Detection | None:
    faces = detect(image, SEARCH_WIDTH) or detect(image, 2 * SEARCH_WIDTH)
    seen.num_others += len(faces) > 1
    return person_of_interest(faces, image.shape[1], image.shape[0]) if faces else None


def _followed(face: Detection, points: NDArray[np.float32]) -> Detection:
    """Return the face with its box around its landmarks, in the size in which it was detected."""
    _, _, width, height = face.box
    x, y = points.mean(axis=0)
    return Detection(box=(float(x) - width / 2, float(y) - 0.53 * height, width, height), score=face.score)


def _add_frame(seen: _Seen, frame: SampledFrame, points: NDArray[np.float32], *, mirrored: bool) -> None:
    size = (frame.image.shape[1], frame.image.shape[0])
    own = own_points(points, mirrored=mirrored) + ((size[0] - 1, 0) if mirrored else (0, 0))
    yaw, pitch, _ = head_pose(own, size)
    seen.time_s.append(frame.time_s)
    seen.points.append(own)
    seen.yaw.append(yaw)
    seen.pitch.append(pitch)
    seen.face_px.append(float(np.linalg.norm(points[36:42].mean(axis=0) - points[42:48].mean(axis=0))))


def _add_quality(seen: _Seen, image: Image, face: Detection, *, mirrored: bool) -> None:
    aligned = align(image, face, mirrored=mirrored)
    size = (image.shape[1], image.shape[0])
    measured = quality(aligned.crop, aligned.crop_landmarks, aligned.landmarks, size, mirrored=mirrored)
    seen.sharpness.append(measured.sharpness)
    seen.brightness.append(measured.brightness)
    seen.clipped.append(measured.clipped)
    luma = cv2.cvtColor(aligned.crop, cv2.COLOR_RGB2GRAY)
    hull = np.zeros_like(luma)
    cv2.fillConvexPoly(hull, cv2.convexHull(np.round(aligned.crop_landmarks).astype(np.int32)), 1)
    middle = round(float(aligned.crop_landmarks[27:31, 0].mean()))
    sides = [(part[:, :middle], part[:, middle:]) for part in (luma, hull)]
    right, left = (float(sides[0][side][sides[1][side] > 0].mean()) if sides[1][side].any() else 0.0 for side in (0, 1))
    seen.halves.append((right, left))


def _face_aspect(seen: _Seen) -> Aspect:
    share = len(seen.points) / seen.num_frames
    advice = "keep the whole face in the picture, turned to the camera"
    return Aspect(
        name="face", found=f"in {share:.0%} of {seen.num_frames} looked-at frames", good=share >= GOOD_SHARE, advice=advice
    )


def _aspects(seen: _Seen) -> list[Aspect]:
    """Return the aspects of a recording in which a face was found."""
    face_px, brightness, sharpness = (float(np.median(values)) for values in (seen.face_px, seen.brightness, seen.sharpness))
    angle_N = np.maximum(np.abs(seen.yaw), np.abs(seen.pitch))
    frontal = float((angle_N <= GOOD_ANGLE_DEG).mean())
    clipped = float(np.median(seen.clipped))
    right, left = np.median(np.array(seen.halves), axis=0)
    uneven = float(max(right, left) / max(min(right, left), 1.0))
    lit = _LIMITS.brightness_min * 1.5 <= brightness <= _LIMITS.brightness_max * 0.95 and clipped <= _LIMITS.clipped_max / 2
    darker = "left" if right > left else "right"
    direction = "up or down" if np.median(np.abs(seen.pitch)) > np.median(np.abs(seen.yaw)) else "to one side"
    return [
        Aspect(
            name="size",
            found=f"{face_px:.0f} px between the eyes",
            good=face_px >= GOOD_FACE_PX,
            advice=f"go nearer or use a finer picture: at least {GOOD_FACE_PX:.0f} px",
        ),
        Aspect(
            name="frontal",
            found=f"{frontal:.0%} of frames within {GOOD_ANGLE_DEG:.0f}°",
            good=frontal >= GOOD_SHARE,
            advice=f"the head is turned {direction}: put the camera in front of the face, at the height of the eyes",
        ),
        Aspect(
            name="light",
            found=f"brightness {brightness:.0f} of 255",
            good=lit,
            advice="use more light from the front" if brightness < 128 else "use less light: parts of the face have no detail",
        ),
        Aspect(
            name="even light",
            found=f"one half of the face {uneven:.1f} times as bright as the other",
            good=uneven <= MOST_UNEVEN,
            advice=f"light the person's {darker} side too: shadows look like asymmetry",
        ),
        Aspect(
            name="sharpness",
            found=f"{sharpness:.0f}, at least {_LIMITS.sharpness_min:.0f}",
            good=sharpness >= _LIMITS.sharpness_min,
            advice="clean the lens, let the camera focus on the face, and put it on a stand",
        ),
        Aspect(
            name="one person",
            found="several faces" if seen.num_others else "one face",
            good=seen.num_others == 0,
            advice="let nobody else be in the picture",
        ),
    ]


def _exercises(seen: _Seen) -> frozenset[Task]:
    """Return the exercises that are recognized in two looked-at frames in a row; one alone may be a landmark that jumped."""
    if len(seen.points) < 2:
        return frozenset()
    length = len(seen.points)
    frames = UsableFrames(
        positions=np.arange(length),
        columns=measure_points(np.stack(seen.points)),
        time_s=np.array(seen.time_s),
        part=np.zeros(length, dtype=np.int64),
        stated=(None,) * length,
    )
    named = name_frames(frames.columns, np.zeros(length, dtype=bool), frames.time_s)
    _, exercises = find_exercises(frames, named)
    return frozenset(exercise.task for exercise in exercises if exercise.last > exercise.first)


def lines(check: ClipCheck) -> list[str]:
    """Return the check as lines for a terminal: aspect, verdict, what was found, and advice."""
    found = [
        f"{aspect.name}\t{'good' if aspect.good else 'POOR'}\t{aspect.found}" + ("" if aspect.good else f": {aspect.advice}")
        for aspect in check.aspects
    ]
    return [*found, f"exercises\tfound\t{_named(check.exercises)}", f"exercises\tnot found\t{_named(check.missing)}"]


def _named(tasks: Sequence[Task]) -> str:
    return ", ".join(TASK_WORDS[task] for task in tasks) or "none"


def record(check: ClipCheck) -> dict[str, Any]:
    """Return the check as JSON values."""
    return {
        "good": check.good,
        "aspects": [asdict(aspect) for aspect in check.aspects],
        "exercises": list(check.exercises),
        "missing": list(check.missing),
        "lasts_s": round(check.lasts_s, 3),
        "took_s": round(check.took_s, 3),
    }
