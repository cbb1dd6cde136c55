"""Evaluation of a challenger: both models score the held-out people, and their costs are counted."""

import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from flows.erasure.living import load_living
from flows.promotion.left_out import predictions_of
from flows.promotion.registered_models import PALSY, bundled
from flows.workspace import Workspace
from vitau.asymmetry.people import with_movement
from vitau.catalog.catalog import Training
from vitau.catalog.evidence import LeftOut
from vitau.catalog.signing import canonical
from vitau.data import snapshot as snapshots
from vitau.data.dataset import Crops, load_crops
from vitau.errors import ChecksumError
from vitau.evaluation.promotion.held_out import Answers, HeldOut
from vitau.evaluation.subjects import by_subject
from vitau.processes import temporary_folder
from vitau.progress import track
from vitau.registry.bundle import folder_digest
from vitau.schema import AUS, CROP_SIZE, Protocol, Split, canonical_name
from vitau.scoring.predict import Predictor
from vitau.training.run import MOVEMENT

Array = npt.NDArray[Any]
CHUNK: Final = 64


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """The basis of a decision: held-out people, the scores of both models, and a digest of both.

    ``num_left_out`` counts people who are excluded because one of the models was trained on them, ``num_erased`` the people of
    the snapshot who were erased.
    """

    people: HeldOut
    challenger: Answers
    champion: Answers | None
    num_left_out: int
    digest: str
    num_erased: int = 0


def gather(workspace: Workspace, challenger: Training, champion: Training | None) -> Evidence:
    """Collect the scores of both models for the held-out people of the challenger's snapshot.

    These are its test people, except people that either model was trained on. If the challenger was trained on everybody, they
    are all people, each predicted by models of its recipe that never saw the person. A champion that was trained on everybody
    has such predictions too. Else it scores the people that it was not trained on, and both are compared on these.

    Raises:
        ChecksumError: The weights in the store are not those that were registered.
    """
    protocol = challenger.protocol
    tested = [Tested.load(workspace, training) for training in (challenger, champion) if training is not None]
    crops, source_N, num_erased = candidate_crops(
        workspace,
        challenger.snapshot,
        everybody=protocol is Protocol.LOPO,
        movement=any(own.predictor.uses_movement for own in tested),
    )
    merged = workspace.catalog.merged_names()
    name_N = np.array([canonical_name(name, merged) for name in crops.subject_N.tolist()], dtype=str)
    names = dict(zip(crops.subject_N.tolist(), name_N.tolist(), strict=True))
    palsied = dict(zip(name_N.tolist(), crops.palsied_N.tolist(), strict=True))
    judged = tested[:1] if protocol is Protocol.LOPO else tested
    kept = {name for name, is_palsied in palsied.items() if all(own.can_answer(name, palsied=is_palsied) for own in judged)}
    kept_N = np.isin(name_N, sorted(kept))
    num_left_out = len(set(crops.subject_N[~kept_N].tolist()))
    crops, source_N = crops.where(kept_N), source_N[kept_N]
    people = replace(held_out_people(crops, source_N), protocol=protocol)
    answers = [answer_about(own, people, crops, names) for own in tested]
    return Evidence(
        people=people,
        challenger=answers[0],
        champion=answers[1] if champion is not None else None,
        num_left_out=num_left_out,
        digest=fingerprint(people, answers),
        num_erased=num_erased,
    )


