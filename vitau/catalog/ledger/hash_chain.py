"""The hash chain of the label ledger: each row's digest covers the row and the digest of the row before it.

A change, a deletion or an insertion anywhere breaks every later digest. The digests that snapshots note detect a cut end.
Two things may be deleted when a person is erased without breaking the chain. The subject is covered as its tombstone. The
details (note, frames shown, marks) are covered by a salted digest, and the salt is deleted with them: nobody can then test a
guess about a deleted note.
"""

import json
import secrets
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any, Final

from vitau.schema import tombstone

START: Final = "0" * 64
"""The digest before the first row."""
ERASED: Final = "erased-"
"""The beginning of every tombstone."""

_ANSWER: Final = ("au", "reader", "stage", "affected", "side", "annotation", "version", "answered_at", "retracted")
_YOUNGER: Final = ("check_kind", "visit", "severity", "synkinesis")
_NUMBERS: Final = ("suggestion", "lead_time_s")
_DETAILS: Final = ("note", "frames_shown", "marks")


def is_tombstone(subject: str) -> bool:
    """Return whether a name replaces the pseudonym of an erased person."""
    return subject.startswith(ERASED)


def salted(details: Mapping[str, Any]) -> dict[str, Any]:
    """Return the details of a row with a new random salt."""
    return {name: details.get(name) for name in _DETAILS} | {"salt": secrets.token_hex(16)}


def details_digest(details: Mapping[str, Any]) -> str:
    """Compute the digest of salted details."""
    return _digest([details["salt"], *(details[name] for name in _DETAILS)])


def answer_digest(row: Mapping[str, Any], previous: str) -> str:
    """Compute the digest of a row of the ledger, given the digest of the row before it."""
    fields = [row[name] for name in _ANSWER] + [_number(row[name]) for name in _NUMBERS]
    fields += [row["suggested_by"], row["grade"]]
    # these columns are younger than the chain: rows with their default keep the digests that they always had
    younger: list[Any] = [{"measures_shown": shown}] if (shown := row.get("measures_shown")) is not None else []
    younger += [] if row.get("asked", True) else [{"asked": False}]
    younger += [{name: value} for name in _YOUNGER if (value := row.get(name)) is not None]
    start = [previous, "answer", row["offset"], _name(row["subject"])]
    return _digest([*start, *fields, row["details"], row["recorded_at"], *younger])


def merge_digest(row: Mapping[str, Any], previous: str) -> str:
    """Compute the digest of a merge, given the digest of the row before it."""
    names = _name(row["kept"]), _name(row["merged"])
    return _digest([previous, "merge", row["offset"], *names, row["details"], row["recorded_at"]])


def broken_rows(
    rows: Iterable[Mapping[str, Any]], details: Mapping[int, Mapping[str, Any]], heads: Mapping[str, tuple[int, str]]
) -> dict[int, str]:
    """Verify the chain; return the reason for each broken row, by offset.

    Args:
        rows: answers and merges in the order of their offsets.
        details: by offset.
        heads: the offset and the digest that each snapshot notes, by snapshot.
    """
    problems: dict[int, str] = {}
    digests, previous = {0: START}, START
    for row in rows:
        offset, compute = row["offset"], (merge_digest if "kept" in row else answer_digest)
        subjects = [row[name] for name in ("subject", "kept", "merged") if name in row]
        found = details.get(offset)
        if row["digest"] != compute(row, previous):
            problems[offset] = "changed, or the row before it is missing or was exchanged"
        elif found is not None and details_digest(found) != row["details"]:
            problems[offset] = "its note, frames or marks were changed"
        elif found is None and not any(map(is_tombstone, subjects)):
            problems[offset] = "its note, frames or marks are missing, although its person was not erased"
        digests[offset] = previous = row["digest"]
    for snapshot, (offset, digest) in heads.items():
        if digests.get(offset) != digest:
            problems.setdefault(
                offset, f"not the row that snapshot {snapshot[:12]} was frozen with: the ledger was cut or rewritten"
            )
    return dict(sorted(problems.items()))


def _name(subject: str) -> str:
    return subject if is_tombstone(subject) else tombstone(subject)


def _number(value: float | None) -> float | None:
    """Return a number as both databases return it: SQLite stores −0.0 as 0.0, and an integer becomes a float."""
    return None if value is None else float(value) + 0.0


def _digest(values: list[Any]) -> str:
    return sha256(json.dumps(values, separators=(",", ":")).encode()).hexdigest()
