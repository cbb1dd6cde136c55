"""Visits: how a manifest names and dates them, and the clips of a person by visit, in the order of time.

What the readers are asked about is a *case*: one person at one visit. It is named by the pseudonym and the visit, such as
``1f2e…/week-12``. The case of the visit 1, or of clips without a visit, is named by the pseudonym alone: studies with one visit
have no other names than people.
"""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from vitau.schema.domain import FIRST_VISIT, Clip, canonical_name, case_name

MAX_VISIT: Final = 32
"""Most characters of the name of a visit: enough for `week-12`, and little for the name of a person."""

_VISIT: Final = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{MAX_VISIT - 1}}}")
_RECORDED_AT: Final = re.compile(r"[0-9]{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d:\d\d)?)?", re.ASCII)


@dataclass(frozen=True, kw_only=True, slots=True)
class Visit:
    """A visit of one person: its name, the earliest date of its clips, and the digests of its clips.

    ``name`` is ``None`` for the clips whose visit is not stated, ``recorded_at`` where no date is.
    """

    name: str | None
    recorded_at: str | None
    clips: tuple[str, ...]


def split_case(case: str) -> tuple[str, str | None]:
    """Return the pseudonym and the visit of a case; the visit is ``None`` for the visit 1."""
    subject, _, visit = case.partition("/")
    return subject, visit or None


def person_of(case: str) -> str:
    """Return the pseudonym of the person of a case."""
    return split_case(case)[0]


def canonical_case(case: str, merged: Mapping[str, str]) -> str:
    """Return a case under the pseudonym by which the person is known."""
    subject, visit = split_case(case)
    return case_name(canonical_name(subject, merged), visit)


def cases_of(clips: Iterable[Clip]) -> dict[str, tuple[str, ...]]:
    """Return the cases of each person by their earliest dates, as :func:`group_visits` orders visits; person → cases.

    Clips without a visit are of the visit 1.
    """
    own: dict[str, list[Clip]] = defaultdict(list)
    for clip in clips:
        own[clip.subject].append(clip)
    return {subject: _cases(subject, theirs) for subject, theirs in own.items()}


def _cases(subject: str, clips: Collection[Clip]) -> tuple[str, ...]:
    if all(clip.visit is None for clip in clips):  # in most studies
        return (case_name(subject, FIRST_VISIT),)
    named = [replace(clip, visit=clip.visit or FIRST_VISIT) for clip in clips]
    return tuple(dict.fromkeys(case_name(subject, visit.name) for visit in group_visits(named)))


def parse_visit(cell: str) -> str | None:
    """Return the name of a visit from a cell of a manifest; ``None`` for an empty one.

    Raises:
        ValueError: it is no short name. The reason does not repeat it, because it may name a person.
    """
    if cell and not _VISIT.fullmatch(cell):
        raise ValueError(
            f"its visit is no short name such as 1, baseline or week-12; write at most {MAX_VISIT} unaccented letters, digits, "
            "dots, underscores and hyphens, a letter or digit first, and never a person's name"
        )
    return cell or None


def parse_recorded_at(cell: str) -> str | None:
    """Return the date, or the date and time, of a recording from a cell of a manifest; ``None`` for an empty one.

    The spellings of one minute are one text, ``2026-11-29T10:30``, so that texts sort by the clock of the place. Fractions of
    a second are left out.

    Raises:
        ValueError: it is no date or time of ISO 8601.
    """
    if not cell:
        return None
    parsed = _iso_time(cell)
    if parsed is None:
        raise ValueError("its recorded_at is no date such as 2026-11-29 or 2026-11-29T10:30; write one, or leave it empty")
    return parsed.date().isoformat() if len(cell) == len("2026-11-29") else _to_the_minute(parsed)


def group_visits(clips: Iterable[Clip]) -> list[Visit]:
    """Return the visits of one person's clips by their earliest dates, then by name.

    Visits without a date follow the others. The clips of which no visit is stated are together, as one more visit without a
    name, which is the last one of its date.
    """
    by_name: dict[str | None, list[Clip]] = defaultdict(list)
    for clip in clips:
        by_name[clip.visit].append(clip)
    visits = [
        Visit(
            name=name,
            recorded_at=min((clip.taken_at for clip in own if clip.taken_at is not None), default=None),
            clips=tuple(sorted(clip.sha256 for clip in own)),
        )
        for name, own in by_name.items()
    ]
    return sorted(visits, key=_in_time)


def _iso_time(cell: str) -> datetime | None:
    if not _RECORDED_AT.fullmatch(cell):
        return None
    try:
        return datetime.fromisoformat(cell)
    except ValueError:  # such as the 31st of November
        return None


def _to_the_minute(time: datetime) -> str:
    return time.isoformat(timespec="seconds" if time.second else "minutes")


def _in_time(visit: Visit) -> tuple[bool, str, bool, list[tuple[str, int]], str]:
    """Return the sort key of a visit; week-9 is before week-12."""
    name = visit.name or ""
    numbered = [(text, int(digits or 0)) for text, digits in re.findall(r"([^0-9]*)([0-9]*)", name)]
    return visit.recorded_at is None, visit.recorded_at or "", visit.name is None, numbered, name
