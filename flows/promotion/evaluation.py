"""What is known for and against a trained model: the held-out people, and what it and the champion say of them."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from flows.workspace import Workspace, progress
from vitau.catalog.catalog import Training
from vitau.catalog.signing import canonical
from vitau.data import snapshot as snapshots
from vitau.data.dataset import Crops, load_crops
from vitau.errors import ChecksumError
from vitau.evaluation.measure import by_subject
from vitau.evaluation.promotion import Answers, HeldOut
from vitau.registry import registry
from vitau.schema import Split, canonical_name
from vitau.scoring.predict import Predictor

Array = npt.NDArray[Any]
TIMED_FACES: Final = 16
TIMED_ROUNDS: Final = 5
CHUNK: Final = 64


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """The people, what both models say of them, how many are left out since one was trained on them, and a digest of it all."""

    people: HeldOut
    challenger: Answers
    champion: Answers | None
    num_left_out: int
    digest: str


def gather(workspace: Workspace, challenger: Training, champion: Training | None) -> Evidence:
    """Let both models score the test people of the challenger's snapshot whom neither was trained on.

    Raises:
        ChecksumError: the weights in the store are not those that were registered.
    """
    predictors = [load_model(workspace, each) for each in (challenger, champion) if each is not None]
    crops, source_N = test_crops(workspace, challenger.snapshot)
    seen = people_seen(workspace, predictors)
    merged = workspace.catalog.merged_names()
    held_out_N = np.array([canonical_name(name, merged) not in seen for name in crops.subject_N.tolist()], dtype=bool)
    num_left_out = len(set(crops.subject_N[~held_out_N].tolist()))
    crops, source_N = crops.where(held_out_N), source_N[held_out_N]
    people = held_out_people(crops, source_N)
    costs = [megabytes(workspace, each) for each in (challenger, champion) if each is not None]
    face_ms = time_per_face(predictors, crops)
    answers = [
        answer(predictor, crops, size_mb=size, face_ms=ms)
        for predictor, size, ms in zip(predictors, costs, face_ms, strict=True)
    ]
    return Evidence(
        people=people,
        challenger=answers[0],
        champion=answers[1] if champion is not None else None,
        num_left_out=num_left_out,
        digest=fingerprint(people, answers),
    )


def load_model(workspace: Workspace, training: Training) -> Predictor:
    """Load a registered model from the store."""
    folder = workspace.folder("candidates") / training.model_digest
    prefix = f"{training.model_key}/"
    for key in workspace.store.keys(prefix):
        if not (folder / key.removeprefix(prefix)).exists():
            workspace.store.download(key, folder / key.removeprefix(prefix))
    if not folder.exists() or registry.folder_digest(folder) != training.model_digest:
        raise ChecksumError(
            f"the weights of {training.model} version {training.version} under {training.model_key} in the store are not those "
            "that were registered: restore them from a backup"
        )
    return Predictor(folder)


def test_crops(workspace: Workspace, snapshot: str) -> tuple[Crops, Array]:
    """Decode the frames of a snapshot's test people, and say which source each is from."""
    crops = load_crops(workspace.store, snapshot, workspace.folder("crops"))
    source_N = np.array(snapshots.load(workspace.store, snapshot)["source"].to_pylist())
    return crops.of(Split.TEST), source_N[crops.split_N == str(Split.TEST)]


def people_seen(workspace: Workspace, predictors: Sequence[Predictor]) -> set[str]:
    """Name everybody who taught one of the models anything, training or validation, also under a name that was merged."""
    merged = workspace.catalog.merged_names()
    digests = {card.get("snapshot") for each in predictors for card in (each.card, each.recognition_card)} - {None}
    seen: set[str] = set()
    for digest in sorted(map(str, digests)):
        rows = snapshots.load(workspace.store, digest).select(["subject", "split"]).to_pydict()
        pairs = zip(rows["subject"], rows["split"], strict=True)
        seen |= {canonical_name(name, merged) for name, split in pairs if split != Split.TEST}
    return seen


def held_out_people(crops: Crops, source_N: Array) -> HeldOut:
    """Lay out what is true of the people in some frames; the groups that are recorded are source and side."""
    frames = crops.subject_N.tolist()
    truth = by_subject(frames, crops.affected_NA, np.zeros(crops.affected_NA.shape), crops.known_NA) if frames else None
    first = [frames.index(name) for name in truth.subjects] if truth else []
    side_S = [_side(crops.sided_NA2[row]) for row in first]
    return HeldOut(
        subjects=truth.subjects if truth else (),
        palsied_S=crops.palsied_N[first],
        affected_SA=truth.truth_SK if truth else crops.affected_NA[:0],
        known_SA=truth.known_SK if truth else crops.known_NA[:0],
        groups={"source": source_N[first].tolist(), "side": side_S},
    )


def answer(predictor: Predictor, crops: Crops, *, size_mb: float, face_ms: float) -> Answers:
    """Let a model look at every frame, its regions at those of palsied people whatever recognition says; means by person."""
    palsy_N = np.zeros(len(crops))
    region_NA = np.full(crops.affected_NA.shape, np.nan)
    for rows in progress(list(crops.batches(CHUNK)), "scoring held-out people", -(-len(crops) // CHUNK)):
        scores = predictor.score_crops(crops.pixels(rows), analyse_all=True)
        palsy_N[rows], region_NA[rows] = scores.palsy_N, scores.region_NA
    frames = crops.subject_N.tolist()
    palsy_S1 = by_subject(frames, crops.palsied_N, palsy_N).score_SK if frames else palsy_N[:, None]
    region_SA = by_subject(frames, crops.affected_NA, region_NA, crops.known_NA).score_SK if frames else region_NA
    return Answers(
        palsy_S=palsy_S1[:, 0],
        region_SA=None if predictor.regions is None else region_SA,
        threshold=predictor.threshold,
        size_mb=size_mb,
        face_ms=face_ms,
    )


def megabytes(workspace: Workspace, training: Training) -> float:
    """Weigh the weights of a registered model, in MB."""
    folder = workspace.folder("candidates") / training.model_digest
    return sum(path.stat().st_size for path in folder.rglob("*.safetensors")) / 1e6


def time_per_face(
    predictors: Sequence[Predictor], crops: Crops, *, clock: Callable[[], float] = time.perf_counter
) -> list[float]:
    """Time models in turns on the same faces, so that whatever else the machine does slows all; the least of each, ms."""
    if not len(crops):
        return [0.0] * len(predictors)
    faces = crops.pixels(slice(0, TIMED_FACES))
    least = [float("inf")] * len(predictors)
    for _ in range(TIMED_ROUNDS):
        for place, predictor in enumerate(predictors):
            start = clock()
            predictor.score_crops(faces, analyse_all=True)
            least[place] = min(least[place], (clock() - start) * 1000 / len(faces))
    return least


def fingerprint(people: HeldOut, answers: Sequence[Answers]) -> str:
    """Name the evidence by its digest, to 4 decimals, costs left out: it can be made again, so it is not kept."""
    said = [
        [
            np.round(each.palsy_S, 4).tolist(),
            None if each.region_SA is None else np.nan_to_num(each.region_SA).round(4).tolist(),
        ]
        for each in answers
    ]
    facts = [list(people.subjects), people.palsied_S.tolist(), people.affected_SA.tolist(), people.known_SA.tolist(), said]
    return sha256(canonical(facts).encode()).hexdigest()


def _side(sided_A2: Array) -> str | None:
    right, left = (bool(sided_A2[:, column].any()) for column in range(2))
    return "both" if right and left else "right" if right else "left" if left else None
