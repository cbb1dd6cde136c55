"""What everybody says now: the last words of each reader, out of all that the ledger keeps.

The ledger is in order. A later row of an annotation replaces its earlier ones; a retracted row takes back what its annotation
said, as if it had never been given. Where a reader has several annotations about one person (two subjects were merged, one was
deleted and done again), the newest that stands is the reader's word.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter
from typing import TypeAlias

from vitau.schema import AU, LedgerRow, Side, Stage

Voice: TypeAlias = Mapping[AU, LedgerRow]
"""What one reader says about one person: the row that stands for each region, in the ledger's order."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StandingAnswers:
    """What stands in a ledger.

    ``blind`` is subject → reader → voice and ``rulings`` subject → the adjudicator's voice; who has nothing standing is in
    neither. ``subjects`` are all whom the ledger names.
    """

    blind: Mapping[str, Mapping[str, Voice]]
    rulings: Mapping[str, Voice]
    subjects: frozenset[str]


def last_words(rows: Iterable[LedgerRow]) -> StandingAnswers:
    """Read a ledger, in its order, to its end."""
    said: dict[tuple[str, str | None], dict[AU, dict[str, tuple[int, LedgerRow]]]] = defaultdict(lambda: defaultdict(dict))
    for place, row in enumerate(rows):
        speaker = None if row.stage is Stage.ADJUDICATION else row.reader  # one adjudicator, whoever sits there
        standing = said[row.subject, speaker][row.au]
        standing.pop(row.annotation, None)
        if not row.retracted:
            standing[row.annotation] = place, row
    blind: dict[str, dict[str, Voice]] = defaultdict(dict)
    rulings: dict[str, Voice] = {}
    for (subject, speaker), regions in said.items():
        found = sorted((next(reversed(each.values())) for each in regions.values() if each), key=itemgetter(0))
        voice = {row.au: row for _, row in found}
        if voice and speaker is None:
            rulings[subject] = voice
        elif voice and speaker is not None:
            blind[subject][speaker] = voice
    return StandingAnswers(blind=blind, rulings=rulings, subjects=frozenset(subject for subject, _ in said))


def side_of(voice: Voice) -> Side | None:
    """The side that a voice names: once for the face, in the newest of its rows."""
    return newest(voice).side if voice else None


def newest(voice: Voice) -> LedgerRow:
    """The row of a voice that came last; a voice that says nothing has none."""
    return list(voice.values())[-1]


def week_of(answered_at: str) -> str | None:
    """The calendar week of a time (ISO 8601), such as ``2026-W48``; absent where the time is."""
    if not answered_at:
        return None
    year, week, _ = datetime.fromisoformat(answered_at).isocalendar()
    return f"{year}-W{week:02}"
