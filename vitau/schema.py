"""The words of the domain: action units, people, clips, frames, labels, scores, and the columns of their tables."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final


class AU(StrEnum):
    """An action-unit *region* of the face. Its label says "affected by the palsy" and does not change with the expression."""

    AU1 = "AU1"
    AU2 = "AU2"
    AU4 = "AU4"
    AU6 = "AU6"
    AU9 = "AU9"
    AU12 = "AU12"
    AU25 = "AU25"
    AU26 = "AU26"


AUS: Final[tuple[AU, ...]] = tuple(AU)
"""The 8 regions, in the order of every array with an AU axis."""

PAPER_AUS: Final[tuple[AU, ...]] = AUS[1:]
"""The 7 regions of the paper's tables, which leave out AU1."""

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
"""Plain names, for people who do not know the numbers."""

CROP_SIZE: Final = 256
"""Side of an aligned face crop, px."""

NUM_LANDMARKS: Final = 68
MIRROR: Final[tuple[int, ...]] = (
    *range(16, -1, -1),  # jaw
    *range(26, 16, -1),  # brows
    *range(27, 31),  # bridge of the nose
    *range(35, 30, -1),  # nostrils
    *(45, 44, 43, 42, 47, 46),  # an eye
    *(39, 38, 37, 36, 41, 40),  # the other
    *range(54, 47, -1),  # outer lip, upper
    *range(59, 54, -1),  # outer lip, lower
    *range(64, 59, -1),  # inner lip, upper
    *range(67, 64, -1),  # inner lip, lower
)
"""Which of the landmarks takes each one's place in a mirrored face: its own inverse."""
EMBEDDING_SIZE: Final = 128


class Side(StrEnum):
    """The person's own side, never the picture's."""

    LEFT = "left"
    RIGHT = "right"
    BOTH = "both"


class Cohort(StrEnum):
    """Why a person is in the study."""

    PALSY = "palsy"
    CONTROL = "control"


class Split(StrEnum):
    """What a person's frames may be used for. Assigned once, never reshuffled."""

    TRAIN = "train"
    VAL = "val"
    TEST = "test"


class Protocol(StrEnum):
    """How people are divided; no number is printed without it. ``frames`` is the paper's and mixes people."""

    SUBJECTS = "subjects"
    LOPO = "lopo"
    FRAMES = "frames"


class Stage(StrEnum):
    """Who gave an answer in the label ledger: a blind reader or the adjudicator."""

    READER = "reader"
    ADJUDICATION = "adjudication"


class QuarantineReason(StrEnum):
    """Why a frame is in quarantine: the gate-1 row rule's vocabulary, in the order in which it is asked."""

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
    """A person, known only by a pseudonym (HMAC of the source's own id)."""

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


def all_names(subject: str, merged: Mapping[str, str]) -> set[str]:
    """Return every pseudonym of a person, from any of theirs; ``merged`` as in :func:`canonical_name`."""
    kept = canonical_name(subject, merged)
    return {kept, *(name for name, into in merged.items() if into == kept)}


