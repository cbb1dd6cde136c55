"""Benchmark of the frame table of a clip against a straightforward script of the usual libraries."""

import itertools
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import cv2
import dlib
import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vitau.bench.measure import Result, Watch, compare, in_turn, rate
from vitau.media.clips import sample_frames
from vitau.media.crops import LEFT_EYE, RIGHT_EYE, Image
from vitau.media.faces import detect, landmarks, load_models, predictor
from vitau.media.frames import write_frames
from vitau.media.synthetic.cohort import draw_clip, encode_clip
from vitau.media.synthetic.people import draw_person
from vitau.media.tracking.split import Split
from vitau.media.tracking.tracker import COARSE_WIDTH
from vitau.schema import Clip

SEED: Final = 1
PERSON: Final = 4
FPS: Final = 30
RATE_FPS: Final = 6
"""Sampled frames per second; every fifth frame of the clip."""
FRAMES_PER_TASK: Final = 8
CLOSER: Final = 1.5
"""Enlargement after which a drawn face fills 39 % of the frame's width, as in recordings from nearby."""
HELD: Final = 56
"""Frames on which the floors of landmarks and of searches are timed."""

CLIP: Final = Clip(sha256="0" * 64, subject="drawn", source="bench", suffix=".mp4", synthetic=True)
_AHEAD: Final = Split(num_processes=2, long=sys.maxsize)


@dataclass(frozen=True, kw_only=True, slots=True)
class Faces:
    """Landmarks (68, 2) in px of the frame per sampled frame, ``None`` without a face."""

    landmarks: tuple[NDArray[np.float64] | None, ...]


def bench(
    rounds: int = 5,
    watch: Watch = lambda *_: None,
    *,
    name: str = "ingest",
    upsample: int = 1,
    duration_s: float | None = None,
    at_least: float = 8.0,
    zooms: Sequence[float] = (1.0, CLOSER),
) -> Result:
    """Write the frame table of a drawn clip of 640 × 480 px and 30 frames per second, in one process.

    The drawn face is 27 % of the frame's width. In a second clip it is 39 %: dlib's pyramid is searched from a later level.

    Ours decodes and searches the next frames in threads, as ingest does where cores are free. The baseline reads the clip with
    OpenCV, which decodes with one thread per core, and takes every fifth frame. It searches the frame with dlib, predicts the
    landmarks, cuts dlib's face chip of 256 px, measures sharpness and brightness, and writes a PNG per frame and one table.

    Args:
        rounds: paired measurements.
        watch: called after every round.
        name: of the benchmark.
        upsample: how often the baseline doubles the frame before the search; 1 in dlib's examples.
        duration_s: of the clip; by default that of the drawing, about 9 s. A longer one needs no run to warm up.
        at_least: smallest ratio that is wanted.
        zooms: the enlargement of each clip.
    """
    cv2.setNumThreads(1)
    load_models()
    cases = []
    with TemporaryDirectory() as folder:
        for zoom in zooms:
            path = Path(folder) / f"{zoom}.mp4"
            num_sampled = write_drawn(path, duration_s, zoom)
            case = compare(
                f"drawn person {PERSON}{'' if zoom == 1 else f', {zoom:g} times as large'}, {num_sampled} frames of "
                f"{num_sampled / RATE_FPS:.0f} s, upsample {upsample}",
                partial(ours, path),
                partial(straightforward, path, upsample),
                judge,
                amount=num_sampled,
                unit="frames/s",
                rounds=rounds,
                watch=watch,
                at_least=at_least,
                floors=floors(path, num_sampled),
                warm=duration_s is None,
            )
            cases.append(case)
    return Result(
        name=name,
        compared="clip to crops, landmarks, quality and table, ours beside a script of OpenCV and dlib",
        difference="of the 68 landmarks' mean distance in one frame, as a share of the distance between the eyes",
        cases=tuple(cases),
    )


def write_drawn(path: Path, duration_s: float | None = None, zoom: float = 1.0) -> int:
    """Write a clip in which each drawn frame is held for a sampling interval; return the number of sampled frames.

    With a ``zoom``, the middle of each frame is enlarged to its size.
    """
    images = [_enlarged(image, zoom) for image in draw_clip(draw_person(SEED, PERSON), FRAMES_PER_TASK)]
    num_sampled = len(images) if duration_s is None else round(duration_s * RATE_FPS)
    held = FPS // RATE_FPS
    frames = (image for image in itertools.islice(itertools.cycle(images), num_sampled) for _ in range(held))
    encode_clip(path, frames, FPS)
    return num_sampled