@dataclass(frozen=True, kw_only=True)
class Tested:
    """A registered model with what it can be tested on.

    Attributes:
        predictor: The model.
        palsy: Predictions of recognition for people who were left out, by canonical name.
        regions: The same of the regions.
        seen_by_palsy: Canonical names of the people that recognition learned from.
        seen_by_regions: The same of the regions; empty for recognition alone.
    """

    predictor: Predictor
    palsy: Mapping[str, LeftOut]
    regions: Mapping[str, LeftOut]
    seen_by_palsy: frozenset[str]
    seen_by_regions: frozenset[str]

    @classmethod
    def load(cls, workspace: Workspace, training: Training) -> Self:
        """Load a registered model and its evidence."""
        predictor = load_model(workspace, training)
        parts = [training] if training.model == PALSY else bundled(workspace, training.model_digest)
        recognition = next((part for part in parts if part.model == PALSY), None)
        return cls(
            predictor=predictor,
            palsy={} if recognition is None else predictions_of(workspace, recognition),
            regions={} if training.model == PALSY else predictions_of(workspace, training),
            seen_by_palsy=people_seen(workspace, predictor.recognition_card),
            seen_by_regions=frozenset() if predictor.regions is None else people_seen(workspace, predictor.card),
        )

    def can_answer(self, name: str, *, palsied: bool) -> bool:
        """Return whether the model can be tested on a person: it never saw the person, or models of its recipe did not."""
        palsy = name in self.palsy or name not in self.seen_by_palsy
        regions = name in self.regions or name not in self.seen_by_regions or (bool(self.regions) and not palsied)
        return palsy and regions


def answer_about(tested: Tested, people: HeldOut, crops: Crops, names: Mapping[str, str]) -> Answers:
    """Return the scores of a model for some people; NaN for a person who cannot test it.

    Predictions for people who were left out come first. Only the others are scored, if the model never saw them.

    Args:
        tested: The model.
        people: S people.
        crops: Their frames.
        names: Pseudonym in the snapshot → canonical name.
    """
    own = [names[subject] for subject in people.subjects]
    new_S = np.array([name not in tested.palsy and name not in tested.seen_by_palsy for name in own], dtype=bool)
    known_to_regions = tested.regions.keys() | tested.seen_by_regions
    both = tested.predictor.regions is not None
    new_to_regions_S = np.array([both and name not in known_to_regions for name in own], dtype=bool)
    scored_S = new_S | new_to_regions_S
    chosen = np.asarray(people.subjects, dtype=str)[scored_S]
    scored = answer(tested.predictor, crops.where(np.isin(crops.subject_N, chosen)))
    palsy_S, threshold_S = np.full(len(own), np.nan), np.full(len(own), scored.threshold)
    palsy_S[new_S] = scored.palsy_S[new_S[scored_S]]
    region_SA, right_S = np.full((len(own), len(AUS)), np.nan), np.full(len(own), np.nan)
    if scored.region_SA is not None:
        region_SA[new_to_regions_S] = scored.region_SA[new_to_regions_S[scored_S]]
    if scored.right_S is not None:
        right_S[new_to_regions_S] = scored.right_S[new_to_regions_S[scored_S]]
    for row, name in enumerate(own):
        if name in tested.palsy:
            palsy_S[row], threshold_S[row] = tested.palsy[name].palsy_score, tested.palsy[name].threshold
        if name in tested.regions:
            region_SA[row] = [(tested.regions[name].regions or {})[au] for au in AUS]
            right = tested.regions[name].right_score
            right_S[row] = np.nan if right is None else right
    answered = zip(own, people.palsied_S.tolist(), strict=True)
    palsy_S[[not tested.can_answer(name, palsied=palsied) for name, palsied in answered]] = np.nan
    return replace(
        scored,
        palsy_S=palsy_S,
        region_SA=None if scored.region_SA is None else region_SA,
        threshold=threshold_S if tested.palsy else scored.threshold,
        right_S=None if scored.right_S is None else right_S,
    )


def load_model(workspace: Workspace, training: Training) -> Predictor:
    """Load a registered model from the store.

    Raises:
        ChecksumError: The weights in the store are not those that were registered.
    """
    folder = workspace.folder("candidates") / training.model_digest
    if not folder.exists() or folder_digest(folder) != training.model_digest:
        _download(workspace, training, folder)
    return Predictor(folder)


def _download(workspace: Workspace, training: Training, folder: Path) -> None:
    """Download a model beside its folder, verify it, and move it there whole: two runs at once never see a part of it."""
    prefix = f"{training.model_key}/"
    with temporary_folder(workspace.settings.temporary) as temporary:
        whole = temporary / "model"
        for key in workspace.store.keys(prefix):
            workspace.store.download(key, whole / key.removeprefix(prefix))
        if not whole.exists() or folder_digest(whole) != training.model_digest:
            raise ChecksumError(
                f"the weights of {training.model} version {training.version} under {training.model_key} in the store are not "
                "those that were registered: restore them from a backup"
            )
        if folder.exists() and folder_digest(folder) != training.model_digest:  # of an earlier run that was killed
            shutil.rmtree(folder)
        with suppress(OSError):  # another run was first
            whole.rename(folder)


