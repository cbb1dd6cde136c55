"""Benchmark of scoring clips against a script that predicts and explains frame by frame."""

import csv
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import cv2
import dlib
import numpy as np
import torch

from vitau.bench.gradcam import grad_cam, parts
from vitau.bench.ingest import FPS, RATE_FPS, write_drawn
from vitau.bench.measure import Case, Result, Watch, compare, in_turn, rate
from vitau.media.clips import sample_frames
from vitau.media.crops import Image, alignment, extract_crop
from vitau.media.faces import load_models, predictor
from vitau.media.tracking.tracker import track_faces
from vitau.models.checkpoint import save_model
from vitau.models.inputs import to_input
from vitau.models.regions import RegionConfig, build_regions
from vitau.models.vit import ViTConfig, build_vit
from vitau.registry.bundle import MODEL, RECOGNITION
from vitau.schema import AUS, CROP_SIZE
from vitau.scoring.batch import score_inputs
from vitau.scoring.predict import BATCH, Predictor
from vitau.training.recipes import tiny_palsy, tiny_regions

_ALWAYS: Final = 1e-6
"""A threshold that every face reaches, so that both sides analyze all regions."""


def bench(
    rounds: int = 3, watch: Watch = lambda *_: None, *, duration_s: float | None = None, upsamples: Sequence[int] = (1, 0)
) -> Result:
    """Score one drawn clip with tiny models of random weights, in one process.

    Ours writes tables, a report and overlays of four frames. It decodes and searches the next frames in threads, as the command
    does for one clip on two cores; OpenCV, with which the baseline decodes, has a thread per core too. The baseline takes every
    fifth frame. It searches the frame with dlib, predicts landmarks, aligns the crop, computes both models, and explains each
    region with the package `grad-cam`, whose maps it writes as a PNG per frame; it has no report.

    Args:
        rounds: paired measurements.
        watch: called after every round.
        duration_s: of the clip; by default that of the drawing, about 9 s.
        upsamples: how often the baseline doubles the frame before the search, one case each; 1 in dlib's examples.

    Raises:
        BenchError: the package `grad-cam` is not installed.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    load_models()
    try:
        with TemporaryDirectory() as folder:
            path = Path(folder) / "clip.mp4"
            num_sampled = write_drawn(path, duration_s)
            model = Predictor(write_model(Path(folder) / "model"), device="cpu")
            floors = _floors(path, model, num_sampled)
            cases = [_case(path, model, num_sampled, upsample, rounds, watch, floors) for upsample in upsamples]
    finally:
        torch.set_num_threads(threads)
    return Result(
        name="score",
        compared="a clip to scores, overlays and a report, ours beside a script that works frame by frame",
        difference="of the mean score of recognition, 0 to 1",
        cases=tuple(cases),
    )


def _case(
    path: Path, model: Predictor, num_sampled: int, upsample: int, rounds: int, watch: Watch, floors: Mapping[str, float]
) -> Case:
    return compare(
        f"{num_sampled} frames of {num_sampled / RATE_FPS:.0f} s, upsample {upsample}",
        partial(ours, path, model),
        partial(straightforward, path, model, upsample),
        lambda mine, theirs: {"max_difference": abs(mine - theirs)},
        amount=num_sampled,
        unit="frames/s",
        rounds=rounds,
        watch=watch,
        at_least=8.0 if upsample else None,
        floors=floors,
    )


def _floors(path: Path, model: Predictor, num_sampled: int) -> dict[str, float]:
    """Measure the rates, in sampled frames per second, of decoding, of finding faces, and of both models' forward passes."""
    crop_NHWC = np.stack([face.crop for _, _, face in track_faces(sample_frames(path)) if face is not None])
    found, forward = (
        rate(partial(_find_faces, path), num_sampled, 2),
        rate(partial(_forward, model, crop_NHWC), len(crop_NHWC), 2),
    )
    return {
        "decode": rate(partial(_decode, path), num_sampled, 2),
        "forward": forward,
        "decode + faces": found,
        "decode + faces + forward": in_turn(found, forward),
    }


def _decode(path: Path) -> None:
    for _ in sample_frames(path):
        pass


@torch.inference_mode()
def _forward(model: Predictor, crop_NHWC: Image) -> None:
    assert model.regions is not None
    for network in (model.recognition, model.regions):
        for start in range(0, len(crop_NHWC), BATCH):
            network(to_input(crop_NHWC[start : start + BATCH], network.input_size))


def ours(path: Path, model: Predictor) -> float:
    """Score the clip as `vitau score` does; return the mean score of recognition."""
    with TemporaryDirectory() as out:
        score_inputs(model, [path], Path(out), model_name="bench", num_readers=2)
        with (Path(out) / "scores.csv").open(newline="", encoding="utf-8") as file:
            return float(np.mean([float(row["palsy_score"]) for row in csv.DictReader(file)]))


def straightforward(path: Path, model: Predictor, upsample: int) -> float:
    """Score the clip frame by frame; return the mean score of recognition."""
    assert model.regions is not None
    detector, video, scores = dlib.get_frontal_face_detector(), cv2.VideoCapture(str(path)), []
    layer, answer, _ = parts(model.regions)
    explain = grad_cam(model.regions, layer)
    with TemporaryDirectory() as out:
        number = -1
        while (read := video.read())[0]:
            number += 1
            if number % (FPS // RATE_FPS):
                continue
            image = cv2.cvtColor(read[1], cv2.COLOR_BGR2RGB)
            boxes = detector(image, upsample)
            if not boxes:
                continue
            shape = predictor()(image, max(boxes, key=lambda box: box.area()))
            points = np.array([(point.x, point.y) for point in shape.parts()], dtype=np.float64)
            crop = extract_crop(image, alignment(points), CROP_SIZE)
            with torch.inference_mode():
                logit_12 = model.recognition(to_input(crop[None], model.recognition.input_size))
                model.regions(to_input(crop[None], model.regions.input_size))
            scores.append(float(logit_12.softmax(1)[0, 1]))
            region_13HW = to_input(crop[None], model.regions.input_size)
            for index, au in enumerate(AUS):
                map_HW = explain(input_tensor=region_13HW, targets=[lambda out, index=index: answer(out)[index]])[0]
                heat = cv2.applyColorMap((cv2.resize(map_HW, (CROP_SIZE, CROP_SIZE)) * 255).astype(np.uint8), cv2.COLORMAP_JET)
                blended = cv2.addWeighted(cv2.cvtColor(crop, cv2.COLOR_RGB2BGR), 0.5, heat, 0.5, 0)
                cv2.imwrite(f"{out}/{number:06}-{au}.png", blended)
    video.release()
    return float(model.rule.calibrate(np.array(scores)).mean())


def _find_faces(path: Path) -> None:
    for _ in track_faces(sample_frames(path)):
        pass


def write_model(folder: Path) -> Path:
    """Write both tiny models with random weights into a folder, and return it."""
    regions, palsy = tiny_regions().model, tiny_palsy().model
    assert isinstance(regions, RegionConfig)
    assert isinstance(palsy, ViTConfig)
    card = {"synthetic": True, "recipe": "bench", "protocol": "subjects", "snapshot": "0" * 64}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        save_model(folder / MODEL, build_regions(regions), regions, threshold=None, **card)
        save_model(folder / RECOGNITION, build_vit(palsy), palsy, threshold=_ALWAYS, **card)
    return folder
