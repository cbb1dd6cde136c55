"""Counts of the answers in the label ledger, by indices: the answers themselves are not read."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from vitau.catalog.engine import Database
from vitau.catalog.ledger.cohorts import follow_merges
from vitau.catalog.tables import ledger, merges
from vitau.schema import Stage, canonical_name


@dataclass(frozen=True, kw_only=True, slots=True)
class AnswerCounts:
    """Numbers of answers, one for each region: by stage, and by person those whose page showed a score or measures."""

    by_stage: Mapping[Stage, int]
    suggested: Mapping[str, int]
    measured: Mapping[str, int]


class Counts(Database):
    """The counts of a database."""

    def count_answers(self, *, upto: int | None = None) -> AnswerCounts:
        """Count all answers, replaced ones too, up to a ledger offset or today; people have their names at that offset."""
        until = sa.true() if upto is None else ledger.c.offset + 0 <= upto  # the sum keeps the primary key from being chosen
        with self._reading() as connection:
            pairs = sa.select(merges.c.merged, merges.c.kept)
            pairs = pairs if upto is None else pairs.where(merges.c.offset <= upto)
            merged = follow_merges(connection.execute(pairs).tuples().all())
            by_stage = sa.select(ledger.c.stage, sa.func.count()).where(until).group_by(ledger.c.stage)
            stages = {Stage(stage): number for stage, number in connection.execute(by_stage).tuples()}
            shown = []
            for column in (ledger.c.suggestion, ledger.c.measures_shown):
                found: Counter[str] = Counter()
                query = (
                    sa.select(ledger.c.subject, sa.func.count()).where(column.is_not(None), until).group_by(ledger.c.subject)
                )
                for subject, number in connection.execute(query).tuples():
                    found[canonical_name(subject, merged)] += number
                shown.append(found)
        suggested, measured = shown
        return AnswerCounts(by_stage=stages, suggested=suggested, measured=measured)
