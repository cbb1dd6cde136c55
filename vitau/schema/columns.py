"""The columns of the Parquet tables: frames, snapshots and scores."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from vitau.schema.domain import AUS, REGION_NAMES, Side


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """A column of a table: its Arrow type by name, its meaning with unit and range, and whether it may be null."""

    type: str
    meaning: str
    nullable: bool = False


FRAME_COLUMNS: Final[Mapping[str, Column]] = {
    "subject": Column(type="string", meaning="pseudonym"),
    "clip": Column(type="string", meaning="sha256 of the clip"),
    "frame_index": Column(type="int32", meaning="position among the sampled frames of the clip, from 0"),
    "time_s": Column(type="float64", meaning="s from the start of the recording"),
    "num_faces": Column(type="int32", meaning="faces in view"),
    "box": Column(type="fixed_size_list<float>[4]", meaning="x, y, width, height of the face, px of the frame", nullable=True),
    "landmarks": Column(
        type="fixed_size_list<float>[136]", meaning="68 points as x0, y0, x1, y1, …, px of the frame", nullable=True
    ),
    "crop_landmarks": Column(
        type="fixed_size_list<float>[136]", meaning="68 points found again in the crop, px of the crop", nullable=True
    ),
    "detector_score": Column(type="float32", meaning="dlib's detection confidence, about −1 to 4", nullable=True),
    "sharpness": Column(type="float32", meaning="variance of the Laplacian of the crop's luma", nullable=True),
    "brightness": Column(type="float32", meaning="mean luma of the face, 0 to 255", nullable=True),
    "clipped": Column(type="float32", meaning="share of the face's pixels at 0–4 or 251–255", nullable=True),
    "face_px": Column(type="float32", meaning="distance between the eye centers in the frame, px", nullable=True),
    "yaw_deg": Column(type="float32", meaning="head turn, degrees, positive to the person's left", nullable=True),
    "pitch_deg": Column(type="float32", meaning="head nod, degrees, positive upwards", nullable=True),
    "roll_deg": Column(type="float32", meaning="head tilt, degrees, positive clockwise in the picture", nullable=True),
    "crop": Column(type="binary", meaning="aligned face, 256×256, JPEG at quality 95", nullable=True),
    "embedding": Column(
        type="fixed_size_list<float>[128]", meaning="dlib's identity embedding, on the clip's best frame only", nullable=True
    ),
}
"""Columns of a clip's frame table: one row per sampled frame. Without a face, all columns about the face are null."""

SNAPSHOT_COLUMNS: Final[Mapping[str, Column]] = {
    "subject": Column(type="string", meaning="pseudonym"),
    "clip": Column(type="string", meaning="sha256 of the clip"),
    "frame_index": Column(type="int32", meaning="row of the clip's frame table"),
    "frames_key": Column(type="string", meaning="object key of the clip's frame table"),
    "source": Column(type="string", meaning="name of the source of the clip"),
    "cohort": Column(type="string", meaning="palsy or control"),
    "split": Column(type="string", meaning="train, val or test"),
    "side": Column(type="string", meaning="the person's affected side: left, right, both", nullable=True),
    **{au.value: Column(type="bool", meaning=f"{REGION_NAMES[au]} affected", nullable=True) for au in AUS},
}
"""Columns of a snapshot: one row per usable frame of a labeled person, sorted by subject, clip and frame."""

SCORE_COLUMNS: Final[Mapping[str, Column]] = {
    "input": Column(type="string", meaning="digest of the clip in a batch, number of the item in `vitau score`"),
    "frame_index": Column(type="int32", meaning="position among the sampled frames, 0 for a photo"),
    "time_s": Column(type="float64", meaning="s from the start of the recording"),
    "face_index": Column(type="int32", meaning="number of the face in the frame, largest first, from 0"),
    "box": Column(type="fixed_size_list<float>[4]", meaning="x, y, width, height of the face, px"),
    "palsy_score": Column(type="float32", meaning="probability of a palsy, 0 to 1"),
    "palsied": Column(type="bool", meaning="palsy_score at or above the model's threshold"),
    "analysed": Column(type="bool", meaning="the region model scored this face"),
    "warning": Column(type="string", meaning="what limits the model, such as confounded sources", nullable=True),
    **{
        au.value: Column(type="float32", meaning=f"{REGION_NAMES[au]}: heatmap mean, −1 to 1, affected above 0", nullable=True)
        for au in AUS
    },
    "right_side": Column(type="float32", meaning="probability that the person's right is the affected side", nullable=True),
    **{
        f"{au.value}_{side.value}": Column(
            type="float32", meaning=f"{REGION_NAMES[au]}: probability that the person's {side.value} is affected", nullable=True
        )
        for au in AUS
        for side in (Side.RIGHT, Side.LEFT)
    },
}
"""Columns of a score table: one row per face.

The regions of a face that was recognized as healthy are null, which means "not analyzed", not "unaffected". The sides are null
unless a region model with sides scored the face.
"""
