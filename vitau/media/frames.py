"""Frame tables: one row per sampled frame of a clip, streamed into one Parquet file."""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vitau.errors import StoreError
from vitau.media.clips import RATE_FPS, DecodeCounts, Encoding, SampledFrame, kind_of, read_encoding
from vitau.media.crops import Image, Quality, from_jpeg, quality, renumbered, to_jpeg
from vitau.media.faces import FaceCrop, align, detect, embed, person_of_interest
from vitau.media.tracking.clip import ClipRange, ReadFrame
from vitau.media.tracking.split import Split, track_clip
from vitau.schema import FRAME_COLUMNS, Clip

ROW_GROUP: Final = 100
"""Rows per row group, and in memory at a time."""
SMALL_PICTURE: Final = 1_000_000
"""Largest photo, in pixels, that is enlarged twofold before detection."""

_ARROW_TYPES: Final[Mapping[str, pa.DataType]] = {
    "string": pa.string(),
    "int32": pa.int32(),
    "float32": pa.float32(),
    "float64": pa.float64(),
    "binary": pa.binary(),
    # plain lists: Arrow writes a fixed-size list with nulls into Parquet but cannot read it back
    "fixed_size_list<float>[4]": pa.list_(pa.float32()),
    "fixed_size_list<float>[128]": pa.list_(pa.float32()),
    "fixed_size_list<float>[136]": pa.list_(pa.float32()),
}

Seen = TypeVar("Seen")

_Row: TypeAlias = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class FrameRecipe:
    """The parameters of frame extraction; ``version`` increases when the code gives other frames for the same parameters."""

    rate_fps: float = RATE_FPS
    version: int = 1

    @property
    def digest(self) -> str:
        """Identifier of this recipe in object keys: the first 16 hex digits of a SHA-256."""
        return hashlib.sha256(
            json.dumps(asdict(self) | {"rate_fps": float(self.rate_fps)}, sort_keys=True).encode()
        ).hexdigest()[:16]


