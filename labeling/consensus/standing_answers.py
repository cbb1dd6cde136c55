"""Standing answers: the last answer of each reader about each person, from the append-only ledger.

The ledger is ordered. A later row of an annotation replaces an earlier one about the same region, and a retracted row removes
it. So does a row about a region that the adjudicator was not asked about. If a reader has several annotations about one person,
the newest that is not retracted stands. That happens after two subjects were merged, or after an annotation was deleted and
made again.

Answers that check a reader (:mod:`labeling.consensus.reader_checks`) do not stand: those about people without a palsy never,
and a second reading only where nothing else of its reader is left.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter
from typing import TypeAlias

from vitau.schema import AU, CheckKind, LedgerRow, Side, Stage

ReaderAnswer: TypeAlias = Mapping[AU, LedgerRow]
"""The standing answer of one reader about one person: a row for each answered region, in the ledger's order."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StandingAnswers:
    """The standing answers of a ledger.

    ``blind`` is case → reader → answer, and ``rulings`` is case → the adjudicator's answer. A case is one person at one visit
    (:mod:`vitau.schema.visits`). Neither holds an empty answer. ``subjects`` are all cases of the ledger, even if all answers
    about them were retracted, without those that were only shown to check readers.
    """

    blind: Mapping[str, Mapping[str, ReaderAnswer]]
    rulings: Mapping[str, ReaderAnswer]
    subjects: frozenset[str]


def standing_answers(rows: Iterable[LedgerRow]) -> StandingAnswers:
    """Return the standing answers of a ledger, whose rows are in its order; cases and readers are in that of their names."""
    history: dict[tuple[str, str | None], dict[AU, dict[str, tuple[int, LedgerRow]]]] = defaultdict(lambda: defaultdict(dict))
    for position, row in enumerate(rows):
        if row.check_kind is CheckKind.CONTROL:
            continue
        reader = None if row.stage is Stage.ADJUDICATION else row.reader  # all adjudicators count as one
        standing = history[row.case, reader][row.au]
        standing.pop(row.annotation, None)
        if not row.retracted and row.asked:
            standing[row.annotation] = position, row
    blind: dict[str, dict[str, ReaderAnswer]] = defaultdict(dict)
    rulings: dict[str, ReaderAnswer] = {}
    for (subject, reader), regions in sorted(history.items(), key=lambda item: (item[0][0], item[0][1] or "")):
        newest = (_newest(standing.values()) for standing in regions.values() if standing)
        answer = {row.au: row for _, row in sorted(newest, key=itemgetter(0))}
        if answer and reader is None:
            rulings[subject] = answer
        elif answer and reader is not None:
            blind[subject][reader] = answer
    return StandingAnswers(blind=blind, rulings=rulings, subjects=frozenset(subject for subject, _ in history))


def _newest(standing: Iterable[tuple[int, LedgerRow]]) -> tuple[int, LedgerRow]:
    """Return the last row that is no second reading; the last one of all if there is no other."""
    return max(standing, key=lambda answer: (answer[1].check_kind is None, answer[0]))


def side_of(answer: ReaderAnswer) -> Side | None:
    """Return the side of an answer, that of its newest row; ``None`` for an empty answer."""
    return newest_row(answer).side if answer else None


def newest_row(answer: ReaderAnswer) -> LedgerRow:
    """Return the last row of an answer, which must not be empty."""
    return list(answer.values())[-1]


def week_of(answered_at: str) -> str | None:
    """Return the calendar week of an ISO 8601 time, such as ``2026-W48``; ``None`` for an empty text."""
    if not answered_at:
        return None
    year, week, _ = datetime.fromisoformat(answered_at).isocalendar()
    return f"{year}-W{week:02}"
