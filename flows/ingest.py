"""The ingest flow: turn a manifest or a folder of clips into frame tables in the store that pass gate 1."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from typing import Final, TypeAlias

import pyarrow as pa
from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE

from flows.execution.clip_worker import Ingested, clip_work, clip_work_name, frames_version
from flows.execution.executor import Engine, Executor
from flows.execution.leases import LeaseHolder, open_batches
from flows.gates import gate
from flows.settings import Settings
from flows.workspace import Workspace, open_workspace
from validation.rules import frame_rows
from validation.suites import frames_suite
from vitau.catalog.catalog import FrameTable
from vitau.data.layout import clip_prefix
from vitau.errors import ContradictionError
from vitau.media.clips import RATE_FPS
from vitau.media.frames import FrameRecipe
from vitau.media.manifests import SourceClip, read_manifest
from vitau.media.sources import read_ckplus, read_photos, to_subject
from vitau.progress import track
from vitau.schema import Skipped

BATCH: Final = 64
"""Clips per Prefect task."""

Outcome: TypeAlias = "Recorded | Skipped"


class Layout(StrEnum):
    """The layout of a source."""

    MANIFEST = "manifest"
    CKPLUS = "ckplus"
    PHOTOS = "photos"


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """A clip that is in the catalog: its frame table, whether this run recorded it, and whether it cropped its faces."""

    table: FrameTable
    new: bool
    cut: bool


@dataclass(frozen=True, kw_only=True)
class IngestSummary:
    """The counts of one source.

    Attributes:
        clips: in the catalog now.
        new_clips: recorded by this run.
        cut_clips: whose faces this run cropped itself; of several workers at one source, each crops a part.
        frames: sampled from the clips.
        faces: frames with a face.
        quarantined: reason → number of frames.
        skipped: items that could not be used, each with its reason.
    """

    clips: int
    new_clips: int
    cut_clips: int
    frames: int
    faces: int
    quarantined: Mapping[str, int]
    skipped: tuple[Skipped, ...]

    @property
    def detection_rate(self) -> float:
        """Share of the sampled frames with a face, 0 to 1; 0 without a frame."""
        return self.faces / self.frames if self.frames else 0.0


@flow(name="ingest", flow_run_name="ingest-{layout}")
def ingest(
    source: Path,
    layout: Layout = Layout.MANIFEST,
    rate_fps: float = RATE_FPS,
    engine: Engine = Engine.LOCAL,
    settings: Settings | None = None,
) -> IngestSummary:
    """Write every clip of a source to the store, crop its faces, and quarantine bad frames.

    Any number of workers may ingest the same source at once: each clip is leased by one of them.
    """
    workspace = open_workspace(settings)
    clips, skipped = read_source(source, layout)
    outcomes = ingest_clips(workspace, clips, FrameRecipe(rate_fps=rate_fps), engine)
    record_skipped(workspace, source, outcomes, skipped)
    return summarize(outcomes, skipped)


def read_source(source: Path, layout: Layout) -> tuple[list[SourceClip], list[Skipped]]:
    """Return the clips of a source, and the items that are no clips."""
    match layout:
        case Layout.MANIFEST:
            return read_manifest(source)
        case Layout.CKPLUS:
            return read_ckplus(source)
        case Layout.PHOTOS:
            return read_photos(source)


def ingest_clips(workspace: Workspace, clips: Sequence[SourceClip], recipe: FrameRecipe, engine: Engine) -> list[Outcome]:
    """Ingest clips in batches, shared with other workers; return the outcome of each, in their order."""
    settings = workspace.settings
    lease_names: dict[int, str] = {}
    outcomes: dict[int, Outcome] = {}
    with Executor(engine, address=settings.ray_address, num_workers=settings.num_processes) as executor:
        for indices in open_batches(workspace.catalog, len(clips), lease_names, outcomes, BATCH):
            for index in indices:
                if index not in lease_names:
                    lease_names[index] = clip_work_name(clips[index], pseudonym_key(workspace), recipe)
            batch = {index: (lease_names[index], clips[index]) for index in indices}
            outcomes |= ingest_batch(workspace, batch, recipe, executor)
    return [outcomes[index] for index in range(len(clips))]


@task(cache_policy=NO_CACHE)
def ingest_batch(
    workspace: Workspace, batch: Mapping[int, tuple[str, SourceClip]], recipe: FrameRecipe, executor: Executor
) -> dict[int, Outcome]:
    """Ingest the clips of a batch that no other worker holds: crop faces, pass gate 1, record them in the catalog.

    Args:
        workspace: the rows and the objects.
        batch: index of the clip → the name of its lease and the clip.
        recipe: of the frames.
        executor: runs the work on the clips.

    Returns:
        Index of the clip → its outcome. Clips that another worker holds are missing.
    """
    settings = workspace.settings
    leased: list[int] = []
    with LeaseHolder(workspace.catalog, settings.lease_s) as leases:

        def acquire_clips() -> Iterator[SourceClip]:
            for index, (lease_name, clip) in batch.items():
                if leases.acquire(lease_name):
                    leased.append(index)
                    yield clip

        work = clip_work(settings.store, pseudonym_key(workspace), recipe, work=settings.work)
        num_processes = min(settings.num_processes or os.cpu_count() or 1, len(batch))
        results = executor.run(acquire_clips(), work, num_processes=num_processes)
        ingested = list(track(results, "cropping faces", len(batch)))
        check_new_frames(workspace, ingested, recipe)
        outcomes = [record(workspace, clip) if isinstance(clip, Ingested) else clip for clip in ingested]
    return dict(zip(leased, outcomes, strict=True))


def check_new_frames(workspace: Workspace, ingested: Sequence[Ingested | Skipped], recipe: FrameRecipe) -> None:
    """Pass gate 1 with the frames of the clips that are not in the catalog yet."""
    known = {table.clip for table in workspace.catalog.frame_tables(frames_version(recipe))}
    new = [clip.rows for clip in ingested if isinstance(clip, Ingested) and clip.clip.sha256 not in known]
    if new:
        rows = pa.concat_tables(new)
        gate(workspace, frame_rows(rows.drop_columns(["quarantine"]), rows["quarantine"].to_pylist()), frames_suite())


def record(workspace: Workspace, ingested: Ingested) -> Outcome:
    """Record a clip in the catalog; if it contradicts the catalog, erase its objects and skip it."""
    clip, catalog = ingested.clip, workspace.catalog
    try:
        catalog.add_subject(to_subject(ingested.source, pseudonym_key(workspace)))
        catalog.add_clip(clip)
    except ContradictionError as error:
        workspace.store.erase(clip_prefix(clip.subject, clip.sha256))
        return Skipped(item=ingested.source.row, reason=str(error))
    return Recorded(table=ingested.frames, new=catalog.add_frame_table(ingested.frames), cut=ingested.cut)


def record_skipped(workspace: Workspace, source: Path, outcomes: Sequence[Outcome], skipped: Sequence[Skipped]) -> None:
    """Replace the catalog's list of the items of a source that were skipped."""
    left_out = all_skipped(outcomes, skipped)
    workspace.catalog.set_skipped(skip_list_name(source), left_out)
    if left_out:  # only a count: a reason may name a file, and a file name may name a person
        total = len(outcomes) + len(skipped)
        get_run_logger().warning("%d of %d items were skipped; the catalog has the reasons", len(left_out), total)