def _enlarged(image: Image, zoom: float) -> Image:
    height, width = image.shape[:2]
    rows, columns = round(height / zoom), round(width / zoom)
    top, left = (height - rows) // 2, (width - columns) // 2
    middle = np.ascontiguousarray(image[top : top + rows, left : left + columns])
    enlarged: Image = cv2.resize(middle, (width, height), interpolation=cv2.INTER_CUBIC)
    return enlarged


def ours(path: Path) -> Faces:
    """Write the frame table as ingest does, and read the landmarks back."""
    with TemporaryDirectory() as folder:
        table = Path(folder) / "frames.parquet"
        write_frames(CLIP, path, table, split=_AHEAD)
        points = pq.read_table(table, columns=["landmarks"])["landmarks"].to_pylist()
    return Faces(landmarks=tuple(None if flat is None else np.array(flat).reshape(-1, 2) for flat in points))


def straightforward(path: Path, upsample: int) -> Faces:
    """Do the same with the functions that the libraries' examples show."""
    detector, video = dlib.get_frontal_face_detector(), cv2.VideoCapture(str(path))
    found: list[NDArray[np.float64] | None] = []
    rows: list[dict[str, Any]] = []
    with TemporaryDirectory() as folder:
        for number in itertools.count():
            there, image = video.read()
            if not there:
                break
            if number % (FPS // RATE_FPS):
                continue
            rgb = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
            rectangles = detector(rgb, upsample)
            if not rectangles:
                found.append(None)
                continue
            shape = predictor()(rgb, max(rectangles, key=lambda box: box.area()))
            chip = dlib.get_face_chip(rgb, shape, size=256, padding=0.25)
            gray = cv2.cvtColor(chip, cv2.COLOR_RGB2GRAY)
            cv2.imwrite(f"{folder}/{number:06}.png", cv2.cvtColor(chip, cv2.COLOR_RGB2BGR))
            points = [(point.x, point.y) for point in shape.parts()]
            sharpness = float(cv2.Laplacian(gray, cv2.CV_64F).var())
            rows.append({"frame": number, "points": points, "sharpness": sharpness, "brightness": float(gray.mean())})
            found.append(np.array(points, dtype=np.float64))
        Path(folder, "frames.json").write_text(json.dumps(rows), encoding="utf-8")
    video.release()
    return Faces(landmarks=tuple(found))


def judge(mine: Faces, theirs: Faces) -> Mapping[str, float]:
    """Compare the landmarks: the share of frames with both faces, and the distances as shares of the eyes' distance."""
    both = [(a, b) for a, b in zip(mine.landmarks, theirs.landmarks, strict=True) if a is not None and b is not None]
    assert both, "a drawn face is found"
    distances = [np.hypot(*(a - b).T).mean() / _eye_distance(a) for a, b in both]
    return {
        "max_difference": float(max(distances)),
        "share_both_found": len(both) / len(mine.landmarks),
        "median_landmark_distance": float(np.median(distances)),
    }


def floors(path: Path, num_sampled: int) -> dict[str, float]:
    """Measure the rates, in sampled frames per second, of the parts that no implementation can leave out.

    They are decoding, and decoding with one landmark pass. A third one adds a search of dlib at half the frame's width. It
    begins below the face's level of the pyramid, as each frame needs it to have the box of an exact search. Landmarks and
    searches are timed on the first frames, without the rest.
    """
    held = [frame.image for frame in itertools.islice(sample_frames(path), HELD)]
    (box,) = [face.box for face in detect(held[0])][:1]
    (level,) = [max(face.level - 1, 0) for face in detect(held[0], COARSE_WIDTH)][:1]

    def decode() -> None:
        for _ in sample_frames(path):
            pass

    decoding = rate(decode, num_sampled)
    pointing = rate(lambda: [landmarks(image, box) for image in held], len(held))
    search = rate(lambda: [detect(image, COARSE_WIDTH, level) for image in held], len(held))
    return {
        "decode": decoding,
        "decode + landmarks": in_turn(decoding, pointing),
        "decode + landmarks + search": in_turn(decoding, pointing, search),
    }


def _eye_distance(points: NDArray[np.float64]) -> float:
    return float(np.linalg.norm(points[RIGHT_EYE].mean(axis=0) - points[LEFT_EYE].mean(axis=0)))
