"""The types of the domain: regions, subjects, clips, labels, table columns and the records of the label ledger.

All packages share this one page, and `labeling` imports little else of `vitau`. It imports the standard library only.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from typing import Final


class AU(StrEnum):
    """A region of the face, named by its action unit. Its label, "affected by the palsy", is independent of the expression."""

    AU1 = "AU1"
    AU2 = "AU2"
    AU4 = "AU4"
    AU6 = "AU6"
    AU9 = "AU9"
    AU12 = "AU12"
    AU25 = "AU25"
    AU26 = "AU26"


AUS: Final[tuple[AU, ...]] = tuple(AU)
"""The 8 regions, in the order of every array axis over AUs."""

PAPER_AUS: Final[tuple[AU, ...]] = AUS[1:]
"""The 7 regions in the paper's tables, which have no AU1."""

REGION_NAMES: Final[Mapping[AU, str]] = {
    AU.AU1: "forehead, inner brow",
    AU.AU2: "forehead, outer brow",
    AU.AU4: "brow",
    AU.AU6: "eye corner and cheek",
    AU.AU9: "nose",
    AU.AU12: "lip corner",
    AU.AU25: "mouth",
    AU.AU26: "jaw",
}
"""Names for readers who do not know the numbers."""

CROP_SIZE: Final = 256
"""Width and height of an aligned face crop, px."""

NUM_LANDMARKS: Final = 68

MIRROR: Final[tuple[int, ...]] = (
    *range(16, -1, -1),  # jaw
    *range(26, 16, -1),  # brows
    *range(27, 31),  # bridge of the nose
    *range(35, 30, -1),  # nostrils
    *(45, 44, 43, 42, 47, 46),  # one eye
    *(39, 38, 37, 36, 41, 40),  # the other eye
    *range(54, 47, -1),  # outer lip, upper
    *range(59, 54, -1),  # outer lip, lower
    *range(64, 59, -1),  # inner lip, upper
    *range(67, 64, -1),  # inner lip, lower
)
"""A permutation of the landmarks: ``MIRROR[i]`` takes the place of landmark ``i`` in a mirrored face. It is its own inverse."""

EMBEDDING_SIZE: Final = 128


class Side(StrEnum):
    """A side of the face, from the person's own point of view, not the viewer's."""

    LEFT = "left"
    RIGHT = "right"
    BOTH = "both"


class Cohort(StrEnum):
    """The group of a person: patient or healthy control."""

    PALSY = "palsy"
    CONTROL = "control"


class Split(StrEnum):
    """The use of a person's frames. It is assigned once and never reshuffled."""

    TRAIN = "train"
    VAL = "val"
    TEST = "test"


class Protocol(StrEnum):
    """The way in which frames are divided into splits; every metric is reported with it.

    ``SUBJECTS`` keeps each person in one split, ``LOPO`` leaves one person out at a time. ``FRAMES`` is the paper's: frames of
    one person can be in several splits.
    """

    SUBJECTS = "subjects"
    LOPO = "lopo"
    FRAMES = "frames"


class Stage(StrEnum):
    """The role in which an answer in the label ledger was given: blind reader or adjudicator."""

    READER = "reader"
    ADJUDICATION = "adjudication"


class QuarantineReason(StrEnum):
    """The reason why a frame is in quarantine; gate 1 tests for them in this order."""

    NO_FACE = "no_face"
    NOT_ALIGNED = "not_aligned"
    SMALL = "small"
    LOW_CONFIDENCE = "low_confidence"
    BLURRED = "blurred"
    DARK = "dark"
    BRIGHT = "bright"
    TURNED = "turned"


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """A person, identified by a pseudonym only (HMAC of the id in the source)."""

    pseudonym: str
    cohort: Cohort
    source: str
    synthetic: bool = False


def canonical_name(subject: str, merged: Mapping[str, str]) -> str:
    """Return the pseudonym under which a person is known, from any pseudonym of theirs.

    Args:
        subject: a pseudonym.
        merged: every pseudonym that was merged into another → the one that was kept.
    """
    return merged.get(subject, subject)


def tombstone(pseudonym: str) -> str:
    """Return the name that replaces an erased person's pseudonym in every table, "erased-" and 32 hexadecimal digits."""
    return "erased-" + sha256(f"vitau tombstone {pseudonym}".encode()).hexdigest()[:32]


def is_erased(name: str, erased: Collection[str]) -> bool:
    """Return whether a pseudonym is one of an erased person; older catalogs name erased people by pseudonym."""
    return name in erased or tombstone(name) in erased


def all_names(subject: str, merged: Mapping[str, str]) -> set[str]:
    """Return every pseudonym of a person, from any of theirs; ``merged`` as in :func:`canonical_name`."""
    kept = canonical_name(subject, merged)
    return {kept, *(name for name, into in merged.items() if into == kept)}


