"""Evaluation of the whole cascade of a bundle, recognition and regions together, on held-out people."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from flows.promotion.evaluation import answer, candidate_crops, held_out_people, people_seen
from flows.workspace import Workspace
from vitau.evaluation.cascade import cascade_metrics
from vitau.evaluation.metrics import RegionMetrics
from vitau.evaluation.training_result import TrainingResult
from vitau.schema import canonical_name
from vitau.scoring.predict import Predictor


def with_cascade(workspace: Workspace, result: TrainingResult, bundle: Path) -> TrainingResult:
    """Add the metrics of the cascade to a region model's result, on test people that neither model was trained on.

    Nothing is added to a model without test people, nor where none of them was held out from the recognition.
    """
    if not isinstance(result.test, RegionMetrics) or result.snapshot is None:
        return result
    predictor = Predictor(bundle)
    movement = predictor.uses_movement
    crops, source_N, _ = candidate_crops(workspace, result.snapshot, everybody=False, movement=movement)
    merged = workspace.catalog.merged_names()
    seen = people_seen(workspace, predictor.card) | people_seen(workspace, predictor.recognition_card)
    held_out_N = np.array([canonical_name(name, merged) not in seen for name in crops.subject_N.tolist()], dtype=bool)
    if not held_out_N.any():
        return result
    crops = crops.where(held_out_N)
    people, answers = held_out_people(crops, source_N[held_out_N]), answer(predictor, crops)
    return replace(result, test=replace(result.test, cascade=cascade_metrics(people, answers)))
