"""Several workers that score the same people with leases."""

import multiprocessing
import os
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from flows import rescore
from flows.execution import subject_worker
from flows.execution.clip_worker import clip_work, local_source
from flows.execution.executor import Engine
from flows.settings import Settings
from flows.studies.engines import untrained, usable
from flows.workspace import Workspace
from tests.load.measure import Clock, Figures, run_writers
from vitau.media.frames import FrameRecipe
from vitau.media.manifests import read_manifest
from vitau.media.sources import to_subject
from vitau.media.synthetic.cohort import write_cohort
from vitau.registry.bundle import folder_digest
from vitau.schema import Cohort, Subject

DRAWN: Final = 3
"""People who are drawn; the others have copies of their frames."""
FRAMES: Final = "frames.parquet"
_KEY: Final = "the key of the load's pseudonyms"


def score_once(folder: Path, catalog: str, *, workers: int, people: int) -> Figures:
    """Score people by several worker processes at once, and count how often each was scored.

    The path is that of `rescore` (leases, shards, scores and overlays in the store, rows in the catalog) without Prefect's
    task around a shard and without MLflow: the model has random weights.
    """
    settings = Settings(
        store=(folder / "store").as_uri(),
        catalog=catalog,
        pseudonym_key=_KEY,
        label_studio_url="http://127.0.0.1:1",
        label_studio_token="none",
        mlflow_url="http://127.0.0.1:1",
        work=folder / "work",
    )
    # in a process of its own: the libraries' threads, which it starts, would not survive the fork of the workers
    preparation = multiprocessing.get_context("fork").Process(target=_prepare, args=(settings, folder, people))
    preparation.start()
    preparation.join()
    model, scored = folder / "model", folder / "scored"

    def score(_: int, clock: Clock) -> int:
        frames = pq.read_table(folder / FRAMES)
        subject_worker.score_subject = partial(_noted, subject_worker.score_subject, scored, clock)  # type: ignore[assignment]
        rescore.score_shard = rescore.score_shard.fn  # type: ignore[assignment]  # needs no server
        return rescore.score_people(Workspace(settings), model, frames, Engine.LOCAL)

    wall_s, latencies_s, ours = run_writers(score, processes=workers, threads=1)
    times = Counter(scored.read_text().split())
    workspace = Workspace(settings)
    rows = Counter(row.subject for row in workspace.catalog.scores(folder_digest(model)))
    left = len(workspace.catalog.leases())
    workspace.catalog.engine.dispose()
    return Figures(
        name=f"{workers} scoring workers",
        pieces=people,
        lost=people - len(rows),
        duplicated=sum(times.values()) - len(times) + sum(rows.values()) - len(rows) + max(0, sum(ours) - people),
        wall_s=wall_s,
        latencies_s=latencies_s,
        note=f"people; {min(ours)} to {max(ours)} per worker, {left} leases left",
    )


def _noted(score_subject: Any, scored: Path, clock: Clock, *arguments: Any) -> Any:
    """Score a subject, and note it in a file to which all workers append."""
    with clock.timed():
        result = score_subject(*arguments)
    descriptor = os.open(scored, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(descriptor, f"{result.subject}\n".encode())
    os.close(descriptor)
    return result


def _prepare(settings: Settings, folder: Path, people: int) -> None:
    """Write a model, and list the frames of as many people as wanted: a few are drawn, the others have the same pictures."""
    untrained(folder / "model", "tiny", seed=3)
    write_cohort(folder / "cohort", DRAWN, seed=11, frames_per_task=1, num_processes=1)
    sources, _ = read_manifest(folder / "cohort" / "manifest.csv")
    work = clip_work(settings.store, FrameRecipe())
    workspace = Workspace(settings)
    tables: list[pa.Table] = []
    for source in sources[:DRAWN]:
        workspace.catalog.add_subject(to_subject(source, _KEY.encode()))
        tables.append(usable(work(local_source(source, _KEY.encode()))))
    copies = [_renamed(tables[number % len(tables)], f"{number:020x}") for number in range(people)]
    for number in range(people):
        workspace.catalog.add_subject(Subject(pseudonym=f"{number:020x}", cohort=Cohort.PALSY, source="load"))
    workspace.catalog.engine.dispose()
    pq.write_table(pa.concat_tables(copies), folder / FRAMES)


def _renamed(table: pa.Table, subject: str) -> pa.Table:
    position = table.schema.get_field_index("subject")
    return table.set_column(position, "subject", pa.array([subject] * table.num_rows))
