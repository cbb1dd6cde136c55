"""Clips of people with their labels: a table of labels, and the features of the people in it."""

import csv
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from vitau.asymmetry.features import FEATURES, People, measure_features
from vitau.errors import ClipError, SourceError, quoted
from vitau.evaluation.decision import FEWEST_FRAMES
from vitau.measures.geometry import Floats
from vitau.media.clips import RATE_FPS, sample_frames
from vitau.media.crops import Image, from_jpeg, quality, to_jpeg
from vitau.media.tracking.tracker import track_faces
from vitau.schema import AUS, FrameLimits, Skipped, failed_limits

COLUMNS: Final = ("subject", "clip", "label", "side", *AUS)
"""Columns of a table of labels. ``clip`` is a path from its folder; regions and sides may be empty."""
_LABELS: Final[Mapping[str, bool]] = {"palsy": True, "1": True, "normal": False, "control": False, "0": False}
_SIDES: Final[Mapping[str, int]] = {"r": 1, "right": 1, "l": -1, "left": -1, "": 0, "both": 0}


@dataclass(frozen=True, kw_only=True, slots=True)
class LabeledPerson:
    """A person with clips: 1 for a right, −1 for a left palsy, and a label of each region or ``None``."""

    subject: str
    clips: tuple[Path, ...]
    palsied: bool
    side: int
    affected: tuple[bool | None, ...]


def read_labels(table: Path) -> list[LabeledPerson]:
    """Read a table of labels, one row per clip.

    Raises:
        SourceError: the table is missing, lacks a column, has an unknown value, or contradicts itself about a person.
    """
    if not table.is_file():
        raise SourceError(f"the table of labels {quoted(table)} is missing; give the path of a CSV")
    with table.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    missing = [column for column in ("subject", "clip", "label") if not rows or column not in rows[0]]
    if missing:
        raise SourceError(f"the table of labels has no column {missing[0]}; it needs {', '.join(COLUMNS)}")
    people: dict[str, list[LabeledPerson]] = defaultdict(list)
    for number, row in enumerate(rows, start=2):
        people[row["subject"]].append(_person(row, number, table.parent))
    return [_joined(own) for own in people.values()]


def measure_people(
    labeled: Sequence[LabeledPerson], watch: Callable[[int, int], None] | None = None
) -> tuple[People, list[Skipped]]:
    """Measure people from the frames that ingest would use: 6 per second, within the limits of gate 1.

    Args:
        labeled: people with their clips.
        watch: called with (measured, all).

    Returns:
        The people, and those who are left out with the reason.
    """
    measured: list[tuple[LabeledPerson, Floats]] = []
    skipped = []
    for number, person in enumerate(labeled, start=1):
        try:
            measured.append((person, measure_clips(person.clips)))
        except ClipError as error:
            skipped.append(Skipped(item=person.subject, reason=str(error)))
        if watch is not None:
            watch(number, len(labeled))
    kept = [person for person, _ in measured]
    shape = (len(kept), len(AUS))
    return People(
        subject_P=np.array([person.subject for person in kept]),
        feature_PF=np.array([features for _, features in measured]).reshape(len(kept), len(FEATURES)),
        palsied_P=np.array([person.palsied for person in kept], bool),
        side_P=np.array([person.side for person in kept], np.int64),
        affected_PA=np.array([[label is True for label in person.affected] for person in kept], bool).reshape(shape),
        known_PA=np.array([[label is not None for label in person.affected] for person in kept], bool).reshape(shape),
    ), skipped


@dataclass(kw_only=True, slots=True)
class ClipCounts:
    """Counts of sampled frames, and of those that show a face, updated while clips are read."""

    num_frames: int = 0
    num_faces: int = 0


def measure_clips(clips: Sequence[Path], counts: ClipCounts | None = None) -> Floats:
    """Return the features (F,) of one person from all clips.

    Args:
        clips: the person's clips.
        counts: updated, also before an error.

    Raises:
        ClipError: a clip cannot be read, or fewer than 4 frames show the face well enough.
    """
    counts = counts or ClipCounts()
    frames = [frame for clip in clips for frame in usable_frames(clip, counts)]
    if len(frames) < FEWEST_FRAMES:
        raise ClipError(f"{len(frames)} frames show the face well enough; movement needs {FEWEST_FRAMES}: give a longer clip")
    return measure_features(np.stack([crop for crop, _ in frames]), np.stack([points for _, points in frames]))


def usable_frames(clip: Path, counts: ClipCounts | None = None) -> Iterator[tuple[Image, Floats]]:
    """Yield the crop, encoded as ingest does, and its landmarks of each usable frame.

    Args:
        clip: of one person.
        counts: updated while the clip is read.

    Raises:
        ClipError: the clip cannot be read.
    """
    counts = counts or ClipCounts()
    limits = FrameLimits()
    for frame, _, face in track_faces(sample_frames(clip, RATE_FPS)):
        counts.num_frames += 1
        if face is None:
            continue
        counts.num_faces += 1
        size = (frame.image.shape[1], frame.image.shape[0])
        measures = asdict(quality(face.crop, face.crop_landmarks, face.landmarks, size)) | {"detector_score": face.score}
        if not any(failed_limits(measures, limits).values()):
            yield from_jpeg(to_jpeg(face.crop)), face.crop_landmarks.astype(np.float64)


def _person(row: Mapping[str, Any], number: int, folder: Path) -> LabeledPerson:
    label, side = (str(row.get(column) or "").strip().lower() for column in ("label", "side"))
    if label not in _LABELS:
        raise SourceError(f"row {number} has the label {quoted(label)!r}; write palsy or control")
    if side not in _SIDES:
        raise SourceError(f"row {number} has the side {quoted(side)!r}; write right, left, both, or nothing")
    affected = []
    for au in AUS:
        text = str(row.get(au) or "").strip()
        if text not in ("", "0", "1"):
            raise SourceError(f"row {number} has {quoted(text)!r} for {au}; write 1, 0, or nothing")
        affected.append({"": None, "0": False, "1": True}[text])
    return LabeledPerson(
        subject=str(row["subject"]),
        clips=(folder / str(row["clip"]),),
        palsied=_LABELS[label],
        side=_SIDES[side],
        affected=tuple(affected),
    )


def _joined(rows: Sequence[LabeledPerson]) -> LabeledPerson:
    first = rows[0]
    if any((row.palsied, row.side, row.affected) != (first.palsied, first.side, first.affected) for row in rows):
        raise SourceError("two rows of one subject have different labels; correct one of them")
    return LabeledPerson(
        subject=first.subject,
        clips=tuple(clip for row in rows for clip in row.clips),
        palsied=first.palsied,
        side=first.side,
        affected=first.affected,
    )
