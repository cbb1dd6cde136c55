"""Scores: of crops as arrays, of a face by name, and as rows of the score table."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import islice
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vitau.schema import AU, AUS, SCORE_COLUMNS, safe_cell
from vitau.scoring.reading import UsableFace, crops_of

_REGION_COLUMNS: Final = tuple(list(SCORE_COLUMNS)[list(SCORE_COLUMNS).index(AUS[0]) :])
_ROWS_AT_ONCE: Final = 1024

_ARROW_TYPES: Final = {
    "string": pa.string(),
    "int32": pa.int32(),
    "float32": pa.float32(),
    "float64": pa.float64(),
    "bool": pa.bool_(),
    "fixed_size_list<float>[4]": pa.list_(pa.float32()),  # plain lists, as in frame tables
}


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class CropScores:
    """Scores of N crops: ``region_NA`` (N, 8) is in [−1, 1], NaN where ``analysed_N`` is False.

    A sided region model adds probabilities: ``right_N`` (N,) that the person's right side is affected, and ``sided_NA2``
    (N, 8, 2) for the right and left side of each region. Both are NaN where ``analysed_N`` is False.
    """

    palsy_N: NDArray[np.float32]
    palsied_N: NDArray[np.bool_]
    analysed_N: NDArray[np.bool_]
    region_NA: NDArray[np.float32]
    right_N: NDArray[np.float32] | None = None
    sided_NA2: NDArray[np.float32] | None = None

    @classmethod
    def without_regions(cls, palsy_N: NDArray[np.float32], palsied_N: NDArray[np.bool_], *, sided: bool = False) -> Self:
        """Return scores of recognition alone; the regions, and the sides if ``sided``, are NaN until they are analyzed."""
        num_crops = len(palsy_N)
        return cls(
            palsy_N=palsy_N,
            palsied_N=palsied_N,
            analysed_N=np.zeros(num_crops, dtype=bool),
            region_NA=_missing(num_crops, len(AUS)),
            right_N=_missing(num_crops) if sided else None,
            sided_NA2=_missing(num_crops, len(AUS), 2) if sided else None,
        )

    def rows(self, some: slice) -> Self:
        """Return the scores of some crops."""
        columns: dict[str, Any] = {column.name: getattr(self, column.name) for column in fields(self)}
        chosen: dict[str, Any] = {name: None if values is None else values[some] for name, values in columns.items()}
        return type(self)(**chosen)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ScoredFace:
    """One face: its row of ``SCORE_COLUMNS``, and the scored crop (256, 256, 3) uint8 RGB.

    ``movement_F`` are the features of the person's movement that the score contains, ``None`` if the networks answer alone.
    ``landmarks_L2`` are dlib's (68, 2), px of the crop.
    """

    row: dict[str, Any]
    crop: NDArray[np.uint8]
    landmarks_L2: NDArray[np.float32]
    movement_F: NDArray[Any] | None = None

    @property
    def palsy_score(self) -> float:
        """Probability of a palsy, 0 to 1."""
        return float(self.row["palsy_score"])

    @property
    def palsied(self) -> bool:
        """True if the probability reaches the model's threshold."""
        return bool(self.row["palsied"])

    @property
    def regions(self) -> dict[AU, float]:
        """Scores of the regions, −1 to 1, affected above 0; empty if the regions were not analyzed."""
        return {au: float(self.row[au]) for au in AUS if self.row[au] is not None}

    @property
    def right_side(self) -> float | None:
        """Probability that the person's right side is affected; ``None`` without a sided model."""
        right: float | None = self.row["right_side"]
        return right

    @property
    def sides(self) -> dict[AU, tuple[float, float]]:
        """Probabilities that the right and left side of each region are affected; empty without a sided model."""
        pairs = {au: (self.row[f"{au}_right"], self.row[f"{au}_left"]) for au in AUS}
        return {au: (float(right), float(left)) for au, (right, left) in pairs.items() if right is not None}


def scored_faces(
    name: str,
    batches: Iterable[Sequence[UsableFace]],
    scores: CropScores,
    *,
    warning: str | None,
    movement_F: NDArray[Any] | None = None,
) -> Iterator[ScoredFace]:
    """Yield the faces of the input ``name`` with their rows and crops, in order; a batch of crops is decoded at a time."""
    start = 0
    for faces in batches:
        rows = score_rows(
            scores.rows(slice(start, start + len(faces))),
            name=name,
            frame_index=[face.frame_index for face in faces],
            time_s=[face.time_s for face in faces],
            box=[face.box for face in faces],
            face_index=[face.face_index for face in faces],
            warning=warning,
        )
        start += len(faces)
        for row, crop, face in zip(rows, crops_of(faces), faces, strict=True):
            yield ScoredFace(row=row, crop=crop, landmarks_L2=face.landmarks_L2, movement_F=movement_F)


