"""The two tasks, palsy and regions: batches of crops, objectives, predictions, metrics and validation."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, TypedDict

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from vitau.data.dataset import Crops
from vitau.evaluation.decision import DecisionRule
from vitau.evaluation.measure import palsy_metrics, region_metrics, region_side_metrics, side_metrics
from vitau.evaluation.metrics import Estimate, PalsyMetrics, RegionMetrics
from vitau.evaluation.subjects import by_subject
from vitau.evaluation.thresholds import (
    BAND_ERROR,
    abstention_band,
    best_threshold,
    fit_calibration,
    fit_scale,
    region_thresholds,
)
from vitau.models.heatmaps import (
    decode,
    decode_sides,
    region_side_probability,
    right_side_probability,
    side_difference,
    sided_heatmaps,
    true_heatmaps,
)
from vitau.models.inputs import to_device, to_input
from vitau.processes import read_ahead
from vitau.schema import AUS
from vitau.training.augment import augment, draw_changes
from vitau.training.config import TrainConfig
from vitau.training.losses import PALSY_LOSSES, REGION_LOSSES, WithSides
from vitau.training.parallel import shard, unwrap

Array = npt.NDArray[Any]
Kind = Literal["palsy", "regions"]


class SideScales(TypedDict):
    """Slopes of the logistic curves from a sided model's scores to probabilities.

    ``face`` and ``side`` are of the difference between the sides, of the face and of a region. ``region`` is of the
    larger score less the threshold of the region.
    """

    face: float
    region: float
    side: float


SCORING_BATCH = 64
FEW_RESAMPLES = 1


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Batch:
    """B frames on the training device: images in [−1, 1], landmarks in px of a 256 crop, labels, the number of the person."""

    crop_BCHW: Tensor
    landmarks_BL2: Tensor
    palsied_B: Tensor
    affected_BA: Tensor
    known_BA: Tensor
    sided_BA2: Tensor
    person_B: Tensor


class CropBatches:
    """Shuffled, augmented batches of crops; the order and the changes depend on the seed and the epoch only.

    With several processes, each builds its own shard of every batch. ``len`` is the number of batches in an epoch.
    """

    def __init__(self, crops: Crops, config: TrainConfig, input_size: int, device: torch.device) -> None:
        self.crops, self.config, self.input_size, self.device = crops, config, input_size, device
        _, self._person_N = np.unique(crops.subject_N, return_inverse=True)  # once, and not every epoch: names sort slowly

    def __len__(self) -> int:
        return math.ceil(len(self.crops) / self.config.batch_size)

    def epoch(self, number: int) -> Iterator[Batch]:
        """Yield the frames once, in batches, which a background thread prepares during the steps.

        Raises:
            TrainingError: if a batch has fewer frames than there are processes.
        """
        return read_ahead(self._prepare(number))

    def _prepare(self, number: int) -> Iterator[Batch]:
        rng = np.random.default_rng([self.config.seed, number])
        order = balanced_order(self._person_N, rng) if self.config.balance_people else rng.permutation(len(self.crops))
        generator = torch.Generator(self.device).manual_seed(int(rng.integers(1 << 63)))
        for batch in np.array_split(order, len(self)):
            rows = shard(len(batch))
            index = batch[rows]
            pixels_BSS3 = to_device(self.crops.pixels(index), self.device)
            landmarks_BL2 = to_device(self.crops.landmarks_NL2[index], self.device)
            sided_BA2 = to_device(self.crops.sided_NA2[index], self.device)
            if self.config.augmentation:
                changes = draw_changes(len(batch), self.input_size, self.config.augmentation, generator)
                crop_BCHW, landmarks_BL2, mirrored_B = augment(pixels_BSS3, landmarks_BL2, changes.of(rows))
                sided_BA2 = torch.where(mirrored_B[:, None, None], sided_BA2.flip(2), sided_BA2)
            else:
                crop_BCHW = to_input(pixels_BSS3, self.input_size)
            yield Batch(
                crop_BCHW=crop_BCHW,
                landmarks_BL2=landmarks_BL2,
                palsied_B=to_device(self.crops.palsied_N[index], self.device),
                affected_BA=to_device(self.crops.affected_NA[index], self.device),
                known_BA=to_device(self.crops.known_NA[index], self.device),
                sided_BA2=sided_BA2,
                person_B=to_device(self._person_N[index], self.device),
            )


def balanced_order(subject_N: Array, rng: np.random.Generator) -> Array:
    """Return N rows in random order, in which every person occurs equally often, to one row.

    The frames of a person with few frames occur several times, as equally as possible; of one with many, a random selection.
    """
    names, index_N = np.unique(subject_N, return_inverse=True)
    quota_S = np.full(len(names), len(subject_N) // len(names))
    quota_S[rng.permutation(len(names))[: len(subject_N) % len(names)]] += 1
    drawn = []
    by_person = np.split(np.argsort(index_N, kind="stable"), np.bincount(index_N).cumsum()[:-1])
    for rows, quota in zip(by_person, quota_S.tolist(), strict=True):
        rounds = [rng.permutation(rows) for _ in range(-(-quota // len(rows)))]
        drawn.append(np.concatenate([*rounds, rows[:0]])[:quota])
    return rng.permutation(np.concatenate(drawn))


def objective(
    kind: Kind, config: TrainConfig, sigma: float | None = None, *, sided: bool = False
) -> Callable[[nn.Module, Batch], Tensor]:
    """Return the loss function of a task, (model, batch) → scalar.

    Args:
        kind: the task.
        config: names the loss. The loss of the sides of a :class:`WithSides` is added, times ``config.side_weight``.
        sigma: of the true heatmaps, px of the heatmap.
        sided: the heatmaps have sides; regions that are affected on an unknown side are left out.

    Raises:
        ValueError: if the task has no loss of that name.
    """
    losses = PALSY_LOSSES if kind == "palsy" else REGION_LOSSES
    if config.loss not in losses:
        raise ValueError(f"no loss {config.loss!r} for {kind}; there are {', '.join(losses)}")

    def palsy(model: nn.Module, batch: Batch) -> Tensor:
        return PALSY_LOSSES[config.loss](model(batch.crop_BCHW), batch.palsied_B)

    def regions(model: nn.Module, batch: Batch) -> Tensor:
        heatmaps_BAHW = model(batch.crop_BCHW)
        true_BAHW = true_heatmaps(batch.landmarks_BL2, batch.affected_BA, heatmaps_BAHW.shape[-1], sigma)
        return REGION_LOSSES[config.loss](heatmaps_BAHW, true_BAHW, batch.known_BA)

    def sides(model: nn.Module, batch: Batch) -> Tensor:
        heatmaps_BAHW = model(batch.crop_BCHW)
        true_BAHW = sided_heatmaps(batch.landmarks_BL2, batch.sided_BA2, heatmaps_BAHW.shape[-1], sigma)
        return REGION_LOSSES[config.loss](heatmaps_BAHW, true_BAHW, batch.known_BA & _side_is_named(batch))

    loss_of_task = palsy if kind == "palsy" else sides if sided else regions

    def with_sides(model: nn.Module, batch: Batch) -> Tensor:
        loss, inner = loss_of_task(model, batch), unwrap(model)
        return loss + config.side_weight * inner.loss(batch.sided_BA2, batch.known_BA) if isinstance(inner, WithSides) else loss

    return with_sides


def _side_is_named(batch: Batch) -> Tensor:
    return ~batch.affected_BA | batch.sided_BA2.any(-1)


@torch.inference_mode()
def predict(kind: Kind, model: nn.Module, crops: Crops, input_size: int, device: torch.device, *, sided: bool = False) -> Array:
    """Score frames; the model must be in evaluation mode.

    Returns:
        (N,) probability of a palsy; or (N, 8) scores of the regions; or, ``sided``, (N, 8, 2) of their right and left sides.
    """
    read = decode_sides if sided else decode
    scores = []
    for rows in crops.batches(SCORING_BATCH):
        output = model(to_input(to_device(crops.pixels(rows), device), input_size))
        scores.append((output.softmax(1)[:, 1] if kind == "palsy" else read(output)).float().cpu().numpy())
    return np.concatenate(scores)


def measure(
    kind: Kind,
    crops: Crops,
    scores: Array,
    *,
    rule: DecisionRule | None = None,
    region_thresholds: Sequence[float] = (0.0,) * len(AUS),
    region_scale: float | None = None,
    scales: SideScales | None = None,
) -> PalsyMetrics | RegionMetrics:
    """Compute the metrics of a task by subject (protocol ``subjects``).

    ``rule`` is recognition's only, and calibrates the scores. ``region_thresholds`` are subtracted from the regions' scores, as
    in scoring; with ``region_scale`` the calibration of the regions is measured. ``scales`` are those of a sided region model,
    whose scores add the metrics of ``sides``.
    """
    subjects = crops.subject_N.tolist()
    if kind == "regions":
        score_NA = scores if scales is None else scores.max(-1)
        margin_NA = score_NA - np.array(region_thresholds)
        regions = region_metrics(subjects, crops.affected_NA, margin_NA, crops.known_NA, scale=region_scale)
        if scales is None:
            return regions
        right_N = right_side_probability(torch.from_numpy(scores), scales["face"]).numpy()
        threshold_A = torch.tensor(region_thresholds)
        side_NA2 = region_side_probability(torch.from_numpy(scores), threshold_A, scales["region"], scales["side"]).numpy()
        return replace(
            regions,
            sides=side_metrics(subjects, crops.sided_NA2, right_N),
            region_sides=region_side_metrics(subjects, crops.sided_NA2, side_NA2, _side_is_known(crops)),
        )
    rule = rule or DecisionRule()
    return palsy_metrics(
        subjects,
        crops.palsied_N,
        rule.calibrate(scores),
        threshold=rule.threshold,
        averages_log_odds=rule.averages_log_odds,
        source=crops.source_N,
    )


def choose_rule(crops: Crops, scores: Array, *, threshold: float | None = None) -> DecisionRule:
    """Choose recognition's calibration, threshold and abstention band on validation people, from scores (N,).

    A given threshold stays.
    """
    subjects = crops.subject_N.tolist()
    calibration = fit_calibration(subjects, crops.palsied_N, scores)
    score_N = calibration.apply(scores)
    if threshold is None:
        threshold = best_threshold(subjects, crops.palsied_N, score_N, averages_log_odds=True)
    band = abstention_band(subjects, crops.palsied_N, score_N, threshold)
    return DecisionRule(threshold=threshold, calibration=calibration, abstention=band)


def rule_fields(rule: DecisionRule, crops: Crops) -> dict[str, Any]:
    """Return a rule as fields of the card, with the number of validation people that it was chosen on."""
    assert rule.calibration is not None, "a rule that was chosen has a calibration"
    assert rule.abstention is not None, "and a band"
    palsied = {subject: bool(truth) for subject, truth in zip(crops.subject_N.tolist(), crops.palsied_N, strict=True)}
    low, high = rule.abstention
    return {
        "threshold": rule.threshold,
        "calibration": asdict(rule.calibration),
        "abstention": {
            "low": low,
            "high": high,
            "error": BAND_ERROR,
            "palsied_people": sum(palsied.values()),
            "other_people": len(palsied) - sum(palsied.values()),
        },
    }


def choose_region_thresholds(crops: Crops, scores: Array) -> tuple[float, ...]:
    """Choose the threshold of each region on validation people, from scores (N, 8) or, of a sided model, (N, 8, 2)."""
    score_NA = scores.max(-1) if scores.ndim == 3 else scores
    return region_thresholds(crops.subject_N.tolist(), crops.affected_NA, score_NA, crops.known_NA)


def fit_region_scale(crops: Crops, scores: Array, thresholds: Sequence[float]) -> float:
    """Fit the slope of the logistic curve from a person's region score less its threshold to a probability.

    It is fitted on validation people, for all regions together.
    """
    score_NA = scores.max(-1) if scores.ndim == 3 else scores
    people = by_subject(crops.subject_N.tolist(), crops.affected_NA, score_NA - np.array(thresholds), crops.known_NA)
    return fit_scale(people.score_SK[people.known_SK], people.truth_SK[people.known_SK])


def fit_side_scales(crops: Crops, score_NA2: Array, thresholds: Sequence[float]) -> SideScales:
    """Fit the logistic curves from the scores of sides to probabilities, on validation people, by the thresholds."""
    one_sided_N, one_sided_NA = _one_sided(crops), crops.known_NA & (crops.sided_NA2.sum(-1) == 1)
    margin_NA = score_NA2.max(-1) - np.array(thresholds)
    difference_N = side_difference(torch.from_numpy(score_NA2)).numpy()
    return {
        "face": fit_scale(difference_N[one_sided_N], np.asarray(crops.sided_NA2[one_sided_N, :, 0].any(-1))),
        "region": fit_scale(margin_NA[crops.known_NA], crops.affected_NA[crops.known_NA]),
        "side": fit_scale((score_NA2[..., 0] - score_NA2[..., 1])[one_sided_NA], crops.sided_NA2[one_sided_NA, 0]),
    }


def _side_is_known(crops: Crops) -> Array:
    """Return which regions have a label that names their sides, (N, 8) bool."""
    return np.asarray(crops.known_NA & (~crops.affected_NA | crops.sided_NA2.any(-1)))


def _one_sided(crops: Crops) -> Array:
    return np.asarray(crops.sided_NA2.any(1).sum(-1) == 1)


def validation(
    kind: Kind, crops: Crops, input_size: int, device: torch.device, *, sided: bool = False
) -> Callable[[nn.Module], dict[str, float]]:
    """Return the function that evaluates an epoch on the validation people.

    Selection is the AUROC by subject less the Brier score (recognition) or the mean squared error of the score (regions), which
    breaks ties between epochs that rank a few people equally. For a sided model the accuracy of its sides is added.
    """

    def validate(model: nn.Module) -> dict[str, float]:
        if not len(crops):
            return {"selection": 0.0}
        scores = predict(kind, model, crops, input_size, device, sided=sided)
        subjects = crops.subject_N.tolist()
        sides = {}
        if sided:
            right_N = right_side_probability(torch.from_numpy(scores), 1.0).numpy()
            named = side_metrics(subjects, crops.sided_NA2, right_N, num_resamples=FEW_RESAMPLES)
            sides = {"sides": named.accuracy.value or 0.0}
            scores = scores.max(-1)
        found: PalsyMetrics | RegionMetrics
        if kind == "palsy":
            palsy = palsy_metrics(subjects, crops.palsied_N, scores, num_resamples=FEW_RESAMPLES)
            found, error = palsy, defined(palsy.brier)
        else:
            found = region_metrics(subjects, crops.affected_NA, scores, crops.known_NA, num_resamples=FEW_RESAMPLES)
            error = 1 - defined(found.accuracy)
        auroc = 0.5 if found.auroc.value is None else found.auroc.value
        selection = auroc - error + sum(sides.values())
        return {"auroc": auroc, "error": error, "accuracy": defined(found.accuracy), **sides, "selection": selection}

    def defined(estimate: Estimate) -> float:
        assert estimate.value is not None, "defined wherever there are people"
        return estimate.value

    return validate
