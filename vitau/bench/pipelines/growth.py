"""Benchmark of growth: the work per frame on many frames beside that on few."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
import pyarrow as pa
import torch

from vitau.bench.measure import Case, Result, Watch, compare
from vitau.bench.memory import peak_of
from vitau.bench.pipelines.loader import CONFIG
from vitau.bench.pipelines.long_clips import long_clip_cases, memory_case
from vitau.bench.pipelines.many_answers import answer_cases
from vitau.bench.pipelines.many_faces import face_cases
from vitau.data.dataset import Crops
from vitau.data.snapshot import freeze, load, snapshot_schema, splits_of
from vitau.evaluation.decision import DecisionRule
from vitau.schema import AUS, CROP_SIZE, NUM_LANDMARKS, SCORE_COLUMNS
from vitau.scoring.aggregate import aggregate
from vitau.scoring.scores import score_table
from vitau.store import Store, open_store
from vitau.training.tasks import CropBatches

FEW: Final = 1_000
FLAT: Final = 0.85
FRAMES_PER_CLIP, CLIPS_PER_PERSON = 20, 5
_RULE: Final = DecisionRule(threshold=0.5)


def bench(  # noqa: PLR0913 - a size for each stage
    rounds: int = 1,
    watch: Watch = lambda *_: None,
    *,
    num_frozen: int = 1_000_000,
    num_loaded: int = 100_000,
    num_scored: int = 100_000,
    num_batches: int = 8,
    num_people: int = 10_000,
    minutes: Sequence[int] = (1, 10, 60),
    at_least: float = FLAT,
) -> Result:
    """Compare the work per frame on many generated frames with that on 1 000; a ratio of 1 is flat, more is better.

    Manifests have 20 frames per clip and 5 clips per person. The pixels of the loader are a sparse file without content.

    Args:
        rounds: paired measurements.
        watch: called after every round.
        num_frozen: frames of the snapshot that is frozen and opened.
        num_loaded: frames of which some batches are built, in random order.
        num_scored: scored frames of one person, whose scores are summed up, and whose faces are scored.
        num_batches: batches that are built.
        num_people: with 104 rows each in the ledger, which is read as reports and a round of labeling do.
        minutes: durations of the clips that are ingested and scored, ascending; none to measure no memory.
        at_least: smallest ratio that is wanted.
    """
    with TemporaryDirectory() as folder:
        cases = [
            *_snapshots(open_store(Path(folder) / "store"), num_frozen, rounds, watch, at_least),
            _loader(Path(folder), num_loaded, num_batches, rounds, watch, at_least),
            _case("aggregate the scores", prepare_scores, num_scored, rounds, watch, at_least),
            *answer_cases(Path(folder), num_people, rounds, watch, at_least),
            *(_memory(Path(folder), num_scored, minutes, watch, at_least) if minutes else ()),
        ]
    return Result(
        name="growth",
        compared=f"the frames per second of many frames beside those of {FEW}",
        difference="none: the inputs differ",
        cases=tuple(cases),
    )


def _snapshots(store: Store, many: int, rounds: int, watch: Watch, at_least: float) -> Sequence[Case]:
    tables = {count: manifest(count) for count in (FEW, many)}
    digests = {count: freeze(table, store, 0).digest for count, table in tables.items()}
    froze = _case("freeze", lambda count: partial(freeze, tables[count], store, 0), many, rounds, watch, at_least)
    opened = _case("open a snapshot", lambda count: partial(load, store, digests[count]), many, rounds, watch, at_least)
    clip = {f"{0:064x}"}
    searched = _case(
        "search a snapshot for a clip",
        lambda count: partial(splits_of, store, digests[count], "clip", clip),
        many,
        rounds,
        watch,
        at_least,
    )
    return froze, opened, searched


def _loader(folder: Path, many: int, num_batches: int, rounds: int, watch: Watch, at_least: float) -> Case:
    crops = {count: _sparse_crops(folder / f"{count}.npy", count) for count in (FEW, many)}
    batches = {count: CropBatches(crops[count], CONFIG, CROP_SIZE, torch.device("cpu")) for count in crops}

    def build(count: int) -> Callable[[], object]:
        return lambda: [None for _ in islice(batches[count].epoch(0), num_batches)]

    amount = dict.fromkeys(crops, num_batches * CONFIG.batch_size)
    return _case(f"build {num_batches} batches", build, many, rounds, watch, at_least, amount=amount)


def _case(
    name: str,
    prepare: Callable[[int], Callable[[], object]],
    many: int,
    rounds: int,
    watch: Watch,
    at_least: float,
    *,
    amount: dict[int, int] | None = None,
) -> Case:
    """Measure the work on few frames as often as gives the number of frames of the work on many."""
    work, few = prepare(many), prepare(FEW)
    repeats = 1 if amount else max(1, many // FEW)

    def repeated() -> None:
        for _ in range(repeats):
            few()

    return compare(
        f"{name}, {many} frames",
        lambda: [work(), None][1],
        repeated,
        lambda _mine, _theirs: {"max_difference": 0.0},
        amount=amount[many] if amount else many,
        unit="frames/s",
        rounds=rounds,
        watch=watch,
        at_least=at_least,
    )


def manifest(num_frames: int) -> pa.Table:
    """Build the rows of a snapshot of generated people, in random order."""
    frame_N = np.random.default_rng(0).permutation(num_frames)
    clip_N = frame_N // FRAMES_PER_CLIP
    person_N = clip_N // CLIPS_PER_PERSON
    clip_C = np.array([f"{clip:064x}" for clip in range(clip_N.max() + 1)])
    key_C = np.array(
        [f"subjects/s{clip // CLIPS_PER_PERSON}/clips/{text}/frames-0.parquet" for clip, text in enumerate(clip_C)]
    )
    subject_P = np.array([f"s{person}" for person in range(person_N.max() + 1)])
    columns: dict[str, Any] = {
        "subject": subject_P[person_N],
        "clip": clip_C[clip_N],
        "frame_index": frame_N % FRAMES_PER_CLIP,
        "frames_key": key_C[clip_N],
        "source": np.full(num_frames, "generated"),
        "cohort": np.where(person_N % 2, "palsy", "control"),
        "split": np.where(person_N % 5, "train", "test"),
        "side": pa.array(np.where(person_N % 2, "left", "right"), mask=person_N % 2 == 0),
        **{str(au): (person_N + number) % 4 == 1 for number, au in enumerate(AUS)},
    }
    return pa.table(columns).cast(snapshot_schema())


def _sparse_crops(path: Path, num_frames: int) -> Crops:
    shape = (num_frames, CROP_SIZE, CROP_SIZE, 3)
    pixels = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)  # type: ignore[no-untyped-call]
    none = np.zeros((num_frames, len(AUS)), dtype=bool)
    texts = np.array([f"s{row // (FRAMES_PER_CLIP * CLIPS_PER_PERSON)}" for row in range(num_frames)])
    return Crops(
        pixels_MSS3=pixels,
        row_N=np.arange(num_frames),
        landmarks_NL2=np.zeros((num_frames, NUM_LANDMARKS, 2), dtype=np.float32),
        palsied_N=none[:, 0],
        affected_NA=none,
        known_NA=~none,
        sided_NA2=np.stack([none, none], axis=2),
        subject_N=texts,
        split_N=np.full(num_frames, "train"),
    )


def _memory(folder: Path, many: int, minutes: Sequence[int], watch: Watch, at_least: float) -> Sequence[Case]:
    many_mb, few_mb = (peak_of(prepare_scores, count).added_mb for count in (many, FEW))
    aggregated = memory_case(f"aggregate the scores, {many} frames", f"{FEW} frames", many_mb, few_mb)
    faces = face_cases(folder, many, watch, at_least)
    return aggregated, *faces, *long_clip_cases(folder, minutes, watch, at_least)


def prepare_scores(num_frames: int) -> Callable[[], float]:
    """Return a function that summarizes the scores of a person with so many frames."""
    row = dict.fromkeys(SCORE_COLUMNS) | {"input": "1", "face_index": 0, "box": [0.0, 0.0, 9.0, 9.0]}
    row |= {"palsy_score": 0.7, "palsied": True, "analysed": True, **{str(au): 0.1 for au in AUS}}
    rows = [row | {"frame_index": number, "time_s": number / 6} for number in range(num_frames)]
    return lambda: float(aggregate(score_table(rows), _RULE) is not None)
