"""The ingest flow: turn a manifest or a folder of clips into frame tables in the store that pass gate 1."""

import os
from collections import Counter, deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from typing import Final, TypeAlias

import pyarrow as pa
from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE

from flows.erasure.keys import check_pseudonym_key
from flows.execution.admission import Admissions, Admitted
from flows.execution.clip_worker import ClaimedSource, Ingested, checked_rows, clip_work, clip_work_name
from flows.execution.executor import Engine, Executor
from flows.execution.leases import LeaseHolder, open_batches
from flows.gates import gate
from flows.reports.run_summary import publish_summary
from flows.settings import Settings
from flows.workspace import PrivatePath, Workspace, open_workspace
from validation.direct import failures
from validation.rules import frame_rows
from validation.run import load_ahead
from validation.suites import frames_suite
from vitau.catalog.catalog import FrameTable
from vitau.errors import ContradictionError
from vitau.media.clips import RATE_FPS
from vitau.media.frames import FrameRecipe
from vitau.media.manifests import SourceClip, read_manifest
from vitau.media.sources import read_ckplus, read_photos, read_unknown
from vitau.processes import temporary_folder
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
    UNKNOWN = "unknown"


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
        withdrawn: pseudonyms of the people in the catalog who withdrew their consent and are left out of every use.
        failed: clips among the skipped items; the others are no clips.
    """

    clips: int
    new_clips: int
    cut_clips: int
    frames: int
    faces: int
    quarantined: Mapping[str, int]
    skipped: tuple[Skipped, ...]
    withdrawn: tuple[str, ...] = ()
    failed: int = 0

    @property
    def detection_rate(self) -> float:
        """Share of the sampled frames with a face, 0 to 1; 0 without a frame."""
        return self.faces / self.frames if self.frames else 0.0


@flow(name="ingest", flow_run_name="ingest {layout}", validate_parameters=False, on_completion=[publish_summary])
def ingest(
    source: PrivatePath,
    layout: Layout = Layout.MANIFEST,
    rate_fps: float = RATE_FPS,
    engine: Engine = Engine.LOCAL,
    settings: Settings | None = None,
) -> IngestSummary:
    """Write every clip of a source to the store, crop its faces, and quarantine bad frames.

    Any number of workers may ingest the same source at once: each clip is leased by one of them.
    """
    workspace = open_workspace(settings)
    check_pseudonym_key(workspace)
    clips, skipped = read_source(source.path, layout, workspace.settings.media_roots)
    outcomes = ingest_clips(workspace, clips, FrameRecipe(rate_fps=rate_fps), engine)
    record_skipped(workspace, source.path, outcomes, skipped)
    return summarize(outcomes, skipped, withdrawn=workspace.catalog.withdrawn_subjects())


def read_source(source: Path, layout: Layout, media_roots: Sequence[Path] = ()) -> tuple[list[SourceClip], list[Skipped]]:
    """Return the clips of a source, and the items that are no clips."""
    match layout:
        case Layout.MANIFEST:
            return read_manifest(source, media_roots)
        case Layout.CKPLUS:
            return read_ckplus(source)
        case Layout.PHOTOS:
            return read_photos(source)
        case Layout.UNKNOWN:
            return read_unknown(source)


def ingest_clips(workspace: Workspace, clips: Sequence[SourceClip], recipe: FrameRecipe, engine: Engine) -> list[Outcome]:
    """Ingest clips in batches, shared with other workers; return the outcome of each, in their order."""
    settings = workspace.settings
    lease_names: dict[int, str] = {}
    outcomes: dict[int, Outcome] = {}
    with (
        temporary_folder(settings.temporary) as folder,
        Executor(engine, address=settings.ray_address, num_workers=settings.num_processes) as executor,
    ):
        admissions = Admissions(workspace, clips, recipe, folder)
        for indices in open_batches(workspace.catalog, len(clips), lease_names, outcomes, BATCH):
            for index in indices:
                if index not in lease_names:
                    lease_names[index] = clip_work_name(clips[index], pseudonym_key(workspace), recipe)
            batch = {index: (lease_names[index], clips[index]) for index in indices}
            outcomes |= ingest_batch(workspace, batch, admissions, executor)
    return [outcomes[index] for index in range(len(clips))]


@task(cache_policy=NO_CACHE)
def ingest_batch(
    workspace: Workspace, batch: Mapping[int, tuple[str, SourceClip]], admissions: Admissions, executor: Executor
) -> dict[int, Outcome]:
    """Ingest the clips of a batch that no other worker holds, and record each in the catalog when it is done.

    Args:
        workspace: the rows and the objects.
        batch: index of the clip → the name of its lease and the clip.
        admissions: of the run.
        executor: runs the work on the clips.

    Returns:
        Index of the clip → its outcome. Clips that another worker holds are missing.
    """
    settings = workspace.settings
    outcomes: dict[int, Outcome] = {}
    working: deque[tuple[int, Admitted]] = deque()
    new_rows: dict[int, pa.Table] = {}
    with LeaseHolder(workspace.catalog, settings.lease_s) as leases:

        def claimed_clips() -> Iterator[ClaimedSource]:
            for index, (lease_name, clip) in batch.items():
                if leases.acquire(lease_name):
                    admission = admissions.admit(clip, lease_name)
                    if isinstance(admission, Admitted):
                        working.append((index, admission))
                        yield admission.work
                    else:
                        outcomes[index] = _known(admission)
                        admissions.finish(clip, admission)

        num_workers = settings.num_processes or os.cpu_count() or 1
        num_processes = min(num_workers, max(len(batch), 1))
        per_clip = num_workers // num_processes if executor.is_local else 1
        work = clip_work(settings.store, admissions.recipe, work=settings.work, num_processes=per_clip)
        results = executor.run(claimed_clips(), work, num_processes=num_processes)
        for result in track(results, "cropping faces", len(batch)):
            index, admitted = working.popleft()
            lease_name, clip = batch[index]
            if not leases.is_held(lease_name):  # another worker took the clip over, and records it
                admissions.finish(clip, admitted)
                continue
            outcomes[index] = outcome = record(admissions, clip, admitted, lease_name, result)
            if isinstance(outcome, Recorded) and outcome.new and isinstance(result, Ingested):
                if num_processes > 1 and not new_rows:
                    load_ahead()  # the others work meanwhile
                new_rows[index] = result.rows
            admissions.finish(clip, admitted)
            leases.release([lease_name])
    document(workspace, outcomes, new_rows)
    return outcomes


def record(
    admissions: Admissions, clip: SourceClip, admitted: Admitted, lease_name: str, result: Ingested | Skipped
) -> Outcome:
    """Pass gate 1 with the frames of a clip and record it; return the reason if it is skipped. Nothing is erased."""
    if isinstance(result, Ingested):
        rows = frame_rows(result.rows.drop_columns(["quarantine"]), result.rows["quarantine"].to_pylist())
        problems = failures(rows, frames_suite())
        if not problems:
            try:
                return Recorded(table=result.frames, new=admissions.record(admitted, result), cut=result.cut)
            except ContradictionError as error:
                return admissions.skip(clip, str(error))
        result = Skipped(item=clip.row, reason=f"gate frames is not passed: {problems[0]}")
    return admissions.give_up(clip, admitted, lease_name, result)


def document(workspace: Workspace, outcomes: Mapping[int, Outcome], new_rows: Mapping[int, pa.Table]) -> None:
    """Check the frames of a batch once more with Great Expectations, and keep its Data Docs; nothing if no clip is new.

    Clips that an earlier run recorded are included: a run that was killed and continued leaves the same page as another.
    """
    if new_rows:
        recorded = {index: outcome for index, outcome in sorted(outcomes.items()) if isinstance(outcome, Recorded)}
        rows = pa.concat_tables(
            [
                new_rows[index] if index in new_rows else checked_rows(workspace.store, clip.table.key)
                for index, clip in recorded.items()
            ]
        )
        gate(workspace, frame_rows(rows.drop_columns(["quarantine"]), rows["quarantine"].to_pylist()), frames_suite())


def _known(admission: FrameTable | Skipped) -> Outcome:
    return admission if isinstance(admission, Skipped) else Recorded(table=admission, new=False, cut=False)


def record_skipped(workspace: Workspace, source: Path, outcomes: Sequence[Outcome], skipped: Sequence[Skipped]) -> None:
    """Replace the catalog's list of the items of a source that were skipped."""
    left_out = all_skipped(outcomes, skipped)
    workspace.catalog.set_skipped(skip_list_name(source), left_out)
    if left_out:
        total = len(outcomes) + len(skipped)
        get_run_logger().warning("%d of %d items were skipped; `python -m flows skipped` lists them", len(left_out), total)


def summarize(outcomes: Sequence[Outcome], skipped: Sequence[Skipped], *, withdrawn: Collection[str] = ()) -> IngestSummary:
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
        withdrawn=tuple(sorted(withdrawn)),
        failed=len(outcomes) - len(recorded),
    )


def all_skipped(outcomes: Sequence[Outcome], skipped: Sequence[Skipped]) -> tuple[Skipped, ...]:
    """Return the items that are no clips, and the clips that could not be used."""
    return (*skipped, *(outcome for outcome in outcomes if isinstance(outcome, Skipped)))


def pseudonym_key(workspace: Workspace) -> bytes:
    """Return the key of the HMAC that makes pseudonyms."""
    return workspace.settings.require_pseudonym_key()


def skip_list_name(source: Path) -> str:
    """Return the name of a source's list of skipped items: a digest, since its path may name a person."""
    return sha256(os.path.realpath(source).encode()).hexdigest()[:16]
