"""Workspace of a flow: the settings, the object store, the catalog and the Label Studio client."""

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import Any, NoReturn

from flows.settings import Settings, SettingsError, load_settings
from labeling.consensus.visits import assign_visits
from vitau import processes
from vitau.catalog.catalog import Catalog, open_catalog
from vitau.collector import spare_imports
from vitau.schema import LedgerRow, all_names
from vitau.store import S3Store, Store, open_store
from vitau.store.s3 import S3Keys


class PrivatePath:
    """A path as the parameter of a flow, which may name a person. Prefect cannot serialize it and stores ``<PrivatePath>``."""

    __slots__ = ("path",)  # a class with slots has no dictionary that an encoder could read

    def __init__(self, path: Path) -> None:
        self.path = path

    def __iter__(self) -> NoReturn:
        """Refuse to become the entries of a JSON object."""
        raise TypeError("a path is not stored outside this process")


@dataclass(frozen=True)
class Workspace:
    """The settings and the services that they name, each opened at its first use.

    ``rekeying`` is the workspace of a change of the pseudonym key, which opens the catalog as its owner. Every other workspace
    refuses a catalog with half of the new names.
    """

    settings: Settings
    rekeying: bool = False

    @cached_property
    def store(self) -> Store:
        """The object store."""
        return open_store(self.settings.store)

    @cached_property
    def catalog(self) -> Catalog:
        """The catalog."""
        if self.rekeying:
            return open_catalog((self.settings.catalog_owner or self.settings.catalog).get_secret_value())
        catalog = open_catalog(self.settings.catalog.get_secret_value())
        catalog.check_not_rekeying()
        return catalog

    @cached_property
    def label_studio(self) -> Any:
        """The client of Label Studio."""
        from labeling.label_studio.client import connect

        return connect(self.settings.label_studio_url, self.settings.label_studio_token.get_secret_value())

    def newest_answers(self) -> tuple[list[LedgerRow], int]:
        """Return the answers that no later one replaces, with the visits as stated today, and the ledger's offset; cached."""
        return self._newest_at(self.catalog.ledger_offset())

    def newest_answers_at(self, offset: int | None) -> list[LedgerRow]:
        """Return the answers that no later one replaced up to an offset, and a few others; the same answers stand.

        Without an offset they are those of today.
        """
        if offset is None:
            return self.newest_answers()[0]
        return assign_visits(self.catalog.newest_answers(upto=offset)[0], self.catalog.clips())

    def answers_of_checked(self, newest: Sequence[LedgerRow]) -> list[LedgerRow]:
        """Return the whole ledger about the people of check questions, given the newest answers."""
        merged = self.catalog.merged_names()
        names = {name for row in newest if row.check_kind for name in all_names(row.subject, merged)}
        return assign_visits(self.catalog.answers_about(names), self.catalog.clips()) if names else []

    @cached_property
    def _newest_at(self) -> Callable[[int], tuple[list[LedgerRow], int]]:
        def read(_at_least: int) -> tuple[list[LedgerRow], int]:
            rows, offset = self.catalog.newest_answers()
            return assign_visits(rows, self.catalog.clips()), offset

        return lru_cache(maxsize=1)(read)

    def label_pages_keys(self) -> S3Keys | None:
        """Return the keys with which Label Studio opens pictures in S3: its own read-only ones if the settings name them."""
        if not isinstance(self.store, S3Store):
            return None
        keys, settings = self.store.access(), self.settings
        if settings.pages_access_key is None or settings.pages_secret_key is None:
            return keys
        return replace(keys, access_key=settings.pages_access_key, secret_key=settings.pages_secret_key.get_secret_value())

    def signing_key(self) -> bytes:
        """Return the key that signs and verifies the records of promotions.

        Raises:
            SettingsError: The settings contain none.
        """
        key = self.settings.signing_key
        if key is None:
            raise SettingsError(
                "decisions about champions are signed: set VITAU_SIGNING_KEY, or use `make up`, which creates one"
            )
        return key.get_secret_value().encode()

    def folder(self, name: str) -> Path:
        """Return a local working folder by name, and create it if it is missing."""
        path = self.settings.work / name
        path.mkdir(parents=True, exist_ok=True)
        return path


@cache
def exit_with_worker() -> None:
    """End this process when its worker, which reads its output, is gone; registered once per process."""
    processes.exit_with_reader()


@cache
def label_run(run: str) -> None:
    """Label a run on Prefect's server with its process, machine and boot, so that only this machine declares it dead."""
    from uuid import UUID

    import httpx
    from prefect.client.orchestration import get_client

    with suppress(httpx.HTTPError), get_client(sync_client=True) as client:  # only a hint: silence is noticed as well
        client.update_flow_run_labels(UUID(run), {processes.PROCESS_LABEL: processes.process_identity() or ""})


def open_workspace(settings: Settings | None = None) -> Workspace:
    """Open the workspace of the settings; without them, of the environment, as deployed runs do.

    In a run that a Prefect worker started, the process then ends together with that worker.
    """
    if "PREFECT__WORKER_NAME" in os.environ:  # a run orphaned by a killed worker would share the GPU with its successor
        exit_with_worker()
        if run := os.environ.get("PREFECT__FLOW_RUN_ID"):
            label_run(run)
    spare_imports()
    return Workspace(load_settings() if settings is None else settings)
