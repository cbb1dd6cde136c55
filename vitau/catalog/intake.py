"""Notes of an ingest about its sources: skipped items, clips that kill their decoder, and URLs.

URLs and unreadable clips are known by an HMAC only, which the caller computes: they may name or show a person.
"""

import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from vitau.catalog.engine import Database
from vitau.catalog.rows import now, to_row
from vitau.catalog.tables import dead_letters, skipped, source_urls, url_failures
from vitau.schema import Skipped

FIRST_RETRY_S: Final = 600.0
"""Seconds after the first failed download of a URL before it is requested again; they double with each failure."""
LAST_RETRY_S: Final = 7 * 24 * 3600.0
MAX_DEATHS: Final = 3
"""Deaths of the decoder after which a clip is skipped without a further try."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DeadLetter:
    """A clip that killed its decoder ``deaths`` times, under an HMAC of its bytes, and the newest reason."""

    name: str
    deaths: int
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class UrlFailure:
    """The failed downloads of a URL in a row, and the time, s since 1970, before which it is not requested again."""

    url: str
    failures: int
    next_try_at: float
    reason: str


class Intake(Database):
    """The notes of all ingests in a database."""

    def set_skipped(self, source: str, items: Iterable[Skipped]) -> None:
        """Replace the list of items that were left out of a source."""
        rows = {item.item: to_row(item, source=source) for item in items}
        self._replace_all(skipped, list(rows.values()), skipped.c.source == source)

    def skipped(self) -> list[Skipped]:
        """Return every item that was left out, by source and item."""
        return self._load(Skipped, sa.select(skipped).order_by(skipped.c.source, skipped.c.item))

    def add_death(self, name: str, reason: str) -> int:
        """Count a death of the decoder of a clip; return their number so far."""
        row = {"name": name, "deaths": 1, "reason": reason, "recorded_at": now()}
        again = {"deaths": dead_letters.c.deaths + 1, "reason": reason, "recorded_at": row["recorded_at"]}
        with self._writing() as connection:
            new = self._insert_statement(dead_letters).values(row)
            counted = new.on_conflict_do_update(index_elements=[dead_letters.c.name], set_=again)
            return int(connection.scalar(counted.returning(dead_letters.c.deaths)))

    def dead_letters(self) -> list[DeadLetter]:
        """Return the clips that are skipped because they killed their decoder too often, by name."""
        query = sa.select(dead_letters).where(dead_letters.c.deaths >= MAX_DEATHS)
        return self._load(DeadLetter, query.order_by(dead_letters.c.name))

    def dead_letter(self, name: str) -> DeadLetter | None:
        """Return a clip that is skipped because it killed its decoder too often; ``None`` for any other."""
        return next((letter for letter in self.dead_letters() if letter.name == name), None)

    def release_dead_letters(self, names: Collection[str] | None = None) -> int:
        """Forget the deaths of some clips, or of all, so that the next ingest tries them; return their number."""
        where = [] if names is None else [dead_letters.c.name.in_(list(names))]
        with self._writing() as connection:
            return len(connection.execute(sa.delete(dead_letters).where(*where).returning(dead_letters.c.name)).all())

    def clip_of_url(self, url: str, time_range: str) -> str | None:
        """Return the digest of the clip that a time range of a URL became; ``None`` if it was never downloaded."""
        found = sa.select(source_urls.c.clip).where(source_urls.c.url == url, source_urls.c.time_range == time_range)
        return next(iter(self._scalars(found)), None)

    def is_known_url(self, url: str) -> bool:
        """Return whether a URL was downloaded, or failed, before."""
        columns = source_urls.c.url, url_failures.c.url
        return any(self._scalars(sa.select(column).where(column == url).limit(1)) for column in columns)

    def add_url(self, url: str, time_range: str, clip: str) -> None:
        """Note which clip a time range of a URL became, and forget the URL's failures."""
        self._replace(source_urls, [{"url": url, "time_range": time_range, "clip": clip}])
        with self._writing() as connection:
            connection.execute(sa.delete(url_failures).where(url_failures.c.url == url))

    def url_failure(self, url: str) -> UrlFailure | None:
        """Return the failures of a URL since its last download; ``None`` without one."""
        found = self._load(UrlFailure, sa.select(url_failures).where(url_failures.c.url == url))
        return found[0] if found else None

    def add_url_failure(self, url: str, reason: str, *, now_s: float | None = None) -> UrlFailure:
        """Count a failed download; the URL is requested again after a time that doubles with each failure."""
        failed = self.url_failure(url)
        failures = 1 if failed is None else failed.failures + 1
        wait_s = min(FIRST_RETRY_S * 2.0 ** min(failures - 1, 20), LAST_RETRY_S)
        next_try_at = (time.time() if now_s is None else now_s) + wait_s
        failure = UrlFailure(url=url, failures=failures, next_try_at=next_try_at, reason=reason)
        self._replace(url_failures, [to_row(failure)])
        return failure