def concatenate(parts: Sequence[CropScores]) -> CropScores:
    """Return the scores of all crops in order; of no part, those of no crop."""
    if not parts:
        return CropScores.without_regions(_missing(0), np.zeros(0, dtype=bool))
    joined: dict[str, Any] = {}
    for column in fields(CropScores):
        values = [getattr(part, column.name) for part in parts]
        joined[column.name] = None if values[0] is None else np.concatenate(values)
    return CropScores(**joined)


def _missing(*shape: int) -> NDArray[np.float32]:
    return np.full(shape, np.nan, dtype=np.float32)


def score_schema() -> pa.Schema:
    """Return the Arrow schema of a score table, with the meaning of every field in its metadata."""
    return pa.schema(
        [
            pa.field(name, _ARROW_TYPES[column.type], nullable=column.nullable, metadata={"meaning": column.meaning})
            for name, column in SCORE_COLUMNS.items()
        ]
    )


def score_table(rows: Iterable[dict[str, Any]]) -> pa.Table:
    """Return rows of ``SCORE_COLUMNS`` as an Arrow table; of a stream of rows, few are in memory at a time."""
    remaining, schema = iter(rows), score_schema()
    parts = [pa.Table.from_pylist(some, schema=schema) for some in iter(lambda: list(islice(remaining, _ROWS_AT_ONCE)), [])]
    return pa.concat_tables(parts or [schema.empty_table()]).combine_chunks()


def write_scores(table: pa.Table, folder: Path) -> None:
    """Write a score table as ``scores.parquet`` and ``scores.csv``, in which the box is four columns and no cell a formula."""
    pq.write_table(table, folder / "scores.parquet")
    with pa.csv.CSVWriter(folder / "scores.csv", _flat(table.slice(0, 0)).schema) as writer:
        for start in range(0, table.num_rows, _ROWS_AT_ONCE):
            writer.write(_flat(table.slice(start, _ROWS_AT_ONCE)))


def _flat(table: pa.Table) -> pa.Table:
    corners = table["box"].to_pylist()
    for position, name in enumerate(("box_x", "box_y", "box_width", "box_height")):
        table = table.append_column(name, pa.array([corner[position] for corner in corners], pa.float32()))
    inputs = pa.array([safe_cell(name) for name in table["input"].to_pylist()], pa.string())
    return table.set_column(table.column_names.index("input"), "input", inputs).drop_columns("box")


def score_rows(
    scores: CropScores,
    *,
    name: str,
    frame_index: Sequence[int],
    time_s: Sequence[float],
    box: Sequence[Sequence[float]],
    face_index: Sequence[int] | None = None,
    warning: str | None = None,
) -> list[dict[str, Any]]:
    """Return rows of ``SCORE_COLUMNS`` for N scored crops of the input ``name``; a region that was not analyzed is None.

    ``warning`` is the model's, see :attr:`vitau.scoring.predict.Predictor.warnings`.
    """
    faces = face_index if face_index is not None else [0] * len(frame_index)
    values_NC = np.concatenate([scores.region_NA, _sides(scores)], axis=1)
    regions = [
        {column: None if np.isnan(value) else value for column, value in zip(_REGION_COLUMNS, values_C.tolist(), strict=True)}
        for values_C in values_NC
    ]
    columns = zip(frame_index, time_s, faces, box, scores.palsy_N, scores.palsied_N, scores.analysed_N, regions, strict=True)
    return [
        {
            "input": name,
            "frame_index": int(frame),
            "time_s": float(time),
            "face_index": int(face),
            "box": [float(value) for value in corners],
            "palsy_score": float(palsy),
            "palsied": bool(palsied),
            "analysed": bool(analysed),
            "warning": warning,
            **region,
        }
        for frame, time, face, corners, palsy, palsied, analysed, region in columns
    ]


def _sides(scores: CropScores) -> NDArray[np.float32]:
    """Return the columns of sides (N, 17), NaN for a model without sides."""
    num_faces = len(scores.palsy_N)
    if scores.right_N is None or scores.sided_NA2 is None:
        return np.full((num_faces, 1 + 2 * len(AUS)), np.nan, dtype=np.float32)
    return np.concatenate([scores.right_N[:, None], scores.sided_NA2.reshape(num_faces, 2 * len(AUS))], axis=1)
