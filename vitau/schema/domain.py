"""The types of the domain: regions, people, clips, labels and snapshots."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
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
"""Names for readers who do not know the numbers. The paper's text calls AU26 the temple; the jaw is meant."""

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
    """The group of a person: patient, healthy control, or not known yet."""

    PALSY = "palsy"
    CONTROL = "control"
    UNKNOWN = "unknown"


KNOWN_COHORTS: Final = (Cohort.PALSY, Cohort.CONTROL)
"""The cohorts of people in a snapshot. People of unknown status are scored, and neither trained on nor tested."""


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


class CheckKind(StrEnum):
    """The kind of a question that checks its reader, who is not told: a person without a palsy, or one read again."""

    CONTROL = "control"
    REPEAT = "repeat"


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


FIRST_VISIT: Final = "1"
"""The visit of clips for which none is stated, and of the answers about them."""


def case_name(subject: str, visit: str | None) -> str:
    """Return the name of a person at a visit, see :mod:`vitau.schema.visits`; ``None`` is the visit 1."""
    return subject if visit is None or visit == FIRST_VISIT else f"{subject}/{visit}"


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
    ``visit`` is the name of the visit at which it was made, ``taken_at`` its date or time there, ISO 8601: the manifest's
    `recorded_at`, a word that in the catalog means when a row was written.
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
    visit: str | None = None
    taken_at: str | None = None

    @property
    def is_range(self) -> bool:
        """Return whether the clip is a range of a recording, of which only the pictures are stored."""
        return self.start_s is not None or self.end_s is not None


@dataclass(frozen=True, kw_only=True, slots=True)
class RegionLabels:
    """The label of a person at a visit: the affected regions and their side.

    A region that could not be judged is missing from ``affected``. ``side`` is ``None`` when no region is affected, and
    ``visit`` for the visit 1.
    """

    subject: str
    affected: Mapping[AU, bool]
    side: Side | None = None
    visit: str | None = None

    @property
    def case(self) -> str:
        """The name of the person at this visit, see :mod:`vitau.schema.visits`."""
        return case_name(self.subject, self.visit)


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
class Skipped:
    """An item that was left out, and the reason. ``item`` is a manifest row, a digest or a pseudonym, never an identity."""

    item: str
    reason: str
