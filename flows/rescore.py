"""From champions and people to scores, overlays and the report; whoever is scored already is not scored again."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from flows.material import materials, read_frames
from flows.page import build_report
from flows.retrain import REGIONS
from flows.workspace import Workspace, open_workspace, progress
from vitau.catalog import ScoredSubject
from vitau.data import snapshot as snapshots
from vitau.media.frames import decode_crops
from vitau.schema import Split
from vitau.scoring import registry
from vitau.scoring.aggregate import aggregate
from vitau.scoring.overlays import draw_overlays, evenly
from vitau.scoring.predict import Predictor, score_rows, score_table
from vitau.scoring.report import Report, write_report

OVERLAID_FRAMES: Final = 3
"""Frames per person with overlays, spread evenly over those scored."""


@dataclass(frozen=True, kw_only=True)
class RescoreSummary:
    """What a scoring came to: people scored, in all and by this run, the overlays that show why, and people left out."""

    subjects: int
    new_subjects: int
    overlays: int
    not_scored: int


@flow(name="rescore")
def rescore(snapshot: str, report: Path, *, waiting: bool = False) -> RescoreSummary:
    """Score the held-out people of a snapshot with the champions, and write the report.

    With ``waiting``, score the patients without labels as well, whom the report leaves out: the scores say whom to ask about
    next.
    """
    workspace = open_workspace()
    folder = fetch_champion(workspace)
    frames = held_out_frames(workspace, snapshot)
    new_subjects = score_people(workspace, folder, frames)
    if waiting:
        new_subjects += score_people(workspace, folder, waiting_frames(workspace))
    page = write_page(workspace, folder, snapshot, report)
    return RescoreSummary(
        subjects=len(page.subjects),
        new_subjects=new_subjects,
        overlays=sum(len(frame.overlays) for subject in page.subjects for frame in subject.key_frames),
        not_scored=len(page.skipped),
    )


@task(cache_policy=NO_CACHE)
def write_page(workspace: Workspace, folder: Path, snapshot: str, path: Path) -> Report:
    """Write the report about everybody whom the champion scored in this snapshot's test split."""
    page = build_report(workspace, Predictor.load(folder), registry.folder_digest(folder), snapshot)
    write_report(page, path)
    return page


@task(cache_policy=NO_CACHE)
def fetch_champion(workspace: Workspace) -> Path:
    """Fetch the region champion, which brings the recognition that judges first."""
    version = registry.champion(workspace.settings.mlflow_url, REGIONS)
    return registry.download(
        workspace.settings.mlflow_url, f"models:/{REGIONS}/{version}", workspace.folder("champions") / f"{REGIONS}-{version}"
    )


@task(cache_policy=NO_CACHE)
def held_out_frames(workspace: Workspace, snapshot: str) -> pa.Table:
    """List the frames of the test people, as the snapshot froze them."""
    rows = snapshots.load(workspace.store, snapshot)
    return rows.filter(pc.equal(rows["split"], Split.TEST.value))


@task(cache_policy=NO_CACHE)
def waiting_frames(workspace: Workspace) -> pa.Table:
    """List the usable frames of the patients who have no labels yet."""
    labelled = {answer.subject for answer in workspace.catalog.labels()}
    parts = []
    for subject, material in materials(workspace).items():
        for table in material.tables if subject not in labelled else ():
            frames, kept = read_frames(workspace, table, ["frame_index"])
            index = frames.filter(kept)["frame_index"]
            parts.append(
                pa.table({"subject": [subject] * len(index), "frame_index": index, "frames_key": [table.key] * len(index)})
            )
    schema = pa.schema([("subject", pa.string()), ("frame_index", pa.int32()), ("frames_key", pa.string())])
    return pa.concat_tables([schema.empty_table(), *parts])


@task(cache_policy=NO_CACHE)
def score_people(workspace: Workspace, folder: Path, frames: pa.Table) -> int:
    """Score everybody who has no score by this champion yet; returns how many that were."""
    digest = registry.folder_digest(folder)
    done = {score.subject for score in workspace.catalog.scores(digest)}
    waiting = [subject for subject in pc.unique(frames["subject"]).to_pylist() if subject not in done]
    if not waiting:
        return 0
    predictor = Predictor.load(folder)
    for subject in progress(waiting, "scoring people", len(waiting)):
        score_person(workspace, predictor, digest, frames.filter(pc.equal(frames["subject"], subject)))
    return len(waiting)


def score_frames(predictor: Predictor, table: pa.Table) -> list[dict[str, Any]]:
    """Score some frames of one clip, as rows of ``SCORE_COLUMNS``."""
    return score_rows(
        predictor.score_crops(decode_crops(table)),
        name=table["clip"][0].as_py(),
        frame_index=table["frame_index"].to_pylist(),
        time_s=table["time_s"].to_pylist(),
        box=table["box"].to_pylist(),
    )


def score_person(workspace: Workspace, predictor: Predictor, digest: str, frames: pa.Table) -> None:
    """Score one person's frames, draw the overlays, keep both in the store; the row in the catalog comes last."""
    subject = frames["subject"][0].as_py()
    prefix = f"scores/{digest}/{subject}"
    tables = [read_crops(workspace, frames, key) for key in pc.unique(frames["frames_key"]).to_pylist()]
    scored = score_table(row for table in tables for row in score_frames(predictor, table))
    sink = io.BytesIO()
    pq.write_table(scored, sink)
    workspace.store.put(f"{prefix}/frames.parquet", sink.getvalue())
    key_frames = keep_overlays(workspace, predictor, prefix, pa.concat_tables(tables), scored)
    answer = aggregate(scored, predictor.threshold)
    assert answer is not None, "a snapshot has no person without a frame"
    row = ScoredSubject(
        model_digest=digest,
        subject=subject,
        key=f"{prefix}/frames.parquet",
        summary=answer.summary() | {"key_frames": key_frames},
    )
    workspace.catalog.add_score(row)


def read_crops(workspace: Workspace, frames: pa.Table, key: str) -> pa.Table:
    """Read those rows of a frame table that are among ``frames``."""
    wanted = frames.filter(pc.equal(frames["frames_key"], key))["frame_index"]
    table = pq.read_table(io.BytesIO(workspace.store.get(key)), columns=["clip", "frame_index", "time_s", "box", "crop"])
    return table.filter(pc.is_in(table["frame_index"], wanted.combine_chunks()))


def keep_overlays(
    workspace: Workspace, predictor: Predictor, prefix: str, table: pa.Table, scored: pa.Table
) -> list[dict[str, Any]]:
    """Draw the evidence in a few frames and keep it; returns per frame its score and the keys of its pictures by name."""
    places = evenly(table.num_rows, OVERLAID_FRAMES)
    rows = scored.take(places).to_pylist()
    drawn = draw_overlays(predictor, decode_crops(table.take(places)), np.array([row["analysed"] for row in rows]))
    kept = []
    for row, pictures in zip(rows, drawn, strict=True):
        keys = {name: f"{prefix}/{row['input'][:16]}-{row['frame_index']}-{name}.jpg" for name in pictures}
        for name, jpeg in pictures.items():
            workspace.store.put(keys[name], jpeg)
        kept.append({"label": f"at {row['time_s']:.1f} s", "palsy_score": row["palsy_score"], "pictures": keys})
    return kept
