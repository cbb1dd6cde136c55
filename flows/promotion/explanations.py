"""The evaluation of a registered model's explanations, on people of its snapshot."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from prefect.logging import get_logger

from flows.annotation.key_frames import frame_names
from flows.erasure.living import load_living
from flows.promotion.evaluation import candidate_crops, people_seen
from flows.workspace import Workspace
from labeling.consensus.standing_answers import standing_answers
from vitau.catalog.catalog import Training
from vitau.errors import ObjectNotFoundError
from vitau.evaluation.explanations.results import FUSED, Explanations
from vitau.evaluation.training_result import TrainingResult
from vitau.schema import Protocol, Split, canonical_name
from vitau.scoring.explanations.evaluate import evaluate_explanations
from vitau.scoring.explanations.fused_evaluation import evaluate_fused
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
        movement = predictor.recognition_fusion is not None
        crops, _, _ = candidate_crops(workspace, result.snapshot, everybody=everybody, movement=movement)
        rows = load_living(workspace, result.snapshot).rows
    except ObjectNotFoundError as missing:
        get_logger(__name__).warning("Explanations were not evaluated: %s", missing)
        return result
    frame_N = np.array(frame_names(rows), dtype=str)
    if not everybody:
        frame_N = frame_N[np.array(rows["split"].to_pylist()) == str(Split.TEST)]
        merged = workspace.catalog.merged_names()
        seen = people_seen(workspace, predictor.recognition_card) | people_seen(workspace, predictor.card)
        names = [canonical_name(name, merged) for name in crops.subject_N.tolist()]
        unseen_N = np.array([name not in seen for name in names], dtype=bool)
        crops, frame_N = crops.where(unseen_N), frame_N[unseen_N]
    boxes = readers_boxes(workspace, result.ledger_offset)
    marks = {row: boxes[name] for row, name in enumerate(frame_N.tolist()) if name in boxes}
    found = earlier or evaluate_explanations(predictor.recognition, crops, marks=marks, seen_in_training=everybody)
    if found is not None and predictor.recognition_fusion is not None and FUSED not in found.by_name:
        whole = evaluate_fused(predictor.recognition, predictor.recognition_fusion, crops, marks=marks)
        found = replace(found, by_name={**whole, **found.by_name})
    if found is not None and predictor.regions is not None:
        found = replace(found, by_name={**found.by_name, **evaluate_region_maps(predictor.regions, crops)})
    return replace(result, explanations=None if found is None else found.to_json())


def readers_boxes(workspace: Workspace, offset: int | None) -> dict[str, list[tuple[float, float, float, float]]]:
    """Return the boxes around affected regions that readers drew up to an offset of the ledger, by the name of the frame."""
    standing = standing_answers(workspace.newest_answers_at(offset))
    answers = [*(answer for readers in standing.blind.values() for answer in readers.values()), *standing.rulings.values()]
    boxes: dict[str, list[tuple[float, float, float, float]]] = {}
    for row in (row for answer in answers for row in answer.values() if row.affected):
        for mark in row.marks:
            boxes.setdefault(mark.frame, []).append(mark.box)
    return boxes
