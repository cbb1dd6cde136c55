"""Nuisance columns of the people of a snapshot: how they were recorded, which should not reveal who is palsied.

They are means over a person's frames: measures of quality and pose from the frame tables, color of the crop and of the ring
around the face, and the codec and frame rate of the recording.
"""

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from vitau.data.dataset import NUISANCE_FILE
from vitau.data.snapshot import digest_of
from vitau.schema import CROP_SIZE, NUM_LANDMARKS, Cohort
from vitau.store import Store
from vitau.store.atomic import write_atomic

Array = npt.NDArray[Any]

FRAMES_PER_CLIP: Final = 16
"""Frames of a clip that are measured, evenly spaced: a camera does not change within a clip."""
RING_PX: Final = CROP_SIZE // 8
"""Width of the ring at the border of the crop; the face is not part of it."""
UNKNOWN: Final = ""
"""Codec of a recording whose frame table has none noted."""
CODEC: Final = "codec"
FRAME_RATE: Final = "frame_rate"
"""Keys of the metadata of a frame table, and columns: the codec and the frames per second of the recording."""

_FROM_TABLE: Final = ("sharpness", "brightness", "clipped", "face_px", "yaw_deg", "pitch_deg", "roll_deg")
_FROM_CROP: Final = ("saturation", *(f"ring_{color}_{what}" for what in ("mean", "sd") for color in ("red", "green", "blue")))
COLUMNS: Final = (*_FROM_TABLE, *_FROM_CROP, FRAME_RATE)
"""The columns with numbers, in order; after them comes one column per codec."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Nuisance:
    """Nuisance columns of S people, sorted by pseudonym.

    Attributes:
        names: of the F columns.
        value_SF: float, means over the frames of each person; NaN where nothing is noted.
        palsied_S: bool.
    """

    names: tuple[str, ...]
    value_SF: Array
    palsied_S: Array


def load_nuisance(store: Store, rows: pa.Table, cache: Path | None = None) -> Nuisance:
    """Measure the people of a snapshot.

    Args:
        store: holds the frame tables.
        rows: of the snapshot.
        cache: folder that keeps the result under the digest of the rows; delete it when a person is erased.

    Raises:
        ObjectNotFoundError: a frame table is not in the store.
    """
    path = None if cache is None else cache / NUISANCE_FILE.format(digest_of(rows))
    if path is not None and path.exists():
        clips = pq.read_table(io.BytesIO(path.read_bytes()))
    else:
        clips = pa.Table.from_pylist(list(_measured_clips(store, rows)))
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, _parquet(clips))
    return by_person(clips.to_pylist())


def by_person(clips: Sequence[Mapping[str, Any]]) -> Nuisance:
    """Average the columns of clips over each person, by number; codecs become the share of a person's clips."""
    codecs = sorted({clip[CODEC] for clip in clips} - {UNKNOWN})
    people: dict[int, list[Mapping[str, Any]]] = {}
    for clip in sorted(clips, key=lambda clip: clip["person"]):
        people.setdefault(clip["person"], []).append(clip)
    value_SF = [
        [
            *(_mean([clip[name] for clip in own]) for name in COLUMNS),
            *(_mean([None if clip[CODEC] == UNKNOWN else float(clip[CODEC] == codec) for clip in own]) for codec in codecs),
        ]
        for own in people.values()
    ]
    return Nuisance(
        names=(*COLUMNS, *(f"{CODEC}_{codec}" for codec in codecs)),
        value_SF=np.array(value_SF, dtype=np.float64),
        palsied_S=np.array([own[0]["palsied"] for own in people.values()], dtype=bool),
    )


def measure_crop(crop: Array, landmarks: Array) -> dict[str, float]:
    """Measure the color of a crop: mean saturation from 0 to 1, and mean and standard deviation of the ring around the face.

    Args:
        crop: (256, 256, 3) uint8 RGB.
        landmarks: (68, 2) px of the crop.
    """
    import cv2

    ring = np.ones(crop.shape[:2], dtype=np.uint8)
    ring[RING_PX:-RING_PX, RING_PX:-RING_PX] = 0
    cv2.fillConvexPoly(ring, cv2.convexHull(np.round(landmarks).astype(np.int32)), 0)
    saturation = cv2.mean(cv2.cvtColor(crop, cv2.COLOR_RGB2HSV))[1] / 255
    mean, deviation = cv2.meanStdDev(crop, mask=ring)
    return dict(zip(_FROM_CROP, [saturation, *mean.ravel().tolist(), *deviation.ravel().tolist()], strict=True))


def _measured_clips(store: Store, rows: pa.Table) -> Iterator[dict[str, Any]]:
    """Yield one row per frame table of the snapshot: the number of its person, the cohort, and the means of its columns."""
    number_of = {name: number for number, name in enumerate(sorted(set(rows["subject"].to_pylist())))}
    tables: dict[str, list[dict[str, Any]]] = {}
    for row in rows.select(["frames_key", "frame_index", "subject", "cohort"]).to_pylist():
        tables.setdefault(row["frames_key"], []).append(row)
    for key, own in tables.items():
        file = pq.ParquetFile(io.BytesIO(store.get(key)))
        wanted = ("frame_index", "crop", "crop_landmarks", *_FROM_TABLE)
        frames = file.read([name for name in wanted if name in file.schema_arrow.names])
        position = {index: place for place, index in enumerate(frames["frame_index"].to_pylist())}
        chosen = np.unique(np.linspace(0, len(own) - 1, min(len(own), FRAMES_PER_CLIP)).round().astype(int))
        measured = [
            _measured(frame) for frame in frames.take([position[own[row]["frame_index"]] for row in chosen]).to_pylist()
        ]
        noted = {name.decode(): value.decode() for name, value in (frames.schema.metadata or {}).items()}
        yield {
            "person": number_of[own[0]["subject"]],
            "palsied": own[0]["cohort"] == str(Cohort.PALSY),
            **{name: _mean([frame[name] for frame in measured]) for name in (*_FROM_TABLE, *_FROM_CROP)},
            CODEC: noted.get(CODEC, UNKNOWN),
            FRAME_RATE: float(noted[FRAME_RATE]) if FRAME_RATE in noted else None,
        }


def _measured(frame: Mapping[str, Any]) -> dict[str, float | None]:
    """Measure one row of a frame table; to which side a head turns does not count."""
    import cv2

    crop = cv2.cvtColor(cv2.imdecode(np.frombuffer(frame["crop"], np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    landmarks = np.asarray(frame["crop_landmarks"], dtype=np.float32).reshape(NUM_LANDMARKS, 2)
    stored = {name: frame.get(name) for name in _FROM_TABLE}
    stored |= {name: abs(value) for name in ("yaw_deg", "roll_deg") if (value := stored[name]) is not None}
    return stored | measure_crop(crop, landmarks)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()
