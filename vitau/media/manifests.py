"""Manifests: CSV tables that list the recordings to ingest."""

import csv
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vitau.errors import SourceError
from vitau.media.clips import PHOTO_SUFFIXES, natural_key
from vitau.schema import Cohort, Skipped, parse_recorded_at, parse_visit

MANIFEST_COLUMNS: Final = (
    "subject",
    "clip",
    "cohort",
    "start_s",
    "end_s",
    "fps",
    "source",
    "consent",
    "licence",
    "mirrored",
    "visit",
    "recorded_at",
)
"""The columns of a manifest; the first three are required."""
REQUIRED_COLUMNS: Final = MANIFEST_COLUMNS[:3]
SYNTHETIC_SOURCE: Final = "synthetic"
MAX_CELL: Final = 1000
"""Most characters of a cell."""

_OUTSIDE: Final = "its clip is outside the manifest's folder; move it there, or list its folder in VITAU_MEDIA_ROOTS"
_YES_NO: Final[Mapping[str, bool]] = {"": False, "0": False, "1": True, "false": False, "no": False, "true": True, "yes": True}


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceClip:
    """A recording listed by a source, before it has a digest and its person a pseudonym.

    ``row`` is its position in the source ("row 7"), without an identity. ``subject_id`` is the source's own identifier. Exactly
    one of ``url`` and ``paths`` is given. ``paths`` is one file, or the images of a sequence in order, with ``fps`` if known.
    ``visit`` and ``recorded_at`` are the name of the visit and the date or time of the recording, ISO 8601.
    ``anonymous``: the source does not say who it is; a recording that is known keeps its person.
    """

    row: str
    subject_id: str
    cohort: Cohort
    source: str
    url: str | None = None
    paths: tuple[Path, ...] = ()
    start_s: float | None = None
    end_s: float | None = None
    fps: float | None = None
    consent: str | None = None
    licence: str | None = None
    mirrored: bool = False
    visit: str | None = None
    recorded_at: str | None = None
    anonymous: bool = False

    @property
    def synthetic(self) -> bool:
        """True if the person is synthetic, according to the name of the source."""
        return self.source == SYNTHETIC_SOURCE


def read_manifest(path: Path, roots: Sequence[Path] = ()) -> tuple[list[SourceClip], list[Skipped]]:
    """Read a manifest CSV; return its clips, and the rows that cannot be used with their reasons.

    Rows are numbered as in a spreadsheet: the header is row 1. A clip is a URL, a file, a folder of images or a pattern such
    as ``images/*.png``. Relative paths start at the manifest's folder. Files must be in that folder or in one of
    ``roots``, also after symbolic links are resolved.

    Raises:
        SourceError: no such file, not UTF-8 text, or a required column is missing.
    """
    if not path.is_file():
        raise SourceError("the manifest is missing; give the path of a manifest CSV")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            table = list(csv.reader(file))
    except (UnicodeDecodeError, csv.Error) as error:
        raise SourceError(f"the manifest is not a CSV in UTF-8 ({error}); save it again as such") from error
    header = [name.strip().lower() for name in table[0]] if table else []
    missing = [name for name in REQUIRED_COLUMNS if name not in header]
    if missing:
        names = ", ".join(f"`{name}`" for name in missing)
        raise SourceError(f"the manifest has no column {names}; it needs subject, clip and cohort")
    clips: list[SourceClip] = []
    skipped: list[Skipped] = []
    listed = _ListedRows()
    for number, cells in enumerate(table[1:], start=2):
        if not any(cell.strip() for cell in cells):
            continue
        values = {name: cell.strip() for name, cell in zip(header, cells, strict=False)}
        try:
            clip = _manifest_clip(f"row {number}", values, path.parent, (path.parent, *roots))
            listed.add(clip)
        except _RowError as error:
            skipped.append(Skipped(item=f"row {number}", reason=str(error)))
        else:
            clips.append(clip)
    return clips, skipped


def is_photo(path: Path) -> bool:
    """Return True for a file with the suffix of an image that is not hidden."""
    return path.suffix.lower() in PHOTO_SUFFIXES and not path.name.startswith(".") and is_file(path)


