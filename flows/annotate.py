"""From frames to one answer per person: push tasks, pull answers, find what the readers say together."""

import io
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from flows.clip_batch import frames_version
from flows.gates import gate
from flows.labels import agree
from flows.pull import ADJUDICATOR, AS_USUAL, PullOptions, palsied, pull_answers, standing_answers
from flows.workspace import Workspace, open_workspace, progress
from labeling import sync
from labeling.connections import Receiver, S3Access
from labeling.consensus import Consensus
from labeling.reading import ReaderProject
from labeling.sync import passed
from labeling.tasks import build_adjudication_task, build_task, choose_key_frames, image_url
from validation.rules import label_rows
from validation.suites import labels_suite
from vitau.catalog import FrameTable
from vitau.schema import AUS, RegionLabels, Stage
from vitau.store import S3Store

KEY_FRAMES: Final = 8
PLAYABLE: Final = frozenset({".mp4", ".m4v", ".webm", ".mov"})
"""What a browser may be able to play; Label Studio shows a black picture where it cannot."""

QUALITY: Final = ("sharpness", "detector_score", "yaw_deg", "pitch_deg")


@dataclass(frozen=True, kw_only=True)
class AnnotateSummary:
    """How the labels stand: people pushed to the readers in this run, labelled, waiting for a reader, disputed, adjudicated.

    ``notices`` are sentences for the operator: answers that vanished as if by accident, and that stand until somebody decides.
    """

    pushed: int
    new_answers: int
    labelled: int
    waiting: int
    disputed: int
    adjudicated: int
    agreement: float | None
    alpha: float | None
    ledger_offset: int
    notices: tuple[str, ...] = ()


@flow(name="annotate")
def annotate(*, whole: bool = False, accept_deletions: bool = False, only: int | None = None) -> AnnotateSummary:
    """Give the readers whom they have not seen, take in what they said, and hand their disagreements to the adjudicator.

    With ``only``, the number of a project in Label Studio that changed, nobody new is asked and no other project is read.
    """
    return one_round(open_workspace(), PullOptions(whole=whole, accept_deletions=accept_deletions), only=only)


def one_round(
    workspace: Workspace,
    options: PullOptions = AS_USUAL,
    *,
    only: int | None = None,
    at: Callable[[str], None] = passed,
) -> AnnotateSummary:
    """The flow's steps; ``at`` is told after each, so that a test can stop it there."""
    readers, adjudication = open_projects(workspace)
    at("opened the projects")
    pushed = push_tasks(workspace, readers, at=at) if only is None else 0
    changed = [project for project in (*readers, adjudication) if only in {None, project.id}]
    new_answers, notices = pull_answers(workspace, changed, options, at=at)
    agreed = find_consensus(workspace)
    at("found the consensus")
    push_disagreements(workspace, adjudication, agreed, at=at)
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
        notices=notices,
    )


@task(cache_policy=NO_CACHE)
def open_projects(workspace: Workspace) -> tuple[list[ReaderProject], ReaderProject]:
    """Find or make one project per blind reader, and the adjudicator's."""
    store, settings = workspace.store, workspace.settings
    open_project = partial(
        sync.ensure_project,
        workspace.label_studio,
        store_uri=settings.store,
        s3=S3Access(**asdict(store.access())) if isinstance(store, S3Store) else None,
        receiver=receiver(workspace),
    )
    readers = [open_project(f"ViTAU {reader}", reader=reader, stage=Stage.READER) for reader in settings.readers]
    return readers, open_project("ViTAU adjudication", reader=ADJUDICATOR, stage=Stage.ADJUDICATION)


@task(cache_policy=NO_CACHE)
def push_tasks(workspace: Workspace, readers: Sequence[ReaderProject], *, at: Callable[[str], None] = passed) -> int:
    """Give every reader the palsied people about whom they have said nothing; returns how many people are new to them.

    The pictures are looked for only where a project lacks somebody: a round in which nothing is new costs one list per project.
    """
    client = workspace.label_studio
    heard = standing_answers(workspace)
    everybody = palsied(workspace)
    missing = {
        reader: sync.lacking(client, reader, [subject for subject in everybody if (reader.reader, subject) not in heard])
        for reader in readers
    }
    at("asked what the projects lack")
    tasks = reader_tasks(workspace, sorted({subject for lacking in missing.values() for subject in lacking}))
    at("made the tasks")
    return max(
        (
            sync.push(client, reader, [tasks[subject] for subject in lacking if subject in tasks], at=at)
            for reader, lacking in missing.items()
        ),
        default=0,
    )


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
def push_disagreements(
    workspace: Workspace, adjudication: ReaderProject, agreed: Consensus, *, at: Callable[[str], None] = passed
) -> int:
    """Hand the adjudicator the people about whom the readers differ, with what each reader said."""
    if not agreed.disagreements:
        return 0
    client = workspace.label_studio
    lacking = sync.lacking(client, adjudication, [open_case.subject for open_case in agreed.disagreements])
    answers = [row for row in workspace.catalog.ledger() if row.stage is Stage.READER]
    tasks = reader_tasks(workspace, lacking)
    cases = [
        build_adjudication_task(
            tasks[open_case.subject],
            [row for row in answers if row.subject == open_case.subject],
            open_case.regions,
            side=open_case.side,
        )
        for open_case in agreed.disagreements
        if open_case.subject in tasks
    ]
    return sync.push(client, adjudication, cases, at=at)


def receiver(workspace: Workspace) -> Receiver | None:
    """Return where Label Studio should say that answers changed, if the settings name a place."""
    settings = workspace.settings
    if settings.webhook_url is None or settings.webhook_secret is None:
        return None
    return Receiver(url=settings.webhook_url, secret=settings.webhook_secret.get_secret_value())


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
    whole = {
        clip.sha256: clip
        for clip in workspace.catalog.clips()
        if clip.suffix in PLAYABLE and clip.start_s is None and clip.end_s is None
    }
    urls: dict[str, list[str]] = defaultdict(list)
    for table in workspace.catalog.frame_tables(frames_version()):
        if table.clip in whole:
            clip = whole[table.clip]
            folder, _, _ = table.key.rpartition("/")  # not the person's name: a merged one's objects lie where they were put
            urls[clip.subject].append(image_url(workspace.store.uri, f"{folder}/raw{clip.suffix}"))
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