class FrameWatch(Protocol[Seen]):
    """Reads more from the frames of a clip while they are tracked.

    ``look`` is pickled and runs where a frame is decoded, in this process or in another one. ``add`` takes over what it saw, in
    the order of the frames.
    """

    @property
    def look(self) -> Callable[[SampledFrame, FaceCrop, Quality], Seen]:
        """Return the function that reads a frame with the tracked face and the quality of its crop."""

    def add(self, seen: Seen) -> None:
        """Take over what was read from the next frame."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FramesSummary:
    """Counts of one clip: sampled frames, frames with the tracked face, and the counts of decoding."""

    num_frames: int
    num_faces: int
    num_decoded: int
    num_damaged: int
    truncated: bool


def frame_schema() -> pa.Schema:
    """Return the Arrow schema of a frame table, with the meaning of every field in its metadata."""
    return pa.schema(
        [
            pa.field(name, _ARROW_TYPES[column.type], nullable=column.nullable, metadata={"meaning": column.meaning})
            for name, column in FRAME_COLUMNS.items()
        ]
    )


def write_frames(
    clip: Clip,
    path: Path,
    out: Path,
    recipe: FrameRecipe | None = None,
    *,
    is_cut: bool = False,
    recording: Path | None = None,
    watch: FrameWatch[Any] | None = None,
    split: Split | None = None,
) -> FramesSummary:
    """Write the frame table of one clip; the same bytes and recipe give the same bytes.

    Every sampled frame is a row; without the tracked face, its columns are null. At most 100 rows are in memory. The identity
    embedding is stored in the best frame of the first row group with a face. The file is written atomically. Its metadata notes
    codec and frame rate of the recording.

    Args:
        clip: the clip's subject, time range, fps of an image sequence, and whether it is mirrored.
        path: the recording.
        out: the Parquet file to write, one row group per 100 frames.
        recipe: parameters of the extraction; by default 6 frames per second.
        is_cut: ``path`` holds the clip's time range only, as :func:`vitau.media.ranges.cut_range` writes it.
        recording: what it was cut from, if that is at hand; the codec of the cut file says nothing about the camera.
        watch: also reads every frame that shows the tracked face.
        split: how a long video is shared among processes, which does not change the file; by default this process does all.

    Raises:
        ClipError: missing, empty, neither a video nor an image, or without a frame in the time range.
        StoreError: the disk is full.
    """
    from vitau.store.atomic import atomic_path  # registered models ship this module without vitau.store

    recipe = recipe or FrameRecipe()
    counts, num_frames, num_faces = DecodeCounts(), 0, 0
    metadata = {"recipe": recipe.digest, "synthetic": str(clip.synthetic).lower(), "mirrored": str(clip.mirrored).lower()}
    if not is_cut or recording is not None:
        metadata |= _noted(read_encoding(recording or path, clip.fps))
    schema = frame_schema().with_metadata(metadata)
    clip_range = ClipRange(
        path=path,
        rate_fps=recipe.rate_fps,
        start_s=clip.start_s,
        end_s=clip.end_s,
        fps=clip.fps,
        mirrored=clip.mirrored,
        is_cut=is_cut,
    )
    read = _RowReader(clip, None if watch is None else watch.look)
    rows = _RowGroup()
    try:
        with (
            atomic_path(out) as partial,
            pq.ParquetWriter(partial, schema, compression="zstd", write_statistics=_with_statistics()) as writer,
        ):
            for found in main_faces(clip_range, read, counts, split):
                rows.add(found)
                num_frames, num_faces = num_frames + 1, num_faces + found.shows_face
                if watch is not None and found.shows_face:
                    watch.add(found.seen)
                if len(rows.rows) == ROW_GROUP:
                    writer.write_table(rows.take(schema))
            if rows.rows:
                writer.write_table(rows.take(schema))
    except OSError as error:  # a bad recording raises ClipError, so this comes from the disk
        raise StoreError(f"{out.name} cannot be written ({os.strerror(error.errno or 0)}); free space on the disk") from error
    return FramesSummary(
        num_frames=num_frames,
        num_faces=num_faces,
        num_decoded=counts.num_frames,
        num_damaged=counts.num_damaged,
        truncated=counts.truncated,
    )


def find_faces(image: Image, *, mirrored: bool = False) -> list[FaceCrop]:
    """Detect and align all faces of one photo (H, W, 3) uint8 RGB, largest first; a small photo is enlarged for detection."""
    small = image.shape[0] * image.shape[1] <= SMALL_PICTURE
    found = detect(image, 2 * max(image.shape[:2]) if small else None)
    return [
        align(image, face, mirrored=mirrored)
        for face in sorted(found, key=lambda face: face.box[2] * face.box[3], reverse=True)
    ]


def main_faces(clip: ClipRange, read: ReadFrame[Seen], counts: DecodeCounts, split: Split | None = None) -> Iterator[Seen]:
    """Yield what is read from each frame with the number of faces and that of the person: tracked, or the main one of a photo.

    See :func:`vitau.media.tracking.split.track_clip`, which does this for clips.
    """
    if kind_of(clip.path) != "photo":
        yield from track_clip(clip, read, counts, split)
        return
    for frame in clip.frames(counts):
        faces = find_faces(frame.image, mirrored=clip.mirrored)
        face = person_of_interest(faces, frame.image.shape[1], frame.image.shape[0]) if faces else None
        yield read(frame, len(faces), face)


def decode_crops(table: pa.Table) -> Image:
    """Decode the crops of a frame table, (N, 256, 256, 3) uint8 RGB.

    Raises:
        ValueError: a row has no face.
    """
    if table["crop"].null_count:
        raise ValueError(f"{table['crop'].null_count} rows have no face; filter them out before decoding")
    return np.stack([from_jpeg(crop.as_py()) for crop in table["crop"]])


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _FoundRow:
    """The row of a frame. ``best`` is its face if it may be the best of its row group; ``seen`` is what a watch saw in it."""

    row: _Row
    rank: float | None = None
    best: FaceCrop | None = None
    seen: Any = None

    @property
    def shows_face(self) -> bool:
        return self.rank is not None


class _RowReader:
    """Reads the row of each frame, and keeps the best rank of the current row group, so that few faces are carried along."""

    def __init__(self, clip: Clip, look: Callable[[SampledFrame, FaceCrop, Quality], Any] | None) -> None:
        self._clip = clip
        self._look = look
        self._group, self._best_rank = -1, 0.0

    def __call__(self, frame: SampledFrame, num_faces: int, face: FaceCrop | None) -> _FoundRow:
        if face is None:
            return _FoundRow(row=_row(self._clip, frame, num_faces, None, None))
        measured = _quality(self._clip, frame, face)
        # prefer confident, frontal faces: 30 degrees count as much as one point of dlib's score
        rank = face.score - (abs(measured.yaw_deg) + abs(measured.pitch_deg)) / 30
        group = frame.index // ROW_GROUP
        is_best = group != self._group or rank > self._best_rank
        if is_best:
            self._group, self._best_rank = group, rank
        return _FoundRow(
            row=_row(self._clip, frame, num_faces, face, measured),
            rank=rank,
            best=face if is_best else None,
            seen=None if self._look is None else self._look(frame, face, measured),
        )


class _RowGroup:
    """Rows of the current row group, and the best face among them until an embedding is stored."""

    def __init__(self) -> None:
        self.rows: list[_Row] = []
        self._best: tuple[float, int, FaceCrop] | None = None
        self._embedded = False

    def add(self, found: _FoundRow) -> None:
        if (
            found.rank is not None
            and found.best is not None
            and not self._embedded
            and (self._best is None or found.rank > self._best[0])
        ):
            self._best = found.rank, len(self.rows), found.best
        self.rows.append(found.row)

    def take(self, schema: pa.Schema) -> pa.Table:
        if self._best is not None and not self._embedded:
            _, index, face = self._best
            self.rows[index]["embedding"] = embed(face.crop, face.crop_landmarks).tolist()
            self._embedded, self._best = True, None
        rows, self.rows = self.rows, []
        return pa.Table.from_pylist(rows, schema)


def _noted(encoding: Encoding) -> dict[str, str]:
    return {name: str(value) for name, value in asdict(encoding).items() if value is not None}


def _quality(clip: Clip, frame: SampledFrame, face: FaceCrop) -> Quality:
    size = (frame.image.shape[1], frame.image.shape[0])
    return quality(face.crop, face.crop_landmarks, face.landmarks, size, mirrored=clip.mirrored)


def _row(clip: Clip, frame: SampledFrame, num_faces: int, face: FaceCrop | None, measured: Quality | None) -> _Row:
    row: _Row = dict.fromkeys(FRAME_COLUMNS)
    row |= {
        "subject": clip.subject,
        "clip": clip.sha256,
        "frame_index": frame.index,
        "time_s": frame.time_s,
        "num_faces": num_faces,
    }
    if face is None or measured is None:
        return row
    points = renumbered(face.landmarks) if clip.mirrored else face.landmarks
    return row | {
        "box": face.box,
        "landmarks": points.ravel(),
        "crop_landmarks": face.crop_landmarks.ravel(),
        "detector_score": face.score,
        **asdict(measured),
        "crop": to_jpeg(face.crop),
    }


def _with_statistics() -> list[str]:
    return [name for name, column in FRAME_COLUMNS.items() if column.type != "binary"]  # statistics of a crop are useless
