"""The journal of changes of the pseudonym key: what was begun, whether the rows are renamed, and the signed record."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from vitau.catalog.leases import REKEYING, Leases
from vitau.catalog.ledger.label_ledger import LabelLedger
from vitau.catalog.rekeying.keys import NAME, PseudonymKeys, fingerprint, new_names, renamed, seal, seal_names, unseal
from vitau.catalog.rekeying.renaming import Renaming
from vitau.catalog.rekeying.rows import rename_rows
from vitau.catalog.rows import now
from vitau.catalog.signing import ALGORITHM, canonical, public_key, sign, verify
from vitau.catalog.tables import (
    claims,
    erasures,
    ingest_claims,
    key_fingerprints,
    objects,
    rekeyings,
    seen_annotations,
    statements,
    subjects,
)
from vitau.errors import CatalogError

KEY_NAME: Final = "pseudonym"
"""The name of the pseudonym key among the fingerprints."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rekeying:
    """A change of the pseudonym key.

    ``before`` and ``after`` are the fingerprints. ``names`` has the old and new names, sealed with the new key, until the
    change is finished. ``retired_key`` is the old key, sealed with the new one. ``record`` is canonical JSON, as it was signed.
    """

    number: int
    before: str
    after: str
    names: str | None
    retired_key: str
    renamed_at: str | None
    finished_at: str | None
    record: str | None
    signature: str | None
    recorded_at: str


class Rekeyings(LabelLedger, Leases):
    """The changes of the pseudonym key of a database."""

    def rekeyings(self) -> list[Rekeying]:
        """Return every change of the key, oldest first."""
        return self._load(Rekeying, sa.select(rekeyings).order_by(rekeyings.c.number))

    def check_not_rekeying(self) -> None:
        """Raise CatalogError while a change of the pseudonym key is unfinished: nothing else may work on half of the names."""
        if self._scalars(sa.select(rekeyings.c.number).where(rekeyings.c.finished_at.is_(None))):
            raise CatalogError("a change of the pseudonym key is unfinished: run `python -m flows rekey` again to finish it")

    def noted_fingerprint(self) -> str | None:
        """Return the fingerprint of the key that made the pseudonyms of this catalog; ``None`` before the first ingest."""
        noted = sa.select(key_fingerprints.c.fingerprint).where(key_fingerprints.c.name == KEY_NAME)
        return next(iter(self._scalars(noted)), None)

    def owns_ledger(self) -> bool:
        """Return whether this role may change the tables of the ledger, as their owner may."""
        if self.engine.dialect.name != "postgresql":
            return True
        owned = "SELECT bool_and(pg_has_role(relowner, 'USAGE')) FROM pg_class WHERE relname IN ('ledger', 'merges')"
        return bool(self._scalars(sa.select(sa.literal_column(f"({owned})")))[0])

    def named_people(self) -> set[str]:
        """Return every pseudonym and tombstone in the catalog."""
        with self._reading() as connection:
            return _names(connection)

    def begin_rekeying(self, present: bytes, new: bytes, more_names: Collection[str] = ()) -> Rekeying:
        """Begin a change of the key. From now on no lease is given but that of the change.

        Args:
            present: the key that made the pseudonyms of the catalog.
            new: the key that replaces it.
            more_names: pseudonyms that only the store has.

        Raises:
            CatalogError: other work holds leases, or a name is no pseudonym.
        """
        with self._writing() as connection:
            self._lock(connection, REKEYING)
            in_force = self._in_force(self._time_s(connection))
            others = claims.c.work != REKEYING
            leased = connection.scalar(sa.select(sa.func.count()).select_from(claims).where(in_force, others)) or 0
            if leased:
                raise CatalogError(f"{leased} clips, people or trainings are being worked on: wait until these runs have ended")
            connection.execute(sa.delete(claims).where(others))  # a suspended worker finds its fencing token gone
            last = connection.scalar(sa.select(sa.func.max(rekeyings.c.number))) or 0
            row = {
                "number": last + 1,
                "before": fingerprint(present),
                "after": fingerprint(new),
                "names": seal_names(new, new_names(new, _names(connection) | set(more_names))),
                "retired_key": seal(new, present.decode()),
                "recorded_at": now(),
            }
            connection.execute(sa.insert(rekeyings).values(row))
        return self.rekeyings()[-1]

    def abandon_rekeying(self, number: int) -> None:
        """Delete the entry of a change that has changed nothing yet."""
        with self._writing() as connection:
            untouched = rekeyings.c.renamed_at.is_(None)
            connection.execute(sa.delete(rekeyings).where(rekeyings.c.number == number, untouched))

    def rename_people(
        self,
        number: int,
        new: bytes,
        names: Mapping[str, str],
        *,
        changed_objects: Mapping[str, tuple[str, int]],
        signing_key: bytes | None,
    ) -> int:
        """Rename people in all rows and note the fingerprint of the new key, in one transaction; return the number of rows.

        Args:
            number: of the change.
            new: the new key.
            names: old → new.
            changed_objects: new key of an object whose bytes name the person → its digest and size now.
            signing_key: signs the receipts of erasures again, whose tombstones get new names.
        """
        with self._writing() as connection:
            self._next_offset(connection)  # excludes writers of the ledger
            receipts = _signed_receipts(connection)
            changed = rename_rows(connection, Renaming(names), lambda value: renamed(new, value))
            for key, (digest, size) in changed_objects.items():
                connection.execute(sa.update(objects).where(objects.c.key == key).values(sha256=digest, size=size))
            _sign_receipts(connection, {names[subject] for subject in receipts}, signing_key)
            noted = sa.update(key_fingerprints).where(key_fingerprints.c.name == KEY_NAME)
            connection.execute(noted.values(fingerprint=fingerprint(new), recorded_at=now()))
            connection.execute(sa.update(rekeyings).where(rekeyings.c.number == number).values(renamed_at=now()))
        return changed

    def finish_rekeying(self, number: int, facts: Mapping[str, Any], signing_key: bytes | None) -> Rekeying:
        """Sign the record of a change, and forget the old names."""
        row = next(found for found in self.rekeyings() if found.number == number)
        signed = {**facts, "number": number, "before": row.before, "after": row.after, "time": now()}
        if signing_key is not None:
            signed |= {"algorithm": ALGORITHM, "key": public_key(signing_key)}
        text = canonical(signed)
        end = {
            "record": text,
            "signature": None if signing_key is None else sign(text, signing_key),
            "finished_at": signed["time"],
            "names": None,
        }
        with self._writing() as connection:
            connection.execute(sa.update(rekeyings).where(rekeyings.c.number == number).values(**end))
        return self.rekeyings()[number - 1]

    def pseudonym_keys(self, present: bytes) -> PseudonymKeys:
        """Return the present key with all keys that it replaced.

        Raises:
            CatalogError: what is kept of an earlier key was sealed with another one.
        """
        retired, key = [], present
        for change in reversed(self.rekeyings()):
            if change.renamed_at is not None:
                key = unseal(key, change.retired_key).encode()
                retired.append(key)
        return PseudonymKeys(present=present, retired=tuple(retired[::-1]))

    def broken_rekeyings(self, signing_key: bytes | None) -> dict[int, str]:
        """Verify the records of finished changes; return the reason for each broken one, by number.

        The newest one states the head of the ledger's chain. Without a signing key, signatures are not verified.
        """
        finished = [change for change in self.rekeyings() if change.record is not None]
        broken = {} if signing_key is None else _wrongly_signed(finished, public_key(signing_key))
        for change in finished[-1:]:
            ledger = json.loads(change.record or "")["ledger"]
            if self.ledger_digest(ledger["offset"]) != ledger["digest"]:
                broken.setdefault(change.number, "it states another head of the ledger, which was cut or rewritten since")
        return broken

    def known_statement(self, candidates: Collection[str]) -> str | None:
        """Return the first of some digests of a source under which the catalog has statements; ``None`` if it has none."""
        for candidate in candidates:
            if self._scalars(sa.select(statements.c.number).where(statements.c.statement == candidate).limit(1)):
                return candidate
        return None


