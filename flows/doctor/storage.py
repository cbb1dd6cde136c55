"""Checks of the object store and the catalog; they remove what they write."""

import threading
from collections.abc import Sequence
from typing import Final
from uuid import uuid4

import httpx

from flows.doctor.findings import CheckFailedError, NotApplicableError
from flows.settings import Settings
from vitau.catalog.catalog import Catalog, open_catalog
from vitau.errors import CatalogError
from vitau.store import S3Store, Store, open_store

WRITERS: Final = 6
_WRITES_EACH: Final = 5


def objects(settings: Settings) -> str:
    """Check that an object can be written and read, and that a second write of its key is refused."""
    store, key = open_store(settings.store), f"doctor/{uuid4().hex}"
    try:
        if not store.put(key, b"first") or store.get(key) != b"first":
            raise CheckFailedError(f"{settings.store} does not return what was written to it: use another object store")
        again = store.put(key, b"second")
        if again or store.get(key) != b"first":
            raise CheckFailedError(
                f"{settings.store} ignores conditional puts (If-None-Match: *): two workers would overwrite each other's "
                "objects; use S3, SeaweedFS, or another store that refuses the second write"
            )
    finally:
        store.erase(key)
    return "written, read, and a second write refused"


def addresses(settings: Settings) -> str:
    """Check that a signed address opens, as in a reader's browser, and that the same one without its signature does not."""
    store = open_store(settings.store)
    if not isinstance(store, S3Store):
        raise NotApplicableError("the store is a folder: Label Studio serves the pictures itself")
    key = f"doctor/{uuid4().hex}"
    store.put(key, b"picture")
    try:
        url = store.signed_address(key, valid_s=60)
        opened = httpx.get(url, timeout=10)
        unsigned = httpx.get(url.partition("?")[0], timeout=10)
    finally:
        store.erase(key)
    if opened.status_code != httpx.codes.OK or opened.content != b"picture":
        raise CheckFailedError(
            f"{store.access().endpoint_url} answers {opened.status_code} to a signed address: check AWS_ENDPOINT_URL_S3 "
            "(it must be the address that browsers use), the region and this machine's clock"
        )
    if unsigned.status_code == httpx.codes.OK:
        raise CheckFailedError(
            f"{settings.store} shows its objects to anyone: remove public read access from the bucket's policy"
        )
    return f"{store.access().endpoint_url} opens a signed address and refuses an unsigned one"


def rows(settings: Settings, writers: int = WRITERS) -> str:
    """Check that several writers can write to the catalog at the same time."""
    catalog = open_catalog(settings.catalog.get_secret_value())
    try:
        kind = catalog.engine.dialect.name
        if kind == "sqlite":
            with catalog.engine.connect() as connection:
                mode, busy_ms = (
                    connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "busy_timeout")
                )
            if mode != "wal":
                raise CheckFailedError(
                    f"the catalog's SQLite file has journal mode {mode}, not wal: put it on a local disk "
                    "(WAL does not work on network drives), or use PostgreSQL"
                )
            if not busy_ms:
                raise CheckFailedError(
                    "writers of the catalog do not wait for each other: remove busy_timeout=0 from VITAU_CATALOG"
                )
        errors = write_concurrently(catalog, [uuid4().hex for _ in range(writers)])
        if errors:
            raise CheckFailedError(
                f"one of {writers} parallel writers failed ({errors[0]}): use PostgreSQL for several workers"
            )
    finally:
        catalog.engine.dispose()
    return f"{kind}: {writers} writers in parallel"


def write_concurrently(catalog: Catalog, owners: Sequence[str]) -> list[str]:
    """Claim and release some leases for every owner, in parallel threads; return the errors."""
    errors: list[str] = []

    def write(owner: str) -> None:
        works = [f"doctor/{owner}/{number}" for number in range(_WRITES_EACH)]
        try:
            taken = [catalog.acquire_lease(work, owner, 60) is not None for work in works]
            catalog.release_leases(works, owner)
        except CatalogError as error:
            errors.append(str(error))
        else:
            if not all(taken):
                errors.append("a lease that was free was refused")

    threads = [threading.Thread(target=write, args=(owner,)) for owner in owners]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


def endpoint_of(store: Store) -> str | None:
    """Return the endpoint of an object store, None for a folder."""
    return store.access().endpoint_url if isinstance(store, S3Store) else None