def is_file(path: Path) -> bool:
    """Return whether a path is a file; a symbolic link in a circle, or with too long a name, is none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def is_inside(path: Path, roots: Sequence[Path]) -> bool:
    """Return whether a file lies in one of some folders after symbolic links are resolved."""
    try:
        resolved = path.resolve()
    except (OSError, RuntimeError):  # a link in a circle, or with too long a name
        return False
    return any(resolved.is_relative_to(root.resolve()) for root in roots)


class _RowError(Exception):
    """The reason that a row cannot be used; it contains no identity."""


class _ListedRows:
    """Rows read so far, to find a row that repeats or contradicts one of them."""

    def __init__(self) -> None:
        self._clips: dict[tuple[object, ...], SourceClip] = {}
        self._people: dict[tuple[str, str], SourceClip] = {}

    def add(self, clip: SourceClip) -> None:
        same = self._clips.get((clip.url, clip.paths, clip.start_s, clip.end_s))
        if same is not None:
            person = "" if same.subject_id == clip.subject_id else ", under another subject"
            raise _RowError(f"the same clip as {same.row}{person}; remove one of them")
        person_before = self._people.get((clip.source, clip.subject_id), clip)
        if person_before.cohort != clip.cohort:
            raise _RowError(
                f"its subject is {person_before.cohort} in {person_before.row} and {clip.cohort} here; correct one of them"
            )
        self._clips[clip.url, clip.paths, clip.start_s, clip.end_s] = clip
        self._people[clip.source, clip.subject_id] = person_before


def _manifest_clip(row: str, values: Mapping[str, str], folder: Path, roots: Sequence[Path]) -> SourceClip:
    for name, value in values.items():
        if name in MANIFEST_COLUMNS and len(value) > MAX_CELL:
            raise _RowError(f"its {name} has {len(value)} characters; write at most {MAX_CELL}")
        if name in MANIFEST_COLUMNS and "\0" in value:
            raise _RowError(f"its {name} has a NUL character, which no database stores; delete it")
    if not values.get("subject") or not values.get("clip"):
        raise _RowError("its subject or its clip is empty; fill it in")
    if values.get("cohort", "").lower() not in tuple(Cohort):
        raise _RowError("its cohort is none of palsy, control and unknown; write one of them")
    if values.get("mirrored", "").lower() not in _YES_NO:
        raise _RowError("its mirrored is neither true nor false; write one of them")
    start_s, end_s = _number(values, "start_s"), _number(values, "end_s")
    if end_s is not None and end_s <= (start_s or 0.0):
        raise _RowError(f"its range ends at {end_s:g} s, before it starts at {start_s or 0.0:g} s; correct it")
    fps = _number(values, "fps")
    if fps == 0:
        raise _RowError("its fps is 0; write a positive number or leave it empty")
    is_url = bool(re.match(r"https?://", values["clip"], re.IGNORECASE))
    return SourceClip(
        row=row,
        subject_id=values["subject"],
        cohort=Cohort(values["cohort"].lower()),
        source=values.get("source") or "manifest",
        url=values["clip"] if is_url else None,
        paths=() if is_url else _files(folder, values["clip"], roots),
        start_s=start_s,
        end_s=end_s,
        fps=fps,
        consent=values.get("consent") or None,
        licence=values.get("licence") or None,
        mirrored=_YES_NO[values.get("mirrored", "").lower()],
        visit=_parsed(values, "visit", parse_visit),
        recorded_at=_parsed(values, "recorded_at", parse_recorded_at),
    )


def _parsed(values: Mapping[str, str], name: str, parse: Callable[[str], str | None]) -> str | None:
    try:
        return parse(values.get(name, ""))
    except ValueError as error:
        raise _RowError(str(error)) from error


def _number(values: Mapping[str, str], name: str) -> float | None:
    text = values.get(name, "")
    if not text:
        return None
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number >= 0):
        raise _RowError(f"its {name} is no number from 0; write one, or leave it empty")
    return number


def _files(folder: Path, pattern: str, roots: Sequence[Path]) -> tuple[Path, ...]:
    path = folder / pattern
    try:
        if not is_inside(path.parent, roots):
            raise _RowError(_OUTSIDE)
        if path.is_file():
            files = [path]
        elif path.is_dir():
            files = [file for file in path.iterdir() if is_photo(file)]
        elif "*" in pattern or "?" in pattern:
            files = [file for file in path.parent.glob(path.name) if is_photo(file)]
        else:
            files = []
        if not all(is_inside(file, roots) for file in files):
            raise _RowError(_OUTSIDE)
    except (OSError, RuntimeError, ValueError):  # too long, circular links, or without permission
        files = []
    if not files:
        raise _RowError("its clip is missing: there is no such file, folder of images or pattern; check the path")
    files = sorted(files, key=lambda file: natural_key(file.name))
    return tuple(file.resolve() for file in files)