def _wrongly_signed(changes: Collection[Rekeying], public: str) -> dict[int, str]:
    return {
        change.number: "it is not signed, signed with another key than VITAU_SIGNING_KEY, or was changed after it was signed"
        for change in changes
        if not verify(change.record or "", change.signature or "", public)
    }


def _names(connection: sa.Connection) -> set[str]:
    """Return every pseudonym and tombstone; Label Studio's tasks may name people of other catalogs, whose names stay."""
    found = {name for name in connection.scalars(sa.select(seen_annotations.c.subject)) if NAME.fullmatch(name)}
    for column in (subjects.c.pseudonym, erasures.c.subject, ingest_claims.c.subject):
        found |= set(connection.scalars(sa.select(column)))
    return found


def _signed_receipts(connection: sa.Connection) -> set[str]:
    """Return the tombstones whose receipt has a valid signature."""
    found = set()
    for subject, receipt in connection.execute(sa.select(erasures.c.subject, erasures.c.receipt)).all():
        signed = (receipt or {}).get("signed")
        if signed is not None:
            facts = {name: value for name, value in receipt.items() if name != "signed"}
            if verify(canonical(facts), signed["signature"], signed["public_key"]):
                found.add(subject)
    return found


def _sign_receipts(connection: sa.Connection, names: Collection[str], signing_key: bytes | None) -> None:
    """Sign the receipts of some erasures again, whose tombstones have new names; without a key they lose their signature."""
    for subject, receipt in connection.execute(sa.select(erasures.c.subject, erasures.c.receipt)).all():
        if subject not in names:
            continue
        facts = {name: value for name, value in receipt.items() if name != "signed"} | {"reissued_at": now()}
        if signing_key is not None:
            signature = sign(canonical(facts), signing_key)
            facts["signed"] = {"algorithm": ALGORITHM, "public_key": public_key(signing_key), "signature": signature}
        connection.execute(sa.update(erasures).where(erasures.c.subject == subject).values(receipt=facts))
