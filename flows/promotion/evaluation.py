"""Evaluation of a challenger: both models score the held-out people, and their costs are counted."""

import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from flows.erasure.living import load_living
from flows.workspace import Workspace
from vitau.catalog.catalog import Training
from vitau.catalog.signing import canonical
from vitau.data import snapshot as snapshots
from vitau.data.dataset import Crops, load_crops
from vitau.errors import ChecksumError
from vitau.evaluation.measure import by_subject
from vitau.evaluation.promotion import Answers, HeldOut
from vitau.processes import temporary_folder
from vitau.progress import track
from vitau.registry import registry
from vitau.schema import CROP_SIZE, Split, canonical_name
from vitau.scoring.predict import Predictor

Array = npt.NDArray[Any]
CHUNK: Final = 64


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """The basis of a decision: held-out people, the scores of both models, and a digest of both.

    ``num_left_out`` counts test people who are excluded because one of the models was trained on them, ``num_erased`` the
    people of the snapshot who were erased.
    """

    people: HeldOut
    challenger: Answers
    champion: Answers | None
    num_left_out: int
    digest: str
    num_erased: int = 0


def gather(workspace: Workspace, challenger: Training, champion: Training | None) -> Evidence:
    """Score the test people of the challenger's snapshot with both models, except people that either was trained on.

    Raises:
        ChecksumError: The weights in the store are not those that were registered.
    """
    predictors = [load_model(workspace, training) for training in (challenger, champion) if training is not None]
    crops, source_N, num_erased = test_crops(workspace, challenger.snapshot)
    seen = people_seen(workspace, predictors)
    merged = workspace.catalog.merged_names()
    held_out_N = np.array([canonical_name(name, merged) not in seen for name in crops.subject_N.tolist()], dtype=bool)
    num_left_out = len(set(crops.subject_N[~held_out_N].tolist()))
    crops, source_N = crops.where(held_out_N), source_N[held_out_N]
    people = held_out_people(crops, source_N)
    answers = [answer(predictor, crops) for predictor in predictors]
    return Evidence(
        people=people,
        challenger=answers[0],
        champion=answers[1] if champion is not None else None,
        num_left_out=num_left_out,
        digest=fingerprint(people, answers),
        num_erased=num_erased,
    )


def load_model(workspace: Workspace, training: Training) -> Predictor:
    """Load a registered model from the store.

    Raises:
        ChecksumError: The weights in the store are not those that were registered.
    """
    folder = workspace.folder("candidates") / training.model_digest
    if not folder.exists() or registry.folder_digest(folder) != training.model_digest:
        _download(workspace, training, folder)
    return Predictor(folder)


def _download(workspace: Workspace, training: Training, folder: Path) -> None:
    """Download a model beside its folder, verify it, and move it there whole: two runs at once never see a part of it."""
    prefix = f"{training.model_key}/"
    with temporary_folder(workspace.settings.temporary) as temporary:
        whole = temporary / "model"
        for key in workspace.store.keys(prefix):
            workspace.store.download(key, whole / key.removeprefix(prefix))
        if not whole.exists() or registry.folder_digest(whole) != training.model_digest:
            raise ChecksumError(
                f"the weights of {training.model} version {training.version} under {training.model_key} in the store are not "
                "those that were registered: restore them from a backup"
            )
        if folder.exists() and registry.folder_digest(folder) != training.model_digest:  # of an earlier run that was killed
            shutil.rmtree(folder)
        with suppress(OSError):  # another run was first
            whole.rename(folder)


def test_crops(workspace: Workspace, snapshot: str) -> tuple[Crops, Array, int]:
    """Decode the frames of a snapshot's test people; returns crops, sources, (N,) str, and the number of erased people."""
    living = load_living(workspace, snapshot)
    crops = load_crops(workspace.store, snapshot, workspace.folder("crops"), without=living.names)
    source_N = np.array(living.rows["source"].to_pylist())
    return crops.of(Split.TEST), source_N[crops.split_N == str(Split.TEST)], living.num_erased


def people_seen(workspace: Workspace, predictors: Sequence[Predictor]) -> set[str]:
    """Return the canonical pseudonyms of all training and validation people of the models."""
    merged = workspace.catalog.merged_names()
    cards = [card for predictor in predictors for card in (predictor.card, predictor.recognition_card)]
    digests = {card.get("snapshot") for card in cards} - {None}
    seen: set[str] = set()
    for digest in sorted(map(str, digests)):
        rows = snapshots.load(workspace.store, digest).select(["subject", "split"]).to_pydict()
        pairs = zip(rows["subject"], rows["split"], strict=True)
        seen |= {canonical_name(name, merged) for name, split in pairs if split != Split.TEST}
    return seen


def held_out_people(crops: Crops, source_N: Array) -> HeldOut:
    """Collect the truth about the people in some frames; recorded groups are source and side."""
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


def answer(predictor: Predictor, crops: Crops) -> Answers:
    """Score every frame, and return means by person.

    The regions of all frames are scored: those of palsied people count, whatever recognition answers.
    """
    palsy_N = np.zeros(len(crops))
    region_NA = np.full(crops.affected_NA.shape, np.nan)
    for rows in track(list(crops.batches(CHUNK)), "scoring held-out people", -(-len(crops) // CHUNK)):
        scores = predictor.score_crops(crops.pixels(rows), analyse_all=True)
        palsy_N[rows], region_NA[rows] = scores.palsy_N, scores.region_NA
    frames = crops.subject_N.tolist()
    log_odds = predictor.rule.averages_log_odds
    palsy_S1 = by_subject(frames, crops.palsied_N, palsy_N, averages_log_odds=log_odds).score_SK if frames else palsy_N[:, None]
    region_SA = by_subject(frames, crops.affected_NA, region_NA, crops.known_NA).score_SK if frames else region_NA
    return Answers(
        palsy_S=palsy_S1[:, 0],
        region_SA=None if predictor.regions is None else region_SA,
        threshold=predictor.threshold,
        num_parameters=num_parameters(predictor),
        face_flops=face_flops(predictor),
    )


def num_parameters(predictor: Predictor) -> int:
    """Return the number of parameters of both models in a bundle."""
    models = [predictor.recognition] if predictor.regions is None else [predictor.recognition, predictor.regions]
    return sum(parameter.numel() for model in models for parameter in model.parameters())


def face_flops(predictor: Predictor) -> int:
    """Count the floating-point operations that both models need for one face.

    Attention is counted as plain matrix products: fused kernels differ between machines, and some are not counted at all.
    """
    crop_1SS3 = np.zeros((1, CROP_SIZE, CROP_SIZE, 3), np.uint8)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        predictor.score_crops(crop_1SS3, analyse_all=True)
    return counter.get_total_flops()


def fingerprint(people: HeldOut, answers: Sequence[Answers]) -> str:
    """Return the digest of the evidence, rounded to 4 decimals and without costs.

    The evidence itself is not stored, since it can be computed again.
    """
    scores = [
        [
            np.round(answer.palsy_S, 4).tolist(),
            None if answer.region_SA is None else np.nan_to_num(answer.region_SA).round(4).tolist(),
        ]
        for answer in answers
    ]
    facts = [list(people.subjects), people.palsied_S.tolist(), people.affected_SA.tolist(), people.known_SA.tolist(), scores]
    return sha256(canonical(facts).encode()).hexdigest()


def _side(sided_A2: Array) -> str | None:
    right, left = (bool(sided_A2[:, column].any()) for column in range(2))
    return "both" if right and left else "right" if right else "left" if left else None
