"""Inputs of the benchmark of the cores: drawn clips to ingest, a champion and people to score, and a snapshot to learn from."""

import csv
import shutil
from contextlib import chdir
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from flows.erasure.living import LivingRows
from flows.execution.clip_worker import checked_rows
from flows.promotion.registered_models import REGIONS
from flows.studies.core_folds import plan_folds
from flows.studies.engines import untrained
from flows.workspace import Workspace
from vitau.bench.pipelines.loader import write
from vitau.catalog.catalog import Training
from vitau.data.layout import model_key
from vitau.data.snapshot import SYNTHETIC_SOURCE, freeze, load, snapshot_schema
from vitau.media.synthetic.cohort import COLUMNS, write_cohort
from vitau.registry import registry
from vitau.registry.bundle import folder_digest
from vitau.schema import AUS, Cohort, Protocol, Split
from vitau.store import open_store

SEED: Final = 1
_EMPTY_BOX: Final = b"free"
"""The type of an MP4 box that players skip."""


def write_clips(folder: Path, num_clips: int, num_people: int) -> Path:
    """Write a manifest of clips, each of a person of its own; the drawings of ``num_people`` are repeated.

    The same bytes would be one clip to an ingest. A repeated clip therefore ends with an empty MP4 box of another length.
    """
    people = write_cohort(folder / "people", min(num_people, num_clips), SEED).parent
    drawn, clips = sorted((people / "clips").iterdir()), folder / "clips"
    clips.mkdir()
    manifest = folder / "manifest.csv"
    with manifest.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, COLUMNS)
        table.writeheader()
        for number in range(num_clips):
            clip = clips / f"{number:03d}.mp4"
            clip.write_bytes(drawn[number % len(drawn)].read_bytes() + _empty_box(number))
            row = {"subject": f"drawn-{number}", "clip": f"clips/{clip.name}", "source": SYNTHETIC_SOURCE, "consent": "drawn"}
            table.writerow({**row, "cohort": str(list(Cohort)[number % 2]), "licence": "CC0", "mirrored": "0"})
    return manifest


def _empty_box(length: int) -> bytes:
    return (8 + length).to_bytes(4, "big") + _EMPTY_BOX + bytes(length)


def freeze_all(workspace: Workspace) -> str:
    """Freeze the usable frames of all clips in a store as test people with made-up labels; return the digest."""
    parts = []
    for number, key in enumerate(sorted(key for key in workspace.store.keys("") if "/frames-" in key)):
        table = checked_rows(workspace.store, key)
        table = table.filter(pc.is_null(table["quarantine"])).select(["subject", "clip", "frame_index"])
        palsied = number % 2 == 0
        known: dict[str, Any] = {"frames_key": key, "source": SYNTHETIC_SOURCE, "split": str(Split.TEST)}
        known |= {"cohort": str(Cohort.PALSY if palsied else Cohort.CONTROL), "side": "left" if palsied else None}
        known |= {str(au): palsied for au in AUS}
        parts += [{**row, **known} for row in table.to_pylist()]
    snapshot = freeze(pa.Table.from_pylist(parts, snapshot_schema()), workspace.store, 0)
    workspace.catalog.add_snapshot(snapshot)
    return snapshot.digest


def crown(workspace: Workspace, snapshot: str, folder: Path, size: str = "tiny") -> None:
    """Make an untrained region model the champion of a registry without a server."""
    model, url = untrained(folder / "model", size, SEED), workspace.settings.mlflow_url
    with chdir(folder):  # a registry without a server keeps its files in the working directory
        version, run_id = registry.register(url, REGIONS, model, metrics={}, lineage={})
    registry.set_champion(url, REGIONS, version)
    digest = folder_digest(model)
    workspace.catalog.add_training(
        Training(
            key=digest,
            model=REGIONS,
            recipe=f"{size}-regions",
            snapshot=snapshot,
            model_digest=digest,
            model_key=model_key(digest),
            version=version,
            run_id=run_id,
            metrics={"protocol": str(Protocol.LOPO)},
        )
    )


def write_people(state: Path, num_people: int) -> tuple[str, int]:
    """Write drawn people as a snapshot into the store of a state; return its digest and the number of folds."""
    digest = write(state, num_people).digest
    for unused in ("cache", "images"):
        shutil.rmtree(state / unused)
    rows = load(open_store(state / "store"), digest)
    return digest, len(list(plan_folds(digest, LivingRows(rows=rows, num_erased=0)).tasks(rows)))
