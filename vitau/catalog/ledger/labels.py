"""The labels that the last consensus derived from the ledger, and the ledger offset to which they belong."""

from collections.abc import Iterable, Mapping

import sqlalchemy as sa

from vitau.catalog.engine import Database, retried
from vitau.catalog.tables import consensus, labels
from vitau.errors import ContradictionError
from vitau.schema import AU, FIRST_VISIT, RegionLabels, Side


class Labels(Database):
    """The labels, which every consensus replaces. Their ledger offset never goes back."""

    @retried
    def set_labels(self, answers: Iterable[RegionLabels], *, ledger_offset: int) -> bool:
        """Replace the labels by the consensus at a ledger offset, in one transaction; labels that stay are not rewritten.

        Return False, and change nothing, if the labels are of a later offset: another process was faster.

        Raises:
            ContradictionError: two answers for one subject, visit and AU.
        """
        new = [
            ((answer.subject, answer.visit or FIRST_VISIT, str(au)), (affected, answer.side if affected else None))
            for answer in answers
            for au, affected in answer.affected.items()
        ]
        problem = "two answers for one subject, visit and AU, or an answer about an unknown subject: run the consensus again"
        if len(dict(new)) < len(new):
            raise ContradictionError(problem)
        try:
            with self._writing() as connection:
                self._lock(connection, "labels")
                if ledger_offset < (connection.scalar(sa.select(consensus.c.ledger_offset)) or 0):
                    return False
                self._replace_labels(connection, dict(new), ledger_offset)
        except sa.exc.IntegrityError as error:
            raise ContradictionError(problem) from error
        return True

    def _replace_labels(
        self, connection: sa.Connection, new: Mapping[tuple[str, str, str], tuple[bool, Side | None]], offset: int
    ) -> None:
        old = {(row.subject, row.visit, row.au): (row.affected, row.side) for row in connection.execute(sa.select(labels))}
        for subject, visit, au in old.keys() - new.keys():
            gone = labels.c.subject == subject, labels.c.visit == visit, labels.c.au == au
            connection.execute(sa.delete(labels).where(*gone))
        rows = [
            {"subject": key[0], "visit": key[1], "au": key[2], "affected": affected, "side": side, "ledger_offset": offset}
            for key, (affected, side) in new.items()
            if old.get(key) != (affected, side)
        ]
        self._upsert(connection, labels, rows)
        self._upsert(connection, consensus, [{"number": 1, "ledger_offset": offset}])

    def labels_offset(self) -> int:
        """Return the ledger offset of the labels, 0 before the first consensus."""
        return self.labels_with_offset()[1]

    def labels(self) -> list[RegionLabels]:
        """Return the labels of the last consensus, one for each labeled person and visit, by pseudonym."""
        return self.labels_with_offset()[0]

    @retried
    def labels_with_offset(self) -> tuple[list[RegionLabels], int]:
        """Return the labels and their ledger offset, of one consensus even while another one is written."""
        found: dict[tuple[str, str], dict[AU, bool]] = {}
        sides: dict[tuple[str, str], Side] = {}
        with self._reading() as connection:
            rows = connection.execute(sa.select(labels).order_by(labels.c.subject, labels.c.visit)).mappings().all()
            offset = connection.scalar(sa.select(consensus.c.ledger_offset)) or 0
        for row in rows:
            case = row["subject"], row["visit"]
            found.setdefault(case, {})[AU(row["au"])] = row["affected"]
            if row["side"] is not None:
                sides[case] = Side(row["side"])
        answers = [
            RegionLabels(
                subject=subject,
                affected=affected,
                side=sides.get((subject, visit)),
                visit=None if visit == FIRST_VISIT else visit,
            )
            for (subject, visit), affected in found.items()
        ]
        return sorted(answers, key=lambda answer: answer.case), offset
