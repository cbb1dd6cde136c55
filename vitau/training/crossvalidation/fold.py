"""Train one fold of a cross-validation and predict its test frames.

Epoch and threshold are chosen on the fold's validation frames. Nothing of the test frames reaches the model.

Axes: N frames of the data set, T test frames.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from vitau.asymmetry.model import AsymmetryModel
from vitau.data.dataset import SIDES, Crops
from vitau.data.protocols import FrameFold
from vitau.errors import TrainingError
from vitau.evaluation.decision import DEFAULT_THRESHOLD
from vitau.models.heatmaps import region_side_probability, right_side_probability
from vitau.progress import Reporter
from vitau.schema import AUS, Split
from vitau.store import Store
from vitau.training.checkpoint import Checkpoint
from vitau.training.config import Recipe, settings_of
from vitau.training.fusion import NO_THRESHOLDS, fit_fusion, fit_movement
from vitau.training.run import choose_device, fit_model
from vitau.training.start import start_model
from vitau.training.tasks import Array, Kind, SideScales, choose_region_thresholds, choose_rule, fit_side_scales, predict

SCHEMA: Final = pa.schema(
    [
        pa.field("row", pa.int64(), nullable=False),
        pa.field("score", pa.float32()),
        pa.field("threshold", pa.float64()),
        *(pa.field(f"{au}_score", pa.float32()) for au in AUS),
        pa.field("right_score", pa.float64()),
        *(pa.field(f"{au}_{side}", pa.float32()) for au in AUS for side in SIDES),
    ]
)
"""Predictions of a fold: the row of each test frame in the data set, and its scores.

Recognition fills ``score``, the calibrated probability of a palsy, and ``threshold``. A person's score is that of the mean
log-odds. The regions fill a score each, and sided models ``right_score``, the probability that the right side is the affected
one, and one for each side of a region. No name of a person is in it.
"""


def task_frames(recipe: Recipe, crops: Crops, fold: FrameFold) -> FrameFold:
    """Return the frames of a fold that a recipe's task uses: the regions are those of palsied people with labels."""
    return fold.among(crops.palsied_N & crops.known_NA.any(1)) if recipe.kind == "regions" else fold


def train_fold(
    recipe: Recipe,
    crops: Crops,
    fold: FrameFold,
    folder: Path,
    *,
    identity: str,
    pretrained: Path | None = None,
    weights: Sequence[str] = (),
    store: Store | None = None,
) -> pa.Table:
    """Train a recipe on a fold, in one thread on a processor, and return its predictions of the test frames.

    Args:
        recipe: the model and its training, with the seed of this fold.
        crops: all frames of the data set, at the recipe's size or larger, with movement if the recipe uses it.
        fold: of all frames.
        folder: holds the checkpoint; an interrupted training resumes from it. It is empty at the end.
        identity: names the data and the fold.
        pretrained: a model folder, or the results of a pretraining, to start from.
        weights: sources of the user's own weights instead.
        store: of weights that are objects.

    Returns:
        A table by :data:`SCHEMA`, one line per test frame.

    Raises:
        TrainingError: a part of the fold has no frames, the training people are of one cohort, the recipe needs weights, or the
            loss is not finite.
    """
    movement = fit_movement(crops.where(fold.train_N)) if recipe.movement else None
    fold = task_frames(recipe, crops, fold)
    _check(recipe, crops, fold)
    crops = replace(crops, split_N=fold.splits())
    device = choose_device(num_threads=1)
    model, _ = start_model(recipe, pretrained, weights, store)
    settings = json.dumps([identity, asdict(recipe.model), settings_of(recipe.train)])
    checkpoint = Checkpoint(folder=folder, identity=settings)
    history, _ = fit_model(recipe, recipe.train, model, crops, checkpoint, Reporter(quiet=True), None, device)
    table = _predictions(recipe, model, crops, np.flatnonzero(fold.test_N), device, movement)
    facts = {
        "best_epoch": (history.best or 0) + 1,
        "seconds": round(history.seconds, 1),
        "train_frames": int(fold.train_N.sum()),
    }
    checkpoint.clear()
    return table.replace_schema_metadata({"vitau.fold": json.dumps(facts)})


def _predictions(
    recipe: Recipe,
    model: torch.nn.Module,
    crops: Crops,
    row_T: npt.NDArray[np.int64],
    device: torch.device,
    movement: AsymmetryModel | None,
) -> pa.Table:
    val, test = crops.of(Split.VAL), crops.of(Split.TEST)
    val_scores, test_scores = (
        predict(recipe.kind, model, part, recipe.model_input_size, device, sided=recipe.sided) for part in (val, test)
    )
    if movement is not None:
        fusion = fit_fusion(recipe.kind, movement, val, val_scores)
        val_scores, test_scores = fusion(val_scores, val.movement_NF), fusion(test_scores, test.movement_NF)
    return predictions(recipe.kind, val, val_scores, row_T, test_scores, sided=recipe.sided, fused=movement is not None)


def predictions(
    kind: Kind,
    val: Crops,
    val_scores: Array,
    row_T: npt.NDArray[np.int64],
    test_scores: Array,
    *,
    sided: bool = False,
    fused: bool = False,
) -> pa.Table:
    """Return the predictions of test frames by :data:`SCHEMA`, with calibration and thresholds of the validation people.

    Args:
        kind: the task.
        val: validation frames, of palsied people with labels for the regions.
        val_scores: their scores (V,) or (V, 8) or, ``sided``, (V, 8, 2).
        row_T: rows of the test frames in the data set.
        test_scores: their scores, in the same form.
        sided: scores have sides.
        fused: scores are those of a fusion, which even odds divide; else thresholds are chosen on the validation people.
    """
    columns: dict[str, object] = {"row": row_T}
    if kind == "palsy":
        rule = choose_rule(val, val_scores, threshold=DEFAULT_THRESHOLD if fused else None)
        columns |= {"score": rule.calibrate(test_scores), "threshold": np.full(len(row_T), rule.threshold)}
    else:
        thresholds = NO_THRESHOLDS if fused else choose_region_thresholds(val, val_scores)
        if sided:
            columns |= _side_columns(torch.from_numpy(test_scores), fit_side_scales(val, val_scores, thresholds), thresholds)
            test_scores = test_scores.max(-1)
        columns |= {f"{au}_score": test_scores[:, index] - thresholds[index] for index, au in enumerate(AUS)}
    filled = {field.name: pa.array(columns.get(field.name, [None] * len(row_T)), field.type) for field in SCHEMA}
    return pa.table(filled, schema=SCHEMA)


def _side_columns(score_TA2: torch.Tensor, scales: SideScales, thresholds: Sequence[float]) -> dict[str, object]:
    """Return the probabilities of the right side of the face, and of both sides of each region."""
    side_TA2 = region_side_probability(score_TA2, torch.tensor(thresholds), scales["region"], scales["side"]).numpy()
    return {
        "right_score": right_side_probability(score_TA2, scales["face"]).numpy().astype(np.float64),
        **{f"{au}_{side}": side_TA2[:, row, column] for row, au in enumerate(AUS) for column, side in enumerate(SIDES)},
    }


def _check(recipe: Recipe, crops: Crops, fold: FrameFold) -> None:
    for name, mask_N in (("training", fold.train_N), ("validation", fold.val_N), ("test", fold.test_N)):
        if not mask_N.any():
            raise TrainingError(f"a fold has no {name} frames for {recipe.name}: label more people")
    if recipe.kind == "palsy" and len(set(crops.palsied_N[fold.train_N].tolist())) < 2:
        raise TrainingError("the training people of a fold are of one cohort: recognition needs palsied people and controls")
