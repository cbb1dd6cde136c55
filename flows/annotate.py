"""From frames to one answer per person: push tasks, pull answers, find what the readers say together."""

import io
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE

from flows.clip_batch import frames_version
from flows.gates import gate
from flows.labels import agree
from flows.workspace import Workspace, open_workspace, progress
from labeling import sync
from labeling.consensus import Consensus
from labeling.sync import ReaderProject, S3Access
from labeling.tasks import build_adjudication_task, build_task, choose_key_frames, image_url
from validation.rules import label_rows
from validation.suites import labels_suite
from vitau.catalog import FrameTable
from vitau.schema import AUS, Cohort, RegionLabels, Stage
from vitau.store import S3Store

ADJUDICATOR: Final = "adjudicator"
KEY_FRAMES: Final = 8
PLAYABLE: Final = frozenset({".mp4", ".m4v", ".webm", ".mov"})
"""What a browser may be able to play; Label Studio shows a black picture where it cannot."""

QUALITY: Final = ("sharpness", "detector_score", "yaw_deg", "pitch_deg")


@dataclass(frozen=True, kw_only=True)
class AnnotateSummary:
    """How the labels stand: people pushed to the readers in this run, labelled, waiting for a reader, disputed, adjudicated."""

    pushed: int
    new_answers: int
    labelled: int
    waiting: int
    disputed: int
    adjudicated: int
    agreement: float | None
    alpha: float | None
    ledger_offset: int


@flow(name="annotate")
def annotate() -> AnnotateSummary:
    """Give the readers whom they have not seen, take in what they said, and hand their disagreements to the adjudicator."""
    workspace = open_workspace()
    readers, adjudication = open_projects(workspace)
    pushed = push_tasks(workspace, readers)
    new_answers = pull_answers(workspace, [*readers, adjudication])
    agreed = find_consensus(workspace)
    push_disagreements(workspace, adjudication, agreed)
    return AnnotateSummary(
        pushed=pushed,
        new_answers=new_answers,
        labelled=len(agreed.labels),
        waiting=len(agreed.waiting),
        disputed=len(agreed.disagreements),
        adjudicated=len(agreed.adjudicated),
        agreement=agreed.agreement.raw,
        alpha=agreed.agreement.alpha,
        ledger_offset=workspace.catalog.ledger_offset(),
    )


@task(cache_policy=NO_CACHE)
def open_projects(workspace: Workspace) -> tuple[list[ReaderProject], ReaderProject]:
    """Find or make one project per blind reader, and the adjudicator's."""
    store = workspace.store
    s3 = S3Access(**asdict(store.access())) if isinstance(store, S3Store) else None
    open_project = partial(sync.ensure_project, connect(workspace), store_uri=workspace.settings.store, s3=s3)
    readers = [open_project(f"ViTAU {reader}", reader=reader, stage=Stage.READER) for reader in workspace.settings.readers]
    return readers, open_project("ViTAU adjudication", reader=ADJUDICATOR, stage=Stage.ADJUDICATION)


@task(cache_policy=NO_CACHE)
def push_tasks(workspace: Workspace, readers: Sequence[ReaderProject]) -> int:
    """Give every reader the palsied people about whom the ledger has no answer yet; returns how many people are new to them."""
    answered = {row.subject for row in workspace.catalog.ledger()}
    unread = [subject for subject in palsied(workspace) if subject not in answered]
    tasks = reader_tasks(workspace, unread)
    client = connect(workspace)
    return max((sync.push(client, reader, list(tasks.values())) for reader in readers), default=0)


@task(cache_policy=NO_CACHE)
def pull_answers(workspace: Workspace, projects: Sequence[ReaderProject]) -> int:
    """Append to the ledger what the projects say; returns how many rows are new."""
    client, catalog = connect(workspace), workspace.catalog
    subjects = catalog.pseudonyms()
    new = 0
    for project in projects:
        pulled = sync.pull(client, project, subjects)
        new += catalog.append_answers(pulled.rows)
        catalog.add_unusable_frames(pulled.unusable_frames)
        catalog.set_skipped(f"label-studio-{project.id}", pulled.skipped)
        if pulled.skipped:
            get_run_logger().warning(
                "%d answers of %s cannot be read; the catalog says why", len(pulled.skipped), project.title
            )
    return new


@task(cache_policy=NO_CACHE)
def find_consensus(workspace: Workspace) -> Consensus:
    """Find the one answer per person in the ledger, pass gate 2, and make it the labels."""
    catalog = workspace.catalog
    offset = catalog.ledger_offset()
    agreed = agree(workspace, catalog.ledger(upto=offset))
    if list(agreed.labels) != catalog.labels():
        if agreed.labels:  # none are left where every answer was taken back
            cohorts = {subject.pseudonym: subject.cohort for subject in catalog.subjects()}
            rows = label_rows(label_table(agreed.labels), cohorts, agreed.agreement.raw)
            gate(workspace, rows, labels_suite(workspace.settings.agreement_floor))
        catalog.set_labels(agreed.labels, ledger_offset=offset)
    return agreed


