"""The append-only log of promotions: signed records, each chained to the one before."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from typing import Any, Final

import sqlalchemy as sa

from vitau.catalog.engine import Database
from vitau.catalog.rows import from_row, now
from vitau.catalog.signing import ALGORITHM, canonical, is_signed, key_names, public_key, sign
from vitau.catalog.tables import promotions

OTHER_KEY: Final = "signed with another key than VITAU_SIGNING_KEY"


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
            self._lock(connection, "promotions")
            if once is not None:
                known = connection.execute(sa.select(promotions).where(promotions.c.once == once)).mappings().first()
                if known is not None:
                    return _record(dict(known)), False
            earlier = connection.execute(sa.select(promotions).order_by(promotions.c.number)).mappings().all()
            signed = {
                **facts,
                "number": earlier[-1]["number"] + 1 if earlier else 1,
                "previous": earlier[-1]["signature"] if earlier else None,
                "log": log_digest((row["record"], row["signature"]) for row in earlier),
                "time": now(),
                "algorithm": ALGORITHM,
                "key": public_key(key),
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


def log_digest(signed: Iterable[tuple[str, str]]) -> str:
    """Return the digest of all records before one, given their texts and signatures in order."""
    hasher = sha256()
    for text, signature in signed:
        hasher.update(f"{signature}\n{text}\n".encode())
    return hasher.hexdigest()


def broken_records(records: Sequence[PromotionRecord], key: bytes) -> dict[int, str]:
    """Verify the signatures and the chain of all records in order; return the reason for each broken one, by number.

    Records of an earlier key are accepted before the first record of this key, which contains their digest. A deleted end of
    the chain cannot be seen from the rest: compare the last number with the tag in MLflow.
    """
    problems: dict[int, str] = {}
    names = key_names(key)
    vouched = _num_vouched(records, key)
    previous, expected = None, 1
    for position, record in enumerate(records):
        if record.facts["key"] not in names:
            if position >= vouched:
                problems[record.number] = OTHER_KEY
        elif not is_signed(record.text, record.signature, key, record.facts.get("algorithm")):
            problems[record.number] = "changed after it was signed"
        if record.number not in problems and (record.number != expected or record.facts["previous"] != previous):
            problems[record.number] = "not the successor of the record before it: one is missing or was exchanged"
        previous, expected = record.signature, record.number + 1
    return problems


def _num_vouched(records: Sequence[PromotionRecord], key: bytes) -> int:
    """Return how many records of earlier keys the first record of this key vouches for by their digest."""
    names = key_names(key)
    first = next((position for position, record in enumerate(records) if record.facts["key"] in names), 0)
    if not first:
        return 0
    record = records[first]
    whole = is_signed(record.text, record.signature, key, record.facts.get("algorithm"))
    digest = log_digest((earlier.text, earlier.signature) for earlier in records[:first])
    return first if whole and record.facts.get("log") == digest else 0


def approved_versions(records: Sequence[PromotionRecord], model: str, key: bytes) -> set[int]:
    """Return the versions of a model that a valid record made or left champion."""
    problems = broken_records(records, key)
    valid = [record for record in records if record.model == model and record.number not in problems]
    return {version for record in valid for version in (record.before, record.after) if version is not None}


def champion_stack(records: Iterable[PromotionRecord]) -> list[int]:
    """Return the champions of one model to which a rollback can return, the present one last, from its records in order.

    A promotion pushes a version, a rollback pops one. The champion from before the first record is at the bottom.
    """
    stack: list[int] = []
    for record in records:
        if record.action in {Action.PROMOTED, Action.OVERRIDDEN} and record.after is not None:
            if not stack and record.before is not None:
                stack.append(record.before)
            if record.after != (stack[-1] if stack else None):  # approved once more, after a change of the key
                stack.append(record.after)
        elif record.action is Action.ROLLED_BACK:
            stack.pop()
    return stack


def _record(row: Mapping[str, Any]) -> PromotionRecord:
    facts = json.loads(row["record"])
    return from_row(PromotionRecord, {**row, **facts}, number=row["number"], facts=facts, text=row["record"])