@dataclass(frozen=True, kw_only=True, slots=True)
class Clip:
    """A recording of one person, stored once by its digest: a video, an image sequence or a photo.

    ``sha256`` is the digest of the bytes, and of the time range if only a part of the recording is meant. ``fps`` is set for
    image sequences only. ``mirrored`` means that left and right are swapped in the recording, as by a selfie camera.
    """

    sha256: str
    subject: str
    source: str
    suffix: str
    start_s: float | None = None
    end_s: float | None = None
    fps: float | None = None
    mirrored: bool = False
    synthetic: bool = False
    consent: str | None = None
    licence: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class RegionLabels:
    """The label of a person: the affected regions and their side.

    A region that could not be judged is missing from ``affected``. ``side`` is ``None`` when no region is affected.
    """

    subject: str
    affected: Mapping[AU, bool]
    side: Side | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """A frozen version of the data set: frames with their labels and splits. ``subjects`` counts people by split.

    ``ledger_offset`` is that of the labels, ``ledger_digest`` the head of the ledger's hash chain there.
    """

    digest: str
    uri: str
    ledger_offset: int
    num_frames: int
    subjects: Mapping[Split, int]
    synthetic: bool
    ledger_digest: str | None = None


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


@dataclass(frozen=True, kw_only=True, slots=True)
class Skipped:
    """An item that was left out, and the reason. ``item`` is a manifest row, a digest or a pseudonym, never an identity."""

    item: str
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """A box that a reader drew on a frame: left, top, width and height as fractions of the picture, 0 to 1."""

    frame: str
    box: tuple[float, float, float, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class LedgerRow:
    """An answer of one reader about one region of one person: a row of the append-only ledger.

    ``affected`` is ``None`` for "cannot tell". ``annotation`` and ``version`` identify the annotation in Label Studio and make
    appending idempotent. A ``retracted`` row cancels the reader's answer, because its annotation was deleted: the region is
    unanswered again. ``suggestion`` is the score that the reader saw, ``suggested_by`` the model's name and version; both are
    ``None`` for a blind answer. ``grade`` is the House–Brackmann grade of the whole face, 1 (normal) to 6 (total).
    ``lead_time_s`` is the time for which the task was open.
    """

    subject: str
    au: AU
    reader: str
    stage: Stage
    affected: bool | None
    side: Side | None
    annotation: str
    version: str
    answered_at: str
    frames_shown: tuple[str, ...] = field(default=())
    note: str | None = None
    retracted: bool = False
    suggestion: float | None = None
    suggested_by: str | None = None
    grade: int | None = None
    lead_time_s: float | None = None
    marks: tuple[Mark, ...] = field(default=())


@dataclass(frozen=True, kw_only=True, slots=True)
class SeenAnnotation:
    """The last known state of an annotation in Label Studio, by which the next pull detects changes.

    ``problem`` is the reason why it could not be read, ``None`` if it could. ``gone`` means that it no longer exists. ``held``
    means that its deletion may be an accident, such as a restored backup: the answer remains until the deletion is accepted.
    """

    annotation: str
    task: int
    subject: str
    version: str
    problem: str | None = None
    gone: bool = False
    held: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class PullState:
    """The progress of pulling one project of Label Studio, which holds the answers of one reader at one stage.

    ``project`` is its number and creation time, which are unique together. ``seen_until`` is the time, by Label Studio's clock,
    up to which every change was read. ``whole_at`` is the time of the last complete read. Both are ISO 8601. ``number`` counts
    the pulls with changes. The project stores it too: a lower number there means that a backup was restored.
    """

    project: str
    title: str
    reader: str
    stage: Stage
    seen_until: str
    whole_at: str
    number: int


@dataclass(frozen=True, kw_only=True, slots=True)
class LedgerEntry:
    """An annotation that the ledger holds under a version, as an answer or as a retraction."""

    annotation: str
    subject: str
    version: str
    retracted: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """The difference between a person's key frames now and the frames that a reader was shown.

    ``material`` is a digest of the person's present clips, ``shown`` a digest of the shown frames;
    ``labeling.sampling.staleness`` computes both. ``frames`` are the present key frames. ``difference`` is the largest
    distance from one of these to its nearest shown frame; ``None`` if no shown frame can be read any more.
    """

    subject: str
    material: str
    shown: str
    frames: tuple[str, ...]
    difference: float | None


_FORMULA: Final = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]")
_NUMBER: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def safe_cell(text: str) -> str:
    """Return a text as a cell of a CSV file that no spreadsheet takes for a formula: with an apostrophe before it.

    Numbers stay numbers. :func:`restored_cell` is the inverse.
    """
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def restored_cell(cell: str) -> str:
    """Return the text of a cell that :func:`safe_cell` made."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell
