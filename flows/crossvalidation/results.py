"""Results of a cross-validation: join the predictions of folds with the labels, and evaluate each protocol and task."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from flows.crossvalidation.study import FoldTask, Study, palsied
from vitau.data.dataset import SIDES
from vitau.data.protocols import Task
from vitau.evaluation.crossvalidation.pooled import (
    LEVELS,
    Difference,
    Level,
    OutOfFold,
    Pooled,
    compare,
    evaluate,
    reliability,
)
from vitau.evaluation.crossvalidation.shortcuts import ShortcutProbe
from vitau.evaluation.rates import ReliabilityBin
from vitau.schema import AUS, Protocol, Side

Array = npt.NDArray[Any]

REGION_SIDES: Final = tuple(f"{au}_{side}" for au in AUS for side in SIDES)
"""Columns of the predicted sides of the regions."""
OPTIMISM: Final = (Protocol.FRAMES, Protocol.SUBJECTS, Protocol.LOPO)
"""Protocols from the most to the least optimistic; differences are the earlier minus the later."""


@dataclass(frozen=True, kw_only=True)
class Results:
    """The evaluation of a study; ``reliability`` is of recognition by person, for each protocol.

    ``probe`` is the shortcut probe of the same people.
    """

    pooled: Sequence[Pooled]
    differences: Sequence[Difference]
    reliability: Mapping[Protocol, Sequence[ReliabilityBin]]
    probe: ShortcutProbe | None = None

    def of(self, protocol: Protocol, task: str, level: Level = "person") -> Pooled:
        """Return the metrics of a task under a protocol at a level."""
        return next(row for row in self.pooled if (row.protocol, row.task, row.level) == (protocol, task, level))


def evaluate_study(study: Study, rows: pa.Table, tables: Mapping[FoldTask, pa.Table]) -> Results:
    """Evaluate the predictions of all folds.

    Args:
        study: the plan.
        rows: of the snapshot, without erased people.
        tables: predictions by fold.
    """
    found = {
        (protocol, str(task)): pool(protocol, task, rows, tables) for task in study.recipes for protocol in study.protocols
    }
    if "regions" in study.recipes:
        for protocol in study.protocols:
            pooled = (pool_sides(protocol, rows, tables), pool_region_sides(protocol, rows, tables))
            found |= {(protocol, predictions.task): predictions for predictions in pooled if predictions is not None}
    ordered = [protocol for protocol in OPTIMISM if protocol in study.protocols]
    return Results(
        pooled=[evaluate(predictions, level) for predictions in found.values() for level in LEVELS],
        differences=[
            difference
            for task in study.recipes
            for first, second in combinations(ordered, 2)
            for level in LEVELS
            for difference in compare(found[first, task], found[second, task], level)
        ],
        reliability={protocol: reliability(found[protocol, "palsy"]) for protocol in study.protocols},
    )


def pool(protocol: Protocol, task: Task, rows: pa.Table, tables: Mapping[FoldTask, pa.Table]) -> OutOfFold:
    """Join the predictions of all folds and seeds of a task with the labels."""
    merged = merge(protocol, task, tables)
    row_M = merged["row"]
    if task == "palsy":
        truth_MK = palsied(rows)[row_M][:, None]
        known_MK = np.ones_like(truth_MK)
        score_MK = merged["score"][:, None]
        questions: tuple[str, ...] = ("palsy",)
        sources = set(rows["source"].to_pylist())
        source_M = np.array(rows["source"].to_pylist())[row_M] if len(sources) > 1 else None
    else:
        label_MK = np.stack([np.array(rows[au].to_pylist(), dtype=object)[row_M] for au in AUS], axis=1)
        truth_MK, known_MK = label_MK == True, label_MK != None  # noqa: E711, E712 (elementwise on objects)
        score_MK = np.stack([merged[f"{au}_score"] for au in AUS], axis=1)
        questions, source_M = tuple(map(str, AUS)), None
    return OutOfFold(
        protocol=protocol,
        task=task,
        questions=questions,
        seed_M=merged["seed"],
        fold_M=merged["fold"],
        subject_M=np.array(rows["subject"].to_pylist())[row_M],
        frame_M=row_M,
        truth_MK=truth_MK.astype(bool),
        known_MK=known_MK.astype(bool),
        score_MK=score_MK,
        threshold_M=np.nan_to_num(merged["threshold"]),
        averages_log_odds=task == "palsy",
        source_M=source_M,
    )


def pool_sides(protocol: Protocol, rows: pa.Table, tables: Mapping[FoldTask, pa.Table]) -> OutOfFold | None:
    """Join the predicted sides with the labels of people with one affected side; ``None`` if no side is predicted."""
    merged = merge(protocol, "regions", tables)
    side_M = np.array(rows["side"].to_pylist(), dtype=object)[merged["row"]]
    chosen_M = ~np.isnan(merged["right_score"]) & np.isin(side_M, [str(Side.RIGHT), str(Side.LEFT)])
    if not chosen_M.any():
        return None
    row_M, truth_MK = merged["row"][chosen_M], (side_M[chosen_M] == str(Side.RIGHT))[:, None]
    return OutOfFold(
        protocol=protocol,
        task="side",
        questions=("right",),
        seed_M=merged["seed"][chosen_M],
        fold_M=merged["fold"][chosen_M],
        subject_M=np.array(rows["subject"].to_pylist())[row_M],
        frame_M=row_M,
        truth_MK=truth_MK,
        known_MK=np.ones_like(truth_MK),
        score_MK=merged["right_score"][chosen_M][:, None],
        threshold_M=np.full(len(row_M), 0.5),
    )


def pool_region_sides(protocol: Protocol, rows: pa.Table, tables: Mapping[FoldTask, pa.Table]) -> OutOfFold | None:
    """Join the predicted sides of the regions with their labels; ``None`` if no side is predicted.

    A region that is not affected is affected on neither side. One that is affected on an unknown side has no label.
    """
    merged = merge(protocol, "regions", tables)
    chosen_M = ~np.isnan(merged["right_score"])
    if not chosen_M.any():
        return None
    row_M = merged["row"][chosen_M]
    side_M = np.array(rows["side"].to_pylist(), dtype=object)[row_M]
    label_MA = np.stack([np.array(rows[au].to_pylist(), dtype=object)[row_M] for au in AUS], axis=1)
    affected_MA = label_MA == True  # noqa: E712 (elementwise on objects)
    known_MA = (label_MA == False) | (affected_MA & (side_M != None)[:, None])  # noqa: E711, E712 (elementwise on objects)
    on_M2 = np.stack([np.isin(side_M, [str(side), str(Side.BOTH)]) for side in SIDES], axis=1)
    truth_MA2 = affected_MA[..., None] & on_M2[:, None]
    return OutOfFold(
        protocol=protocol,
        task="region sides",
        questions=REGION_SIDES,
        seed_M=merged["seed"][chosen_M],
        fold_M=merged["fold"][chosen_M],
        subject_M=np.array(rows["subject"].to_pylist())[row_M],
        frame_M=row_M,
        truth_MK=truth_MA2.reshape(len(row_M), -1),
        known_MK=np.repeat(known_MA, len(SIDES), axis=1),
        score_MK=np.stack([merged[name][chosen_M] for name in REGION_SIDES], axis=1),
        threshold_M=np.full(len(row_M), 0.5),
    )


def merge(protocol: Protocol, task: Task, tables: Mapping[FoldTask, pa.Table]) -> dict[str, Array]:
    """Return the columns of all predictions of a task under a protocol, with their seed and fold; null is NaN."""
    chosen = [(key, table) for key, table in tables.items() if (key.protocol, key.task) == (protocol, task)]
    merged = pa.concat_tables([table.replace_schema_metadata(None) for _, table in chosen])
    columns = {name: merged[name].to_numpy() for name in merged.column_names}
    for name in ("seed", "index"):
        columns["fold" if name == "index" else name] = np.concatenate(
            [np.full(table.num_rows, getattr(key, name)) for key, table in chosen]
        )
    return columns
