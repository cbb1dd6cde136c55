"""From a manifest or a tree of clips to frame tables in the store, each past gate 1."""

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

Outcome: TypeAlias = "Entered | Skipped"


class Layout(StrEnum):
    """How a source is laid out."""

    MANIFEST = "manifest"
    CKPLUS = "ckplus"
    PHOTOS = "photos"


@dataclass(frozen=True, kw_only=True)
class Entered:
    """A clip that is in the catalog: its frame table, whether this run entered it, and whether it cut its faces."""

    table: FrameTable
    new: bool
    cut: bool


@dataclass(frozen=True, kw_only=True)
class IngestSummary:
    """What came of a source: clips by outcome, their frames, and everything that was skipped, with its reason.

    ``cut_clips`` are those whose faces this run cut itself; of several workers at one source, each cuts a part.
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
        """Share of the sampled frames in which the person's face was found; 0 without a frame."""
        return self.faces / self.frames if self.frames else 0.0


@flow(name="ingest", flow_run_name="ingest-{layout}")
def ingest(
    source: Path,
    layout: Layout = Layout.MANIFEST,
    rate_fps: float = RATE_FPS,
    engine: Engine = Engine.LOCAL,
    settings: Settings | None = None,
) -> IngestSummary:
    """Bring every clip of a source into the store, cut its faces, and put the bad frames in quarantine.

    Any number of workers may do this at once: a clip at which another one is, is left to it.
    """
    workspace = open_workspace(settings)
    recipe = FrameRecipe(rate_fps=rate_fps)
    clips, skipped = read_source(source, layout)
    works: dict[int, str] = {}
    outcomes: dict[int, Outcome] = {}
    settings = workspace.settings
    with Executor(engine, address=settings.ray_address, num_workers=settings.num_processes) as spread:
        for places in open_batches(workspace.catalog, len(clips), works, outcomes, BATCH):
            for place in set(places) - set(works):
                works[place] = clip_work_name(clips[place], pseudonym_key(workspace), recipe)
            outcomes |= ingest_batch(workspace, {place: (works[place], clips[place]) for place in places}, recipe, spread)
    return summarise(workspace, source, [outcomes[place] for place in sorted(outcomes)], skipped)


def read_source(source: Path, layout: Layout) -> tuple[list[SourceClip], list[Skipped]]:
    """List the clips of a source, and what in it is no clip."""
    match layout:
        case Layout.MANIFEST:
            return read_manifest(source)
        case Layout.CKPLUS:
            return read_ckplus(source)
        case Layout.PHOTOS:
            return read_photos(source)


@task(cache_policy=NO_CACHE)
def ingest_batch(
    workspace: Workspace, batch: Mapping[int, tuple[str, SourceClip]], recipe: FrameRecipe, spread: Executor
) -> dict[int, Outcome]:
    """Ingest those clips of a batch at which nobody is, gate the frames of the new ones, and enter them in the catalog.

    Args:
        workspace: where to.
        batch: place in the source → the name of the work and the clip.
        recipe: how to make the frames.
        spread: where to make them.

    Returns:
        Place in the source → what came of the clip. Those at which another worker is are missing.
    """
    settings, catalog = workspace.settings, workspace.catalog
    mine: list[int] = []
    with LeaseHolder(catalog, settings.lease_s) as leases:

        def free() -> Iterator[SourceClip]:
            for place, (work, clip) in batch.items():
                if leases.acquire(work):
                    mine.append(place)
                    yield clip

        work = clip_work(settings.store, pseudonym_key(workspace), recipe)
        working = spread.run(free(), work, num_processes=min(settings.num_processes or os.cpu_count() or 1, len(batch)))
        outcomes = list(track(working, "cutting faces", len(batch)))
        known = {table.clip for table in catalog.frame_tables(frames_version(recipe))}
        new = [each.rows for each in outcomes if isinstance(each, Ingested) and each.clip.sha256 not in known]
        if new:
            rows = pa.concat_tables(new)
            limited = frame_rows(rows.drop_columns(["quarantine"]), rows["quarantine"].to_pylist())
            gate(workspace, limited, frames_suite())
        entered = [enter(workspace, each) if isinstance(each, Ingested) else each for each in outcomes]
    return dict(zip(mine, entered, strict=True))


def pseudonym_key(workspace: Workspace) -> bytes:
    """The key of the HMAC that makes pseudonyms."""
    return workspace.settings.pseudonym_key.get_secret_value().encode()


def enter(workspace: Workspace, ingested: Ingested) -> Outcome:
    """Enter a clip in the catalog; one that contradicts it is taken out of the store again and skipped."""
    clip, catalog = ingested.clip, workspace.catalog
    try:
        catalog.add_subject(to_subject(ingested.source, pseudonym_key(workspace)))
        catalog.add_clip(clip)
    except ContradictionError as error:
        workspace.store.erase(clip_prefix(clip.subject, clip.sha256))
        return Skipped(item=ingested.source.row, reason=str(error))
    return Entered(table=ingested.frames, new=catalog.add_frame_table(ingested.frames), cut=ingested.cut)


def summarise(workspace: Workspace, source: Path, outcomes: Sequence[Outcome], skipped: Sequence[Skipped]) -> IngestSummary:
    """Count what came of a source, and keep the list of what was skipped."""
    entered = [outcome for outcome in outcomes if isinstance(outcome, Entered)]
    left_out = (*skipped, *(outcome for outcome in outcomes if isinstance(outcome, Skipped)))
    workspace.catalog.set_skipped(skip_list(source), left_out)
    if left_out:  # a reason may name a file, and a file's name a person: the log only counts
        get_run_logger().warning(
            "%d of %d items were skipped; the catalog says why", len(left_out), len(entered) + len(left_out)
        )
    return IngestSummary(
        clips=len(entered),
        new_clips=sum(outcome.new for outcome in entered),
        cut_clips=sum(outcome.cut for outcome in entered),
        frames=sum(outcome.table.num_frames for outcome in entered),
        faces=sum(outcome.table.num_faces for outcome in entered),
        quarantined=dict(sum((Counter(outcome.table.quarantined) for outcome in entered), Counter())),
        skipped=left_out,
    )


def skip_list(source: Path) -> str:
    """Name the list of what was skipped of a source; not by its path, which may name a person."""
    return sha256(str(source.resolve()).encode()).hexdigest()[:16]
