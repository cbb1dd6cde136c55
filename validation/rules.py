"""The row rule of gate 1, and the columns that the gates need but no table has: vectorised, without Great Expectations."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import ArrayLike, NDArray

from vitau.schema import AUS, Cohort, QuarantineReason

Table: TypeAlias = pa.Table | pd.DataFrame

NESTED = ("box", "landmarks", "crop_landmarks")
"""List columns of a frame table; the gate sees their lengths, null where the list is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FrameLimits:
    """What a frame must be to be used; a measure that is missing on a face is outside its limit.

    ``sharpness_min`` separates motion blur and video mush from skin; ``detector_score_min`` is dlib's own threshold;
    ``clipped_max`` is a share of the face's pixels without detail. Lengths are px of the recording, angles degrees.
    """

    face_px_min: float = 30.0
    detector_score_min: float = 0.0
    sharpness_min: float = 15.0
    brightness_min: float = 30.0
    brightness_max: float = 225.0
    clipped_max: float = 0.5
    yaw_deg_max: float = 45.0
    pitch_deg_max: float = 40.0

    @property
    def digest(self) -> str:
        """Name of these limits in object keys: 16 hexadecimal digits."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]

    def intervals(self) -> dict[str, tuple[float | None, float | None]]:
        """Measure -> closed interval, ``None`` where it is open: the one statement that rule and suite both read."""
        return {
            "face_px": (self.face_px_min, None),
            "detector_score": (self.detector_score_min, None),
            "sharpness": (self.sharpness_min, None),
            "brightness": (self.brightness_min, self.brightness_max),
            "clipped": (None, self.clipped_max),
            "yaw_deg": (-self.yaw_deg_max, self.yaw_deg_max),
            "pitch_deg": (-self.pitch_deg_max, self.pitch_deg_max),
        }


def quarantine_reasons(table: Table, limits: FrameLimits | None = None) -> list[QuarantineReason | None]:
    """Return why each frame must not be used, or ``None``: the first failing check in the order of `QuarantineReason`.

    ``table`` has the columns of ``FRAME_COLUMNS`` (``crop`` and ``embedding`` are not read). Raises ``ValueError`` if a column
    that the rule reads is missing.
    """
    limits = limits or FrameLimits()
    rows = table if isinstance(table, pd.DataFrame) and "box_length" in table else frame_rows(table)
    within = {measure: _within(rows[measure], *interval) for measure, interval in limits.intervals().items()}
    shadowed = ~within["clipped"] & (rows["brightness"] < 128)  # the lost detail is in the dark, not in the light
    asked = {
        QuarantineReason.NO_FACE: (rows["num_faces"] < 1) | rows["box_length"].isna() | rows["landmarks_length"].isna(),
        QuarantineReason.NOT_ALIGNED: rows["crop_landmarks_length"].isna(),
        QuarantineReason.SMALL: ~within["face_px"],
        QuarantineReason.LOW_CONFIDENCE: ~within["detector_score"],
        QuarantineReason.BLURRED: ~within["sharpness"],
        QuarantineReason.DARK: ~(rows["brightness"] >= limits.brightness_min) | shadowed,
        QuarantineReason.BRIGHT: ~within["brightness"] | ~within["clipped"],
        QuarantineReason.TURNED: ~within["yaw_deg"] | ~within["pitch_deg"],
    }
    failed = np.column_stack([asked[reason].to_numpy(dtype=bool) for reason in QuarantineReason])
    answers = np.array([*QuarantineReason, None], dtype=object)
    return answers[np.where(failed.any(axis=1), failed.argmax(axis=1), len(asked))].tolist()


def frame_rows(table: Table, reasons: list[QuarantineReason | None] | None = None) -> pd.DataFrame:
    """What gate 1 reads of a frame table: its scalars, the lengths of its lists, the step of the index, the quarantine.

    Adds ``box_length``, ``landmarks_length``, ``crop_landmarks_length`` (null where the list is), ``index_step`` (to the row
    before in the same clip, null in the first) and ``quarantine`` (``reasons``, all null if not given). The image and the
    embedding stay behind. Raises ``ValueError`` if a list column or a column of the row rule is missing.
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
    """What gate 2 reads of the label table (one row per subject and AU: ``subject``, ``au``, ``affected``, ``side``).

    Adds ``known`` (the subject is among ``subjects``), ``num_sides`` (different sides given for one subject),
    ``contradiction`` (null, or which), ``surprise`` (null, or how the answer differs from the subject's cohort) and
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
    """What gate 3 reads of a snapshot: one row per subject, from one row per frame in ``SNAPSHOT_COLUMNS``.

    Adds ``num_frames``, ``num_splits`` and ``num_cohorts`` (of the subject, 1 each), ``num_answers`` (different label rows,
    1), ``class_name`` and ``class_size`` (subjects of its cohort in its split), ``source_cohorts`` (cohorts in its source) and
    ``nearest_other`` (of :func:`nearest_other_subject`, null where not known).
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


def nearest_other_subject(embeddings: ArrayLike, subjects: list[str]) -> dict[str, float]:
    """Subject -> smallest Euclidean distance from one of its identity embeddings to another subject's.

    ``embeddings`` is (N, 128), ``subjects`` names the N rows. A subject alone in the table is missing from the answer. Below
    0.6 dlib calls two photos the same person, which among many strangers is often wrong; a gate wants a lower floor.
    """
    points = np.asarray(embeddings, dtype=np.float64)
    if points.ndim != 2 or len(points) != len(subjects):
        raise ValueError(f"{len(subjects)} subjects for embeddings of shape {points.shape}: one row per name is needed")
    names, owner = np.unique(np.asarray(subjects, dtype=str), return_inverse=True)
    smallest = np.full(len(names), np.inf)
    for index, name_embeddings in ((i, points[owner == i]) for i in range(len(names))):
        others = points[owner != index]
        if len(others):
            squared = (name_embeddings**2).sum(1)[:, None] + (others**2).sum(1) - 2 * name_embeddings @ others.T
            smallest[index] = np.sqrt(max(squared.min(), 0.0))
    return {str(name): float(distance) for name, distance in zip(names, smallest, strict=True) if np.isfinite(distance)}


def _within(values: pd.Series, low: float | None, high: float | None) -> pd.Series:
    """Whether a value is there and in the closed interval."""
    answer = values.notna()
    if low is not None:
        answer &= values >= low
    if high is not None:
        answer &= values <= high
    return answer


def _first(conditions: list[pd.Series], sentences: list[str]) -> NDArray[np.object_]:
    """Per row the sentence of the first condition that holds, else ``None``."""
    answer = np.full(len(conditions[0]), None, dtype=object)
    for condition, sentence in zip(reversed(conditions), reversed(sentences), strict=True):
        answer[condition.to_numpy(dtype=bool)] = sentence
    return answer
