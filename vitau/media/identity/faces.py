"""Several faces of a clip, spread over it, with their identity embeddings."""

import io
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vitau.media.crops import from_jpeg
from vitau.media.faces import embed
from vitau.media.frames import FrameRecipe, write_frames
from vitau.schema import EMBEDDING_SIZE, Clip

# K face

NUM_FACES: Final = 5
"""Faces of a clip that are compared."""
CHOICE_COLUMNS: Final = ("frame_index", "crop", "crop_landmarks", "detector_score", "yaw_deg", "pitch_deg")
"""The columns of a frame table that :func:`choose_faces` reads."""
DRAFT_RATE_FPS: Final = 1.0

_SCHEMA: Final = pa.schema(
    [("frame_index", pa.int32()), ("crop", pa.binary()), ("embedding", pa.list_(pa.float32()))],
)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ClipFaces:
    """Faces of one clip: K embeddings (K, 128) float32, and their crops as JPEG, the first the clearest one."""

    embedding_KD: NDArray[np.float32]
    crops: tuple[bytes, ...]


def choose_faces(table: pa.Table, num_faces: int = NUM_FACES) -> pa.Table:
    """Return the clearest face of each of ``num_faces`` equal parts of a clip, the clearest of all first.

    Confident, frontal faces are clear: 30 degrees count as much as one point of dlib's score, as for the stored embedding.
    """
    rows = table.filter(table["crop"].is_valid())
    if not rows.num_rows:
        return rows
    turned_N = np.abs(rows["yaw_deg"].to_numpy()) + np.abs(rows["pitch_deg"].to_numpy())
    rank_N = rows["detector_score"].to_numpy() - turned_N / 30
    parts = np.array_split(np.arange(rows.num_rows), min(num_faces, rows.num_rows))
    best = [int(part[np.argmax(rank_N[part])]) for part in parts]
    return rows.take(sorted(best, key=lambda row: -rank_N[row]))


def embed_faces(table: pa.Table) -> pa.Table:
    """Compute the embeddings of chosen faces; return a table that :func:`read_faces` reads."""
    return pa.Table.from_pylist([_embedded(row) for row in table.to_pylist()], _SCHEMA)


def read_faces(table: pa.Table) -> ClipFaces:
    """Return the faces of a table from :func:`embed_faces`."""
    embedding_KD = np.array(table["embedding"].to_pylist(), dtype=np.float32).reshape(-1, EMBEDDING_SIZE)
    return ClipFaces(embedding_KD=embedding_KD, crops=tuple(table["crop"].to_pylist()))


def write_clip_faces(clip: Clip, path: Path, out: Path) -> None:
    """Write the faces of a recording that is in no catalog; run this in a process of its own.

    Raises:
        ClipError: the recording cannot be decoded.
    """
    with tempfile.TemporaryDirectory(dir=out.parent) as folder:
        frames = Path(folder) / "frames.parquet"
        write_frames(clip, path, frames, FrameRecipe(rate_fps=DRAFT_RATE_FPS))
        table = pq.read_table(frames, columns=list(CHOICE_COLUMNS))
    sink = io.BytesIO()
    pq.write_table(embed_faces(choose_faces(table)), sink)
    out.write_bytes(sink.getvalue())


def _embedded(row: dict[str, Any]) -> dict[str, Any]:
    landmarks_L2 = np.array(row["crop_landmarks"], dtype=np.float32).reshape(-1, 2)
    embedding_D = embed(from_jpeg(row["crop"]), landmarks_L2)
    return {"frame_index": row["frame_index"], "crop": row["crop"], "embedding": embedding_D.tolist()}
