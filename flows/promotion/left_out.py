"""The evidence of models that were trained on everybody: predictions for each person by models that never saw the person."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from flows.erasure.living import load_living
from flows.promotion.registered_models import bundled
from flows.workspace import Workspace
from vitau.catalog.catalog import Training
from vitau.catalog.evidence import LeftOut
from vitau.data.dataset import SIDES
from vitau.evaluation.measure import palsy_metrics, region_metrics, side_metrics
from vitau.evaluation.metrics import PalsyMetrics, RegionMetrics
from vitau.schema import AUS, Cohort, Protocol, Side, canonical_name


def predictions_of(workspace: Workspace, training: Training) -> dict[str, LeftOut]:
    """Return the predictions for people who were left out, by canonical name; none unless that is the training's protocol."""
    if training.protocol is not Protocol.LOPO:
        return {}
    merged = workspace.catalog.merged_names()
    return {canonical_name(found.subject, merged): found for found in workspace.catalog.left_out(training.key)}


def left_out_metrics(workspace: Workspace, key: str, snapshot: str) -> PalsyMetrics | RegionMetrics | None:
    """Compute the metrics of a training on everybody from the predictions for people who were left out.

    Args:
        workspace: the predictions, and the labels of the snapshot.
        key: of the training.
        snapshot: its digest.

    Returns:
        ``None`` if nobody was left out before this training.
    """
    labels = labels_by_person(load_living(workspace, snapshot).rows)
    found = [prediction for prediction in workspace.catalog.left_out(key) if prediction.subject in labels]
    if not found:
        return None
    names, num_frames = [prediction.subject for prediction in found], sum(prediction.num_frames for prediction in found)
    if found[0].regions is None:
        palsied_S = np.array([labels[name]["cohort"] == Cohort.PALSY for name in names])
        score_S, threshold_S = (np.array([getattr(own, name) for own in found]) for name in ("palsy_score", "threshold"))
        source_S = np.array([labels[name]["source"] for name in names])
        palsy = palsy_metrics(names, palsied_S, score_S, threshold=threshold_S, source=source_S, protocol=Protocol.LOPO)
        return replace(palsy, num_frames=num_frames)
    label_SA = np.array([[labels[name][au] for au in AUS] for name in names], dtype=object)
    affected_SA, known_SA = label_SA == True, label_SA != None  # noqa: E711, E712 (elementwise on objects)
    score_SA = np.array([[(own.regions or {})[au] for au in AUS] for own in found])
    regions = region_metrics(names, affected_SA, score_SA, known_SA, protocol=Protocol.LOPO)
    if all(own.right_score is None for own in found):
        return replace(regions, num_frames=num_frames)
    side_S2 = np.array([[labels[name]["side"] in (side, Side.BOTH) for side in SIDES] for name in names])
    right_S = np.array([own.right_score for own in found], dtype=float)
    sides = side_metrics(names, affected_SA[..., None] & side_S2[:, None], right_S)
    return replace(regions, num_frames=num_frames, sides=replace(sides, protocol=Protocol.LOPO))


def left_out_summaries(workspace: Workspace, champion: Training) -> dict[str, dict[str, Any]]:
    """Return the predictions for people who were left out by both models of a champion, in the form of a score's summary."""
    found: dict[str, dict[str, Any]] = {}
    for training in bundled(workspace, champion.model_digest):
        for name, own in predictions_of(workspace, training).items():
            summary = found.setdefault(name, {"regions": {}})
            if own.regions is None:
                summary |= {"palsy_score": own.palsy_score, "threshold": own.threshold}
            else:
                summary["regions"] = {au: {"score": score} for au, score in own.regions.items()}
    return {name: summary for name, summary in found.items() if "palsy_score" in summary}


def labels_by_person(rows: pa.Table) -> dict[str, Mapping[str, Any]]:
    """Return source, cohort, side and regions of each person in a snapshot."""
    return {row["subject"]: row for row in rows.select(["subject", "source", "cohort", "side", *AUS]).to_pylist()}
