"""The row rule of gate 1, and the tables that the gates validate, vectorized and without Great Expectations."""

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vitau.schema import AUS, Cohort, FrameLimits, QuarantineReason, failed_limits

Table: TypeAlias = pa.Table | pd.DataFrame

NESTED = ("box", "landmarks", "crop_landmarks")
"""List columns of a frame table. The gate validates their lengths, null where the list is null."""


def quarantine_reasons(table: Table, limits: FrameLimits | None = None) -> list[QuarantineReason | None]:
    """Return the reason why each frame must not be used, the first in the order of `QuarantineReason`, or ``None``.

    Args:
        table: columns of ``FRAME_COLUMNS``; ``crop`` and ``embedding`` are not read.
        limits: by default those of :class:`FrameLimits`.

    Raises:
        ValueError: a column that the rule reads is missing.
    """
    limits = limits or FrameLimits()
    rows = table if isinstance(table, pd.DataFrame) and "box_length" in table else frame_rows(table)
    failing = {
        QuarantineReason.NO_FACE: (rows["num_faces"] < 1) | rows["box_length"].isna() | rows["landmarks_length"].isna(),
        QuarantineReason.NOT_ALIGNED: rows["crop_landmarks_length"].isna(),
        **failed_limits(rows, limits),
    }
    failed = np.column_stack([failing[reason].to_numpy(dtype=bool) for reason in QuarantineReason])
    answers = np.array([*QuarantineReason, None], dtype=object)
    return answers[np.where(failed.any(axis=1), failed.argmax(axis=1), len(failing))].tolist()


def frame_rows(table: Table, reasons: list[QuarantineReason | None] | None = None) -> pd.DataFrame:
    """Return the table that gate 1 validates: a frame table without images and embeddings, one row per frame.

    Added columns: ``box_length``, ``landmarks_length`` and ``crop_landmarks_length`` (null where the list is null);
    ``index_step`` (from the previous row of the clip, null in its first); ``quarantine`` (``reasons``, by default null).

    Raises:
        ValueError: a list column or a column of the row rule is missing.
    """
    needed = {*NESTED, "clip", "frame_index", "num_faces", *FrameLimits().intervals()}
    if missing := needed - set(table.column_names if isinstance(table, pa.Table) else table.columns):
        raise ValueError(f"a frame table without {', '.join(sorted(missing))}: write it with the columns of FRAME_COLUMNS")
    if isinstance(table, pa.Table):
        lists = {name: table[name] for name in NESTED}
        rows = table.drop_columns([name for name in (*NESTED, "crop", "embedding") if name in table.column_names]).to_pandas()
    else:
        lists = {name: pa.array(table[name], type=pa.list_(pa.float32()), from_pandas=True) for name in NESTED}
        rows = table.drop(columns=[name for name in (*NESTED, "crop", "embedding") if name in table])
    lengths = {f"{name}_length": pc.list_value_length(values).to_pandas().astype("float64") for name, values in lists.items()}
    rows = rows.reset_index(drop=True).assign(**lengths)
    rows["index_step"] = rows.groupby("clip", sort=False)["frame_index"].diff()
    rows["quarantine"] = pd.Series(reasons or [None] * len(rows), dtype="object")
    return rows


def label_rows(table: Table, subjects: Mapping[str, Cohort], agreement: float | None = None) -> pd.DataFrame:
    """Return the table that gate 2 validates, one row per subject and AU: ``subject``, ``au``, ``affected``, ``side``.

    Added columns: ``known`` (the subject is among ``subjects``), ``num_sides`` (number of different sides of the subject),
    ``contradiction`` (a sentence or null), ``surprise`` (a sentence or null: the labels do not fit the cohort) and
    ``agreement`` (of the readers, one number for all rows).
    """
    rows = (table.to_pandas() if isinstance(table, pa.Table) else table).reset_index(drop=True)
    by_subject = rows["subject"]
    any_affected = rows["affected"].fillna(value=False).astype(bool).groupby(by_subject).transform("any")
    any_side = rows["side"].notna().groupby(by_subject).transform("any")
    cohort = by_subject.map({subject: str(cohort) for subject, cohort in subjects.items()})
    contradictions = [any_affected & ~any_side, ~any_affected & any_side]
    surprises = [any_affected & (cohort == Cohort.CONTROL), ~any_affected & (cohort == Cohort.PALSY)]
    return rows.assign(
        known=by_subject.isin(list(subjects)),
        num_sides=rows["side"].groupby(by_subject).transform("nunique"),
        contradiction=_first(contradictions, ["affected regions but no side", "a side but no affected region"]),
        surprise=_first(surprises, ["a control with affected regions", "a patient without an affected region"]),
        agreement=np.nan if agreement is None else float(agreement),
    )


def snapshot_rows(table: Table, nearest: Mapping[str, float] | None = None) -> pd.DataFrame:
    """Return the table that gate 3 validates: one row per subject, from one row per frame in ``SNAPSHOT_COLUMNS``.

    Added columns: ``num_frames``; ``num_splits``, ``num_cohorts`` and ``num_answers`` (different labels), which must be 1;
    ``class_name`` and ``class_size`` (subjects of the same cohort in the same split); ``source_cohorts`` (cohorts in the
    subject's source); ``nearest_other`` (distance to the nearest face of another subject, null if unknown).
    """
    frames = table.to_pandas() if isinstance(table, pa.Table) else table
    answers = frames[["side", *(au.value for au in AUS)]].astype("string").fillna("").agg("|".join, axis=1)
    frames = frames.assign(answers=answers)
    by_subject = frames.groupby("subject", sort=True)
    rows = by_subject[["split", "cohort", "source"]].first()
    class_name = rows["split"] + "/" + rows["cohort"]
    rows = rows.assign(
        num_frames=by_subject.size(),
        num_splits=by_subject["split"].nunique(),
        num_cohorts=by_subject["cohort"].nunique(),
        num_answers=by_subject["answers"].nunique(),
        class_name=class_name,
        class_size=class_name.groupby(class_name).transform("size"),
        source_cohorts=rows["source"].map(frames.groupby("source")["cohort"].nunique()),
    ).reset_index()
    return rows.assign(nearest_other=rows["subject"].map(dict(nearest or {})).astype("float64"))


def _first(conditions: list[pd.Series], sentences: list[str]) -> NDArray[np.object_]:
    """Return, per row, the sentence of the first condition that applies, or ``None``."""
    answer = np.full(len(conditions[0]), None, dtype=object)
    for condition, sentence in zip(reversed(conditions), reversed(sentences), strict=True):
        answer[condition.to_numpy(dtype=bool)] = sentence
    return answer
