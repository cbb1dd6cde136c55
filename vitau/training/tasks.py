"""The two tasks as the loop sees them: batches of crops, a loss, scores, and what validation people say."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from vitau.data.dataset import Crops
from vitau.metrics import best_threshold, palsy_metrics, region_metrics
from vitau.models.heatmaps import decode, true_heatmaps
from vitau.models.inputs import to_input
from vitau.training.augment import augment
from vitau.training.config import TrainConfig
from vitau.training.losses import PALSY_LOSSES, REGION_LOSSES
from vitau.training.sides import WithSides

Array = npt.NDArray[Any]
Kind = Literal["palsy", "regions"]

SCORING_BATCH = 64
FEW_RESAMPLES = 1


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Batch:
    """B frames on the training device: pictures in [−1, 1], landmarks in px of a 256 crop, labels."""

    crop_BCHW: Tensor
    landmarks_BL2: Tensor
    palsied_B: Tensor
    affected_BA: Tensor
    known_BA: Tensor
    sided_BA2: Tensor


class CropBatches:
    """Shuffled, augmented batches of crops; the order and the changes depend on the seed and the epoch only."""

    def __init__(self, crops: Crops, config: TrainConfig, input_size: int, device: torch.device) -> None:
        self.crops, self.config, self.input_size, self.device = crops, config, input_size, device

    def __len__(self) -> int:
        return math.ceil(len(self.crops) / self.config.batch_size)

    def epoch(self, number: int) -> Iterator[Batch]:
        """Go through the frames once."""
        order = np.random.default_rng([self.config.seed, number]).permutation(len(self.crops))
        for index in np.array_split(order, len(self)):
            crop_BCHW = to_input(torch.from_numpy(self.crops.pixels(index)).to(self.device), self.input_size)
            landmarks_BL2 = torch.from_numpy(self.crops.landmarks_NL2[index]).to(self.device)
            sided_BA2 = torch.from_numpy(self.crops.sided_NA2[index]).to(self.device)
            if self.config.augmentation:
                crop_BCHW, landmarks_BL2, mirrored_B = augment(crop_BCHW, landmarks_BL2, self.config.augmentation)
                sided_BA2 = torch.where(mirrored_B[:, None, None], sided_BA2.flip(2), sided_BA2)
            yield Batch(
                crop_BCHW=crop_BCHW,
                landmarks_BL2=landmarks_BL2,
                palsied_B=torch.from_numpy(self.crops.palsied_N[index]).to(self.device),
                affected_BA=torch.from_numpy(self.crops.affected_NA[index]).to(self.device),
                known_BA=torch.from_numpy(self.crops.known_NA[index]).to(self.device),
                sided_BA2=sided_BA2,
            )


def objective(kind: Kind, config: TrainConfig, sigma: float | None = None) -> Callable[[nn.Module, Batch], Tensor]:
    """Make the loss of a task; ``sigma`` is that of the true heatmaps, px of the heatmap.

    Called with a :class:`WithSides`, it adds the loss of its sides, ``config.side_weight`` times.

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

    asked = palsy if kind == "palsy" else regions

    def with_sides(model: nn.Module, batch: Batch) -> Tensor:
        loss = asked(model, batch)
        return loss + config.side_weight * model.loss(batch.sided_BA2, batch.known_BA) if isinstance(model, WithSides) else loss

    return with_sides


@torch.inference_mode()
def predict(kind: Kind, model: nn.Module, crops: Crops, input_size: int, device: torch.device) -> Array:
    """Score frames: (N,) probability of a palsy, or (N, 8) means of the heatmaps; the model must be in evaluation mode."""
    scores = []
    for rows in crops.batches(SCORING_BATCH):
        output = model(to_input(torch.from_numpy(crops.pixels(rows)).to(device), input_size))
        scores.append((output.softmax(1)[:, 1] if kind == "palsy" else decode(output)).float().cpu().numpy())
    return np.concatenate(scores)


def measure(kind: Kind, crops: Crops, scores: Array, *, threshold: float | None = None) -> dict[str, Any]:
    """Give the metrics of a task by subject (protocol ``subjects``); ``threshold`` is recognition's only."""
    subjects = crops.subject_N.tolist()
    if kind == "regions":
        return region_metrics(subjects, crops.affected_NA, scores, crops.known_NA)
    return palsy_metrics(subjects, crops.palsied_N, scores, threshold=0.5 if threshold is None else threshold)


def choose_threshold(kind: Kind, crops: Crops, scores: Array) -> float | None:
    """Choose recognition's threshold on validation people; the regions' is 0 by definition, so ``None``."""
    return best_threshold(crops.subject_N.tolist(), crops.palsied_N, scores) if kind == "palsy" else None


def validation(kind: Kind, crops: Crops, input_size: int, device: torch.device) -> Callable[[nn.Module], dict[str, float]]:
    """Make the function that judges an epoch on validation people.

    Selection is the AUROC by subject less the Brier score (recognition) or the mean squared error of the score (regions), which
    decides among the many epochs that rank a few people alike.
    """

    def validate(model: nn.Module) -> dict[str, float]:
        if not len(crops):
            return {"selection": 0.0}
        scores = predict(kind, model, crops, input_size, device)
        subjects = crops.subject_N.tolist()
        if kind == "palsy":
            result = palsy_metrics(subjects, crops.palsied_N, scores, num_resamples=FEW_RESAMPLES)
            error = float(result["brier"])
        else:
            result = region_metrics(subjects, crops.affected_NA, scores, crops.known_NA, num_resamples=FEW_RESAMPLES)
            error = 1 - float(result["accuracy"])
        auroc = 0.5 if result["auroc"] is None else float(result["auroc"])
        return {"auroc": auroc, "error": error, "accuracy": float(result["accuracy"]), "selection": auroc - error}

    return validate
