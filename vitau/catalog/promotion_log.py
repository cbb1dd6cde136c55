"""The append-only log of promotions: signed records, each chained to the one before."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from vitau.catalog.engine import Database
from vitau.catalog.rows import from_row, now
from vitau.catalog.signing import canonical, is_signed, key_fingerprint, sign
from vitau.catalog.tables import promotions


class Action(StrEnum):
    """The result of a decision about a version: by the policy, against it, or undone."""

    PROMOTED = "promoted"
    REFUSED = "refused"
    OVERRIDDEN = "overridden"
    ROLLED_BACK = "rolled back"


@dataclass(frozen=True, kw_only=True, slots=True)
class PromotionRecord:
    """One decision about one version of one model, as it was signed.

    ``before`` and ``after`` are the versions with the alias ``champion``. ``facts`` holds the rest: who or what decided
    (``by``), ``why``, the ``verdict`` with its numbers, digests, versions. ``text`` is what was signed.
    """

    number: int
    model: str
    version: int
    action: Action
    before: int | None
    after: int | None
    facts: Mapping[str, Any]
    time: str
    text: str
    signature: str


class PromotionLog(Database):
    """Decisions in their order. Database triggers refuse changes, deletions and insertions anywhere but at the end."""

    def append_promotion(
        self, facts: Mapping[str, Any], *, key: bytes, once: str | None = None
    ) -> tuple[PromotionRecord, bool]:
        """Sign a decision and append it.

        Args:
            facts: ``model``, ``version``, ``action``, ``before``, ``after`` and everything else to keep; plain JSON.
            key: signs the record.
            once: idempotency key, a digest of the inputs of the decision. If a record has it already, that one is returned.

        Returns:
            The record, and whether it is new.
        """
        with self._writing() as connection:
            if self.engine.dialect.name == "postgresql":
                connection.execute(sa.text("LOCK TABLE promotions IN SHARE ROW EXCLUSIVE MODE"))
            if once is not None:
                known = connection.execute(sa.select(promotions).where(promotions.c.once == once)).mappings().first()
                if known is not None:
                    return _record(dict(known)), False
            last = sa.select(promotions).order_by(promotions.c.number.desc()).limit(1)
            before = connection.execute(last).mappings().first()
            signed = {
                **facts,
                "number": 1 if before is None else before["number"] + 1,
                "previous": None if before is None else before["signature"],
                "time": now(),
                "key": key_fingerprint(key),
            }
            text = canonical(signed)
            row = {
                "number": signed["number"],
                "model": signed["model"],
                "once": once,
                "record": text,
                "signature": sign(text, key),
                "recorded_at": signed["time"],
            }
            connection.execute(sa.insert(promotions), [row])
        return _record(row), True

    def promotions(self, model: str | None = None) -> list[PromotionRecord]:
        """Return every decision in order, or those about one model."""
        query = sa.select(promotions).order_by(promotions.c.number)
        return [_record(row) for row in self._rows(query if model is None else query.where(promotions.c.model == model))]


def broken_records(records: Sequence[PromotionRecord], key: bytes) -> dict[int, str]:
    """Verify the signatures and the chain of all records in order; return the reason for each broken one, by number.

    A deleted end of the chain cannot be seen from the rest: compare the last number with the tag in MLflow.
    """
    problems: dict[int, str] = {}
    previous, expected = None, 1
    for record in records:
        if record.facts["key"] != key_fingerprint(key):
            problems[record.number] = "signed with another key than VITAU_SIGNING_KEY"
        elif not is_signed(record.text, record.signature, key):
            problems[record.number] = "changed after it was signed"
        elif record.number != expected or record.facts["previous"] != previous:
            problems[record.number] = "not the successor of the record before it: one is missing or was exchanged"
        previous, expected = record.signature, record.number + 1
    return problems


def champion_stack(records: Iterable[PromotionRecord]) -> list[int]:
    """Return the champions of one model to which a rollback can return, the present one last, from its records in order.

    A promotion pushes a version, a rollback pops one. The champion from before the first record is at the bottom.
    """
    stack: list[int] = []
    for record in records:
        if record.action in {Action.PROMOTED, Action.OVERRIDDEN} and record.after is not None:
            if not stack and record.before is not None:
                stack.append(record.before)
            stack.append(record.after)
        elif record.action is Action.ROLLED_BACK:
            stack.pop()
    return stack


def _record(row: Mapping[str, Any]) -> PromotionRecord:
    facts = json.loads(row["record"])
    return from_row(PromotionRecord, {**row, **facts}, number=row["number"], facts=facts, text=row["record"])
