"""Workspaces for the chaos runs: copies of one finished demo, each without the results of the flow that is disturbed."""

import json
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa

from vitau.catalog.catalog import open_catalog
from vitau.catalog.tables import metadata
from vitau.store import open_store

VOLATILE: Final = frozenset(
    # times, numbers that a registry assigns, and digests of them; two undisturbed runs differ in these too
    {"recorded_at", "finished_at", "whole_at", "seen_until", "answered_at", "version", "run_id", "number", "metrics", "record"}
    | {
        "receipt",
        "signature",
        "entry_digest",
        "digest_of_row",
        "once",
        "expires_at",
        "owner",
        "token",
        "created_at",
        "token_number",
    }
)
"""Columns that are not compared."""
APART: Final = frozenset({"claims", "lease_tokens", "promotions", "alembic_version", "pulls", "seen_annotations", "objects"})
"""Tables of running work or of other services' numbers; what they lead to is in the other tables."""
WORKING: Final = frozenset({"claims", "lease_tokens"})
"""Tables of running work, which a copy starts anew."""
UNCOMPARED: Final = ("checkpoints/", "models/", "validation/", "reports/", "monitoring/")
"""Prefixes of objects that are not compared: working copies, and pages whose names hold a time."""
RESULTS: Final[Mapping[str, Sequence[str]]] = {
    "annotate": ("labels", "scores", "trainings", "snapshots", "splits", "comparisons", "priorities"),
    "freeze": ("scores", "trainings", "snapshots"),
    "retrain": ("scores", "trainings"),
    "rescore": ("scores",),
}
"""The tables that a flow and its successors write, by flow; a copy for that flow has none of their rows."""
OBJECTS: Final[Mapping[str, Sequence[str]]] = {
    "annotate": ("scores/", "snapshots/", "models/", "reports/"),
    "freeze": ("scores/", "snapshots/", "models/", "reports/"),
    "retrain": ("scores/", "models/", "reports/", "checkpoints/"),
    "rescore": ("scores/", "reports/"),
}


@dataclass(frozen=True, kw_only=True)
class Place:
    """The store and the catalog of one run, with the variables that name them."""

    store: str
    catalog: str
    work: Path

    def environment(self) -> dict[str, str]:
        """Return the variables of the place."""
        return {"VITAU_STORE": self.store, "VITAU_CATALOG": self.catalog, "VITAU_WORK": str(self.work)}


def folder_place(folder: Path) -> Place:
    """Return the place in a folder: SQLite and files."""
    return Place(store=(folder / "store").as_uri(), catalog=f"sqlite:///{folder / 'catalog.db'}", work=folder / "work")


def copy_for(flow: str, demo: Place, place: Place) -> None:
    """Copy the finished demo to a place, without the results of a flow; nothing at all for ingest."""
    if flow == "ingest":
        return
    source, target = open_store(demo.store), open_store(place.store)
    for key in source.keys("") if place.store != demo.store else ():
        if not key.startswith(tuple(OBJECTS.get(flow, ()))):
            target.put(key, source.get(key))
    rows = read_rows(demo.catalog, everything=True)
    engine = open_catalog(place.catalog).engine
    with engine.connect().execution_options(writing=True) as connection, connection.begin():
        for table in metadata.sorted_tables:
            if table.name not in RESULTS.get(flow, ()) and table.name not in WORKING and rows[table.name]:
                connection.execute(sa.insert(table), rows[table.name])
    engine.dispose()


def read_rows(url: str, *, everything: bool = False) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of every table that is compared, without volatile columns, or everything as it is."""
    engine = open_catalog(url).engine
    found: dict[str, list[dict[str, Any]]] = {}
    with engine.connect() as connection:
        for table in metadata.sorted_tables:
            if everything:
                order = list(table.primary_key) if table.name not in {"ledger", "merges"} else [table.c.offset]
                query = sa.select(*(column.label(column.key) for column in table.c)).order_by(*order)
                found[table.name] = [dict(row) for row in connection.execute(query).mappings()]
            elif table.name not in APART:
                columns = [column.label(column.key) for column in table.c if column.name not in VOLATILE]
                found[table.name] = [dict(row) for row in connection.execute(sa.select(*columns)).mappings()]
    engine.dispose()
    return found


def contents(place: Place) -> Counter[str]:
    """Return what a place holds, as comparable lines: rows without volatile columns, and object keys."""
    lines = Counter(
        f"{table} {json.dumps(row, sort_keys=True, default=str)}".replace(place.store, "store")
        for table, rows in read_rows(place.catalog).items()
        for row in rows
    )
    keys = (key for key in open_store(place.store).keys("") if not key.startswith(UNCOMPARED))
    return lines + Counter(f"object {key}" for key in keys)


def remove(place: Place) -> None:
    """Delete the files of a place in a folder."""
    shutil.rmtree(place.work.parent, ignore_errors=True)
