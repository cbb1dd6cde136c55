"""The evaluation of a registered model's explanations, on people of its snapshot."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from prefect.logging import get_logger

from flows.promotion.evaluation import candidate_crops, people_seen
from flows.workspace import Workspace
from vitau.catalog.catalog import Training
from vitau.errors import ObjectNotFoundError
from vitau.evaluation.explanations.results import Explanations
from vitau.evaluation.training_result import TrainingResult
from vitau.schema import Protocol, canonical_name
from vitau.scoring.explanations.evaluate import evaluate_explanations
from vitau.scoring.explanations.regions import evaluate_region_maps
from vitau.scoring.predict import Predictor


def with_explanations(
    workspace: Workspace, result: TrainingResult, bundle: Path, recognition: Training | None
) -> TrainingResult:
    """Add how true a bundle's explanations are, on test people, or on everybody if the model was trained on everybody.

    The numbers of the recognition in a region model's bundle are those of its own registration, if it has them. Nothing is
    added where no palsied person with a known region can test them, nor where frames are missing, which promotion reports.
    """
    earlier = None if recognition is None else Explanations.from_json(recognition.metrics.get("explanations"))
    if result.snapshot is None:
        return result
    predictor, everybody = Predictor(bundle), result.protocol is Protocol.LOPO
    try:
        crops, _, _ = candidate_crops(workspace, result.snapshot, everybody=everybody)
    except ObjectNotFoundError as missing:
        get_logger(__name__).warning("Explanations were not evaluated: %s", missing)
        return result
    if not everybody:
        merged = workspace.catalog.merged_names()
        seen = people_seen(workspace, predictor.recognition_card) | people_seen(workspace, predictor.card)
        names = [canonical_name(name, merged) for name in crops.subject_N.tolist()]
        crops = crops.where(np.array([name not in seen for name in names], dtype=bool))
    found = earlier or evaluate_explanations(predictor.recognition, crops, seen_in_training=everybody)
    if found is not None and predictor.regions is not None:
        found = replace(found, by_name={**found.by_name, **evaluate_region_maps(predictor.regions, crops)})
    return replace(result, explanations=None if found is None else found.to_json())
