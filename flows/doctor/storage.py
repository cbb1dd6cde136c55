"""Checks of the objects and the rows. What is written there on trial is removed again."""

import threading
from collections.abc import Sequence
from typing import Final
from uuid import uuid4

import httpx

from flows.doctor.findings import AilmentError, NotApplicableError
from flows.settings import Settings
from vitau.catalog.catalog import Catalog, open_catalog
from vitau.errors import CatalogError
from vitau.store import S3Store, Store, open_store

WRITERS: Final = 6
_WRITES: Final = 5


def objects(settings: Settings) -> str:
    """Write an object, read it, and try to write another one in its place, which must be refused."""
    store, key = open_store(settings.store), f"doctor/{uuid4().hex}"
    try:
        if not store.put(key, b"first") or store.get(key) != b"first":
            raise AilmentError(f"{settings.store} does not give back what is written to it: use another object store")
        again = store.put(key, b"second")
        if again or store.get(key) != b"first":
            raise AilmentError(
                f"{settings.store} ignores conditional puts (If-None-Match: *): two workers would overwrite each other's "
                "objects; use S3 itself, SeaweedFS, or another store that refuses the second write"
            )
    finally:
        store.erase(key)
    return "written, read, and a second write refused"


def addresses(settings: Settings) -> str:
    """Open a signed address as a reader's browser would, and the same one with another signature, which must be refused."""
    store = open_store(settings.store)
    if not isinstance(store, S3Store):
        raise NotApplicableError("the store is a folder: Label Studio serves the pictures itself")
    key = f"doctor/{uuid4().hex}"
    store.put(key, b"picture")
    try:
        url = store.signed_address(key, valid_s=60)
        opened = httpx.get(url, timeout=10)
        stranger = httpx.get(url.partition("?")[0], timeout=10)
    finally:
        store.erase(key)
    if opened.status_code != httpx.codes.OK or opened.content != b"picture":
        raise AilmentError(
            f"{store.access().endpoint_url} answers {opened.status_code} to a signed address: check AWS_ENDPOINT_URL_S3 "
            "(it must be the address that browsers use), the region and this machine's clock"
        )
    if stranger.status_code == httpx.codes.OK:
        raise AilmentError(
            f"{settings.store} shows its objects to anybody: take the public read right from the bucket's policy"
        )
    return f"{store.access().endpoint_url} opens a signed address and refuses an unsigned one"


def rows(settings: Settings, writers: int = WRITERS) -> str:
    """Open the catalog, and let several writers write to it at once."""
    catalog = open_catalog(settings.catalog.get_secret_value())
    try:
        kind = catalog.engine.dialect.name
        if kind == "sqlite":
            with catalog.engine.connect() as connection:
                mode, busy_ms = (
                    connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "busy_timeout")
                )
            if mode != "wal":
                raise AilmentError(
                    f"the catalog's SQLite file keeps its journal as {mode}, not wal: put it on a local disk "
                    "(WAL does not work on network drives), or use PostgreSQL"
                )
            if not busy_ms:
                raise AilmentError(
                    "a writer of the catalog does not wait for another one: remove busy_timeout=0 from VITAU_CATALOG"
                )
        wrong = write_at_once(catalog, [uuid4().hex for _ in range(writers)])
        if wrong:
            raise AilmentError(f"of {writers} writers at once one failed ({wrong[0]}): use PostgreSQL for several workers")
    finally:
        catalog.engine.dispose()
    return f"{kind}: {writers} writers at once"


def write_at_once(catalog: Catalog, owners: Sequence[str]) -> list[str]:
    """Let every owner claim some work and give it back, all at once; returns what went wrong."""
    wrong: list[str] = []

    def write(owner: str) -> None:
        works = [f"doctor/{owner}/{number}" for number in range(_WRITES)]
        try:
            taken = [catalog.acquire_lease(work, owner, 60) for work in works]
            catalog.release_leases(works, owner)
        except CatalogError as error:
            wrong.append(str(error))
        else:
            if not all(taken):
                wrong.append("what it wrote was not there")

    threads = [threading.Thread(target=write, args=(owner,)) for owner in owners]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return wrong


def endpoint_of(store: Store) -> str | None:
    """The address of an object store, None for a folder."""
    return store.access().endpoint_url if isinstance(store, S3Store) else None