@task(cache_policy=NO_CACHE)
def push_disagreements(workspace: Workspace, adjudication: ReaderProject, agreed: Consensus) -> int:
    """Hand the adjudicator the people about whom the readers differ, with what each reader said."""
    if not agreed.disagreements:
        return 0
    answers = [row for row in workspace.catalog.ledger() if row.stage is Stage.READER]
    tasks = reader_tasks(workspace, [open_case.subject for open_case in agreed.disagreements])
    cases = [
        build_adjudication_task(
            tasks[open_case.subject],
            [row for row in answers if row.subject == open_case.subject],
            open_case.regions,
            side=open_case.side,
        )
        for open_case in agreed.disagreements
    ]
    return sync.push(connect(workspace), adjudication, cases)


def connect(workspace: Workspace) -> Any:
    """Open Label Studio as the settings say."""
    return sync.connect(workspace.settings.label_studio_url, workspace.settings.label_studio_token.get_secret_value())


def palsied(workspace: Workspace) -> list[str]:
    """Return the people who are asked about: a control has no affected region."""
    return [subject.pseudonym for subject in workspace.catalog.subjects() if subject.cohort is Cohort.PALSY]


def reader_tasks(workspace: Workspace, subjects: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Build the task of each person from their key frames, which are put into the store as pictures; nobody without a face."""
    tables: dict[str, list[FrameTable]] = {subject: [] for subject in subjects}
    owners = {clip.sha256: clip.subject for clip in workspace.catalog.clips()}
    for table in workspace.catalog.frame_tables(frames_version()):
        if (owner := owners[table.clip]) in tables:
            tables[owner].append(table)
    drawn = {subject.pseudonym for subject in workspace.catalog.subjects() if subject.synthetic}
    recordings = clip_urls(workspace)
    built = {
        subject: key_frame_task(workspace, subject, tables[subject], synthetic=subject in drawn, clips=recordings[subject])
        for subject in progress(tables, "choosing key frames", len(tables))
    }
    return {subject: ready for subject, ready in built.items() if ready is not None}


def key_frame_task(
    workspace: Workspace, subject: str, tables: Iterable[FrameTable], *, synthetic: bool, clips: Sequence[str] = ()
) -> dict[str, Any] | None:
    """Build one person's task, ``None`` if no frame of theirs is usable."""
    usable = [usable_frames(workspace, table) for table in tables]
    frames = pa.concat_tables(usable) if usable else None
    if frames is None or not frames.num_rows:
        return None
    landmarks = np.asarray(frames["crop_landmarks"].combine_chunks().flatten()).reshape(frames.num_rows, -1)
    quality = {name: frames[name].to_numpy() for name in QUALITY}
    shown = frames.take(choose_key_frames(landmarks, quality, KEY_FRAMES)).select(["clip", "frame_index", "crop"]).to_pylist()
    keys = [f"subjects/{subject}/keyframes/{row['clip'][:16]}-{row['frame_index']}.jpg" for row in shown]
    for key, row in zip(keys, shown, strict=True):
        workspace.store.put(key, row["crop"])
    images = [image_url(workspace.store.uri, key) for key in keys]
    frame_names = [f"{row['clip']}:{row['frame_index']}" for row in shown]
    return build_task(subject, images, frame_names, synthetic=synthetic, clips=clips)


def clip_urls(workspace: Workspace) -> Mapping[str, list[str]]:
    """Find where Label Studio plays each person's clips; a part of a longer recording is left out, its rest may show others."""
    urls: dict[str, list[str]] = defaultdict(list)
    for clip in workspace.catalog.clips():
        if clip.suffix in PLAYABLE and clip.start_s is None and clip.end_s is None:
            key = f"subjects/{clip.subject}/clips/{clip.sha256}/raw{clip.suffix}"
            urls[clip.subject].append(image_url(workspace.store.uri, key))
    return urls


def usable_frames(workspace: Workspace, table: FrameTable) -> pa.Table:
    """Read the frames of a clip that are not in quarantine."""
    frames = pq.read_table(io.BytesIO(workspace.store.get(table.key)))
    quarantined = pq.read_table(io.BytesIO(workspace.store.get(table.quarantine_key)))["frame_index"]
    kept = ~np.isin(frames["frame_index"].to_numpy(), quarantined.to_numpy())
    return frames.filter(pa.array(kept))


def label_table(labels: Iterable[RegionLabels]) -> pd.DataFrame:
    """Lay labels out as gate 2 reads them: one row per person and AU."""
    rows: list[Mapping[str, Any]] = [
        {"subject": answer.subject, "au": au.value, "affected": answer.affected[au], "side": answer.side and str(answer.side)}
        for answer in labels
        for au in AUS
        if au in answer.affected
    ]
    return pd.DataFrame(rows, columns=["subject", "au", "affected", "side"])
