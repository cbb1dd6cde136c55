"""Workspaces for the chaos runs: copies of one finished demo, each without the results of the flow that is disturbed."""

import csv
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

VOLATILE: Final = frozenset({"recorded_at", "finished_at", "expires_at", "owner", "token", "run_id", "metrics", "receipt"})
"""Columns that are not compared: times, names of runs, and metrics with a duration. Of a receipt the counts are compared."""
VOLATILE_OF: Final[Mapping[str, frozenset[str]]] = {
    # two rounds at once append the same answers in another order; the details are salted, and the digests contain both
    "ledger": frozenset({"offset", "details", "digest"}),
    "ledger_details": frozenset({"offset", "salt"}),
    "ledger_newest": frozenset({"offset"}),
    "snapshots": frozenset({"ledger_digest"}),
}
"""More columns that are not compared, by table."""
APART: Final = frozenset({"claims", "lease_tokens", "promotions", "alembic_version", "pulls", "objects"})
"""Tables of running work and of counters. Promotions are signed texts with times: they are compared by their facts."""
WORKING: Final = frozenset({"claims", "lease_tokens"})
"""Tables of running work, which a copy starts anew."""
COUNTED: Final = ("objects", "tasks", "answers", "rows")
"""Counts of a receipt that are compared. Those of logs and of Prefect's runs depend on the runs before."""
UNCOMPARED: Final = ("checkpoints/", "models/", "validation/", "reports/", "monitoring/")
"""Prefixes of objects that are not compared: working copies, and pages whose names hold a time."""
LEDGER: Final = ("ledger", "ledger_details", "ledger_newest", "consensus", "labels", "pulls", "seen_annotations", "comparisons")
RESULTS: Final[Mapping[str, Sequence[str]]] = {
    "annotate": LEDGER,
    "freeze": ("scores", "trainings", "snapshots", "splits"),
    "retrain": ("scores", "trainings", "promotions"),
    "promote": ("promotions",),
    "rescore": ("scores",),
    "monitor": ("scores", "priorities"),
}
"""The tables that a flow and its successors write, by flow; a copy for that flow has none of their rows."""
OBJECTS: Final[Mapping[str, Sequence[str]]] = {
    "freeze": ("scores/", "snapshots/", "models/", "reports/"),
    "retrain": ("scores/", "models/", "reports/", "checkpoints/"),
    "rescore": ("scores/", "reports/"),
    "monitor": ("scores/", "monitoring/"),
}
"""The objects that a copy for a flow has none of."""


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


def part_of(manifest: Path, clips: int, folder: Path) -> Path:
    """Write a manifest of the first clips of another one; return its path."""
    with manifest.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))[:clips]
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / "manifest.csv"
    with part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows({**row, "clip": str(manifest.parent / row["clip"])} for row in rows)
    return part


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
                left_out = VOLATILE | VOLATILE_OF.get(table.name, frozenset())
                columns = [column.label(column.key) for column in table.c if column.name not in left_out]
                query = sa.select(*columns or [sa.literal(1).label("row")]).select_from(table)  # at least their number
                found[table.name] = [dict(row) for row in connection.execute(query).mappings()]
    engine.dispose()
    return found


def contents(place: Place) -> Counter[str]:
    """Return what a place holds, as comparable lines: rows without volatile columns, decisions, counts, and object keys."""
    lines = Counter(
        f"{table} {json.dumps(row, sort_keys=True, default=str)}".replace(place.store, "store")
        for table, rows in read_rows(place.catalog).items()
        for row in rows
    )
    everything = read_rows(place.catalog, everything=True)
    for row in everything["promotions"]:
        facts = json.loads(row["record"])
        lines[
            f"promotion { {name: facts.get(name) for name in ('number', 'model', 'version', 'action', 'before', 'after')} }"
        ] += 1
    for row in everything["erasures"]:
        counts = (row["receipt"] or {}).get("deleted", {})
        lines[f"erasure of { {name: counts.get(name) for name in COUNTED} }"] += 1
    keys = (key for key in open_store(place.store).keys("") if not key.startswith(UNCOMPARED))
    return lines + Counter(f"object {key}" for key in keys)


def remove(place: Place) -> None:
    """Delete the files of a place in a folder."""
    shutil.rmtree(place.work.parent, ignore_errors=True)