def candidate_crops(
    workspace: Workspace, snapshot: str, *, everybody: bool, movement: bool = False
) -> tuple[Crops, Array, int]:
    """Decode the frames of a snapshot's test people, or of everybody, with their movement if a model uses it.

    Returns:
        The crops, the source of each, (N,) str, and the number of erased people.
    """
    living = load_living(workspace, snapshot)
    crops = load_crops(workspace.store, snapshot, workspace.folder("crops"), without=living.names)
    source_N = np.array(living.rows["source"].to_pylist())
    chosen_N = np.full(len(crops), True) if everybody else crops.split_N == str(Split.TEST)
    crops = crops.where(chosen_N)
    if movement:
        crops = with_movement(crops, workspace.folder("crops") / MOVEMENT)
    return crops, source_N[chosen_N], living.num_erased


def people_seen(workspace: Workspace, card: Mapping[str, Any]) -> frozenset[str]:
    """Return the canonical pseudonyms of everybody that a model learned from, by its card: training and validation people.

    A protocol other than ``subjects`` leaves nobody of the snapshot unseen.
    """
    if not card.get("snapshot"):
        return frozenset()
    merged = workspace.catalog.merged_names()
    rows = snapshots.load(workspace.store, str(card["snapshot"])).select(["subject", "split"]).to_pydict()
    unseen = Split.TEST if card.get("protocol", Protocol.SUBJECTS) == Protocol.SUBJECTS else None
    pairs = zip(rows["subject"], rows["split"], strict=True)
    return frozenset(canonical_name(name, merged) for name, split in pairs if split != unseen)


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
    right_N = np.full(len(crops), np.nan)
    for rows in track(list(crops.batches(CHUNK)), "scoring held-out people", -(-len(crops) // CHUNK)):
        own_NF = None if crops.movement_NF is None else crops.movement_NF[rows]
        scores = predictor.score_crops(crops.pixels(rows), analyse_all=True, movement_NF=own_NF)
        palsy_N[rows], region_NA[rows] = scores.palsy_N, scores.region_NA
        if scores.right_N is not None:
            right_N[rows] = scores.right_N
    frames = crops.subject_N.tolist()
    log_odds = predictor.rule.averages_log_odds
    palsy_S1 = by_subject(frames, crops.palsied_N, palsy_N, averages_log_odds=log_odds).score_SK if frames else palsy_N[:, None]
    region_SA = by_subject(frames, crops.affected_NA, region_NA, crops.known_NA).score_SK if frames else region_NA
    right_S1 = by_subject(frames, crops.palsied_N, right_N).score_SK if frames else right_N[:, None]
    return Answers(
        palsy_S=palsy_S1[:, 0],
        region_SA=None if predictor.regions is None else region_SA,
        threshold=predictor.threshold,
        num_parameters=num_parameters(predictor),
        face_flops=face_flops(predictor),
        right_S=right_S1[:, 0] if predictor.side_scales else None,
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
            np.nan_to_num(answer.palsy_S, nan=-1.0).round(4).tolist(),
            None if answer.region_SA is None else np.nan_to_num(answer.region_SA).round(4).tolist(),
            *([] if answer.right_S is None else [np.nan_to_num(answer.right_S, nan=-1.0).round(4).tolist()]),
        ]
        for answer in answers
    ]
    facts = [list(people.subjects), people.palsied_S.tolist(), people.affected_SA.tolist(), people.known_SA.tolist(), scores]
    return sha256(canonical(facts).encode()).hexdigest()


def _side(sided_A2: Array) -> str | None:
    right, left = (bool(sided_A2[:, column].any()) for column in range(2))
    return "both" if right and left else "right" if right else "left" if left else None