def summarize(outcomes: Sequence[Outcome], skipped: Sequence[Skipped]) -> IngestSummary:
    """Count the outcomes of a source."""
    recorded = [outcome for outcome in outcomes if isinstance(outcome, Recorded)]
    return IngestSummary(
        clips=len(recorded),
        new_clips=sum(clip.new for clip in recorded),
        cut_clips=sum(clip.cut for clip in recorded),
        frames=sum(clip.table.num_frames for clip in recorded),
        faces=sum(clip.table.num_faces for clip in recorded),
        quarantined=dict(sum((Counter(clip.table.quarantined) for clip in recorded), Counter())),
        skipped=all_skipped(outcomes, skipped),
    )


def all_skipped(outcomes: Sequence[Outcome], skipped: Sequence[Skipped]) -> tuple[Skipped, ...]:
    """Return the items that are no clips, and the clips that could not be used."""
    return (*skipped, *(outcome for outcome in outcomes if isinstance(outcome, Skipped)))


def pseudonym_key(workspace: Workspace) -> bytes:
    """Return the key of the HMAC that makes pseudonyms."""
    return workspace.settings.require_pseudonym_key()


def skip_list_name(source: Path) -> str:
    """Return the name of a source's list of skipped items: a digest, since its path may name a person."""
    return sha256(str(source.resolve()).encode()).hexdigest()[:16]