@dataclass(frozen=True, kw_only=True, slots=True)
class Clip:
    """Material of one person: a video, an image sequence or a photo, kept once by the digest of its content.

    ``sha256`` is the digest of the bytes, and of the time range where only a part of the bytes is meant. ``fps`` is set for
    image sequences only; ``mirrored`` says that left and right are swapped in the recording (a selfie camera).
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
    """The one answer for a person: which regions are affected, on which side.

    A region that nobody could judge is missing from ``affected``. ``side`` is ``None`` when no region is affected.
    """

    subject: str
    affected: Mapping[AU, bool]
    side: Side | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """A frozen version of the data set: which frames, with which labels, in which split."""

    digest: str
    uri: str
    ledger_offset: int
    num_frames: int
    subjects: Mapping[Split, int]
    synthetic: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """One column of a table: its Arrow type by name, its unit or meaning, and whether a value may be absent."""

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
    "face_px": Column(type="float32", meaning="distance between the eye centres in the frame, px", nullable=True),
    "yaw_deg": Column(type="float32", meaning="head turn, degrees, positive to the person's left", nullable=True),
    "pitch_deg": Column(type="float32", meaning="head nod, degrees, positive upwards", nullable=True),
    "roll_deg": Column(type="float32", meaning="head tilt, degrees, positive clockwise in the picture", nullable=True),
    "crop": Column(type="binary", meaning="aligned face, 256×256, JPEG at quality 95", nullable=True),
    "embedding": Column(
        type="fixed_size_list<float>[128]", meaning="dlib's identity embedding, on the clip's best frame only", nullable=True
    ),
}
"""One row per sampled frame of a clip; where no face was found, everything about the face is null."""

SNAPSHOT_COLUMNS: Final[Mapping[str, Column]] = {
    "subject": Column(type="string", meaning="pseudonym"),
    "clip": Column(type="string", meaning="sha256 of the clip"),
    "frame_index": Column(type="int32", meaning="row of the clip's frame table"),
    "frames_key": Column(type="string", meaning="object key of the clip's frame table"),
    "source": Column(type="string", meaning="where the clip came from, as the source calls itself"),
    "cohort": Column(type="string", meaning="palsy or control"),
    "split": Column(type="string", meaning="train, val or test"),
    "side": Column(type="string", meaning="the person's affected side: left, right, both", nullable=True),
    **{au.value: Column(type="bool", meaning=f"{REGION_NAMES[au]} affected", nullable=True) for au in AUS},
}
"""One row per usable frame of a labelled person, sorted by subject, clip and frame: the canonical rows of a snapshot."""

SCORE_COLUMNS: Final[Mapping[str, Column]] = {
    "input": Column(type="string", meaning="what was scored: a clip's digest in a batch, the given path in `vitau score`"),
    "frame_index": Column(type="int32", meaning="position among the sampled frames, 0 for a photo"),
    "time_s": Column(type="float64", meaning="s from the start of the recording"),
    "face_index": Column(type="int32", meaning="which face of the frame, largest first"),
    "box": Column(type="fixed_size_list<float>[4]", meaning="x, y, width, height of the face, px"),
    "palsy_score": Column(type="float32", meaning="probability of a palsy, 0 to 1"),
    "palsied": Column(type="bool", meaning="palsy_score at or above the model's threshold"),
    "analysed": Column(type="bool", meaning="the region model looked at this face"),
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
"""One row per face. A region of a face that was judged healthy is null: "not analysed", not "no".

Sides are null unless a sided region model looked at the face.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Skipped:
    """Something that was left out, and why. ``item`` never identifies a person: a manifest row, a digest, a pseudonym."""

    item: str
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class EvidenceBox:
    """Where in a frame a reader saw it: the frame's name, and left, top, width, height in shares of the picture, 0 to 1."""

    frame: str
    box: tuple[float, float, float, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class LedgerRow:
    """One answer of one reader about one region of one person, as the ledger keeps it for ever.

    ``affected`` is ``None`` for "cannot tell": an absence, not a no. ``annotation`` and ``version`` name the annotation that
    the row was read from, so that reading it again adds nothing. A ``retracted`` row takes back what the reader said before
    (the annotation was deleted): the region is unanswered again. ``suggestion`` is the model's score that stood on the page
    when the reader answered, and ``suggested_by`` the model's name and version; both are ``None`` for a blind answer.
    ``grade`` is House and Brackmann's, 1 (normal) to 6 (total), of the whole face. ``lead_time_s`` is how long the page was
    open.
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
    evidence: tuple[EvidenceBox, ...] = field(default=())


@dataclass(frozen=True, kw_only=True, slots=True)
class SeenAnnotation:
    """An annotation as the last pull saw it in Label Studio, so that the next one knows what changed.

    ``problem`` says why it could not be read, and is absent if it could. ``gone`` says that it is not there now; ``held``
    that it vanished in a way that looks like an accident (a backup restored, many at once), so that its answer stands until
    somebody accepts it.
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
    """How far one project of Label Studio was pulled.

    ``project`` is its number and the time when it was made, which no other project shares; ``reader`` and ``stage`` are whose
    answers it holds. ``seen_until`` is Label Studio's own time up to which every change was read, ``whole_at`` when it was last
    read from end to end, both ISO 8601. ``number`` counts the pulls that found something; it also stands in the project itself:
    a lower one there is a restored backup.
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
    """That the ledger has an answer from an annotation under a version, or took one back."""

    annotation: str
    subject: str
    version: str
    retracted: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """How different a person's key frames look now from those that somebody was shown.

    ``material`` names the clips that the person has now, ``shown`` the frames that were shown
    (``labeling.sampling.staleness`` makes both names), and ``frames`` are the key frames of now.
    ``difference`` is the distance of the most different of these to the nearest frame that was shown; absent where none of
    those can be read any more.
    """

    subject: str
    material: str
    shown: str
    frames: tuple[str, ...]
    difference: float | None
