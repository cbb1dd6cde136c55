"""Memory and time of scoring a person with many frames, from the usable faces to the tables."""

from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np

from vitau.bench.measure import Case, Watch
from vitau.bench.memory import peak_of
from vitau.bench.pipelines.long_clips import memory_case, time_case
from vitau.media.crops import to_jpeg
from vitau.models.checkpoint import save_model
from vitau.models.encoder import EncoderConfig
from vitau.models.generator import GeneratorConfig
from vitau.models.regions import RegionConfig, build_regions
from vitau.models.vit import ViTConfig, build_vit
from vitau.registry.bundle import MODEL, RECOGNITION
from vitau.schema import NUM_LANDMARKS
from vitau.scoring.aggregate import aggregate
from vitau.scoring.predict import Predictor
from vitau.scoring.reading import FaceSpool, UsableFace
from vitau.scoring.scores import score_table, write_scores

FEW: Final = 1_000
_SIDE: Final = 32
"""Side of the crops, px: those of 256 px take as much memory for each frame, and more time."""
_ALWAYS: Final = 1e-6
"""A threshold that every face reaches, so that all regions are analyzed."""


def face_cases(folder: Path, many: int, watch: Watch, at_least: float) -> list[Case]:
    """Score 1 000, a tenth of ``many``, and ``many`` frames of a person by the smallest sided models, each in a process.

    The first and the last number are compared by memory, the last two by the time per frame. Faces are not searched, and no
    report is written: both are measured on long clips.
    """
    watch(f"score the faces of {many} frames", 0, 1)
    peaks = {count: peak_of(prepare_faces, folder, count) for count in sorted({FEW, many // 10, many})}
    watch(f"score the faces of {many} frames", 1, 1)
    name = "score the faces"
    return [
        memory_case(f"{name}, {many} frames", f"{FEW} frames", peaks[many].added_mb, peaks[FEW].added_mb),
        time_case(name, many // 10, many, peaks[many // 10].duration_s, peaks[many].duration_s, at_least),
    ]


def prepare_faces(folder: Path, count: int) -> Callable[[], float]:
    """Return a function that scores 1 000 frames when it is called first, and then ``count``; it returns the score."""
    counts, predictor = iter((FEW, count)), Predictor(write_small_model(folder / "small-model"), device="cpu")

    def work() -> float:
        with FaceSpool() as spool, TemporaryDirectory() as out:
            for face in _faces(next(counts)):
                spool.add(face)
            table = score_table(face.row for face in predictor.score_faces(spool, "1"))
            score = aggregate(table, predictor.rule)
            write_scores(table, Path(out))
        assert score is not None, "there is a frame"
        return score.palsy_score

    return work


def _faces(count: int) -> Iterator[UsableFace]:
    rng = np.random.default_rng(0)
    jpegs = [to_jpeg(rng.integers(0, 256, (_SIDE, _SIDE, 3), dtype=np.uint8)) for _ in range(8)]
    for number in range(count):
        yield UsableFace(
            frame_index=number,
            time_s=number / 6,
            face_index=0,
            box=(number / 3, number / 7, 100.25, 100.5),
            jpeg=jpegs[number % len(jpegs)],
            landmarks_L2=np.full((NUM_LANDMARKS, 2), number, np.float32),
        )


def write_small_model(folder: Path) -> Path:
    """Write the smallest recognition and sided region models, with random weights, into a folder, and return it."""
    generator = GeneratorConfig(size=8, style_dim=8, mapping_layers=1, channel_multiplier=0.015625, max_channels=8)
    encoder = EncoderConfig(
        input_size=_SIDE, units=(1, 1, 1, 1), widths=(4, 4, 8, 8), style_dim=8, num_styles=generator.num_styles
    )
    regions = RegionConfig(encoder=encoder, generator=generator, heatmap_size=8, sigma=1.5, dropout=0.0, mode="sided")
    palsy = ViTConfig(input_size=_SIDE, patch_size=16, width=16, depth=1, heads=1, dropout=0.0)
    card = {"synthetic": True, "recipe": "bench", "protocol": "subjects", "snapshot": "0" * 64}
    scales = {"face": 1.0, "region": 1.0}
    save_model(folder / MODEL, build_regions(regions), regions, threshold=None, side_scales=scales, **card)
    save_model(folder / RECOGNITION, build_vit(palsy), palsy, threshold=_ALWAYS, **card)
    return folder
