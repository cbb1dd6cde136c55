"""From champions and people to scores, overlays and the report; whoever is scored already is not scored again."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from flows.annotation.key_frames import materials, usable_frames
from flows.execution.executor import Engine, Executor
from flows.execution.leases import LeaseHolder, open_batches
from flows.execution.retries import RETRY_DELAYS_S, is_service_unavailable
from flows.execution.subject_worker import SubjectWork, read_model_files
from flows.promotion.registered_models import REGIONS
from flows.reports.drift import MONITOR_PAGE
from flows.reports.labeling import LABELING_PAGE, labeling_progress, write_labeling_page
from flows.reports.scoring import build_report
from flows.settings import Settings
from flows.workspace import Workspace, open_workspace
from vitau.data import snapshot as snapshots
from vitau.data.layout import score_work_name
from vitau.errors import RegistryError
from vitau.progress import track
from vitau.registry import registry
from vitau.schema import Split
from vitau.scoring.predict import Predictor
from vitau.scoring.report import Report, write_report

SHARD: Final = 64
"""People per Prefect task."""


@dataclass(frozen=True, kw_only=True)
class RescoreSummary:
    """What a scoring came to: people scored, in all and by this run, the overlays that show why, and people left out."""

    subjects: int
    new_subjects: int
    overlays: int
    not_scored: int


@flow(name="rescore")
def rescore(
    snapshot: str, report: Path, engine: Engine = Engine.LOCAL, *, waiting: bool = False, settings: Settings | None = None
) -> RescoreSummary:
    """Score the held-out people of a snapshot with the champions, and write the report.

    Any number of workers may do this at once: a person at whom another one is, is left to it. With ``waiting``, patients
    without labels are scored as well, whom the report leaves out: the scores say whom to ask about next.
    """
    workspace = open_workspace(settings)
    folder = fetch_champion(workspace)
    frames = held_out_frames(workspace, snapshot)
    new_subjects = score_people(workspace, folder, frames, engine)
    if waiting:
        new_subjects += score_people(workspace, folder, waiting_frames(workspace), engine)
    page = write_page(workspace, folder, snapshot, report)
    return RescoreSummary(
        subjects=len(page.subjects),
        new_subjects=new_subjects,
        overlays=sum(len(frame.overlays) for subject in page.subjects for frame in subject.key_frames),
        not_scored=len(page.skipped),
    )


@task(cache_policy=NO_CACHE)
def write_page(workspace: Workspace, folder: Path, snapshot: str, path: Path) -> Report:
    """Write the report about everybody whom the champion scored in this test split, and the pages beside it."""
    page = build_report(workspace, Predictor(folder), registry.folder_digest(folder), snapshot)
    write_report(replace(page, related=pages_beside(workspace, path)), path)
    return page


def pages_beside(workspace: Workspace, report: Path) -> dict[str, str]:
    """Write how the labelling goes beside a report; returns what the report links, also what monitoring left there."""
    labelling, monitoring = report.with_name(LABELING_PAGE), report.with_name(MONITOR_PAGE)
    write_labeling_page(workspace, labeling_progress(workspace), labelling)
    related = {"how far the labelling is": labelling.name}
    if monitoring.exists():
        related["how people who came since compare"] = monitoring.name
    return related


@task(
    cache_policy=NO_CACHE,
    retries=len(RETRY_DELAYS_S),
    retry_delay_seconds=RETRY_DELAYS_S,
    retry_condition_fn=is_service_unavailable,
)
def fetch_champion(workspace: Workspace) -> Path:
    """Fetch the region champion, which brings the recognition that judges first."""
    version = registry.champion(workspace.settings.mlflow_url, REGIONS)
    if version is None:
        raise RegistryError(f"no version of {REGIONS} is champion yet: `python -m flows history` says what was refused and why")
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
    usable = usable_frames(workspace)
    rows = []
    for subject, material in materials(workspace).items():
        for table in material.tables if subject not in labelled else ():
            rows += [{"subject": subject, "frame_index": index, "frames_key": table.key} for index in usable.indices(table)]
    schema = pa.schema([("subject", pa.string()), ("frame_index", pa.int32()), ("frames_key", pa.string())])
    return pa.Table.from_pylist(rows, schema)


def score_people(workspace: Workspace, folder: Path, frames: pa.Table, engine: Engine) -> int:
    """Score everybody who has no score by this champion yet, and share them with other workers; returns how many were ours."""
    settings, catalog = workspace.settings, workspace.catalog
    elsewhere = engine is Engine.RAY and settings.ray_address is not None
    digest = registry.folder_digest(folder)
    work = SubjectWork(store_uri=settings.store, model=read_model_files(folder) if elsewhere else folder, digest=digest)
    people = sorted(set(frames["subject"].to_pylist()))
    works = {place: score_work_name(digest, subject) for place, subject in enumerate(people)}
    scored = {score.subject for score in catalog.scores(digest)}
    done = {place for place, subject in enumerate(people) if subject in scored}
    num_ours = 0
    with Executor(engine, address=settings.ray_address, num_workers=settings.num_processes) as spread:
        for places in open_batches(catalog, len(people), works, done, SHARD):
            shard = {people[place]: frames.filter(pc.equal(frames["subject"], people[place])) for place in places}
            ours, theirs = score_shard(workspace, shard, work, spread)
            done |= {place for place in places if people[place] in ours | theirs}
            num_ours += len(ours)
    return num_ours


@task(cache_policy=NO_CACHE)
def score_shard(
    workspace: Workspace, shard: Mapping[str, pa.Table], work: SubjectWork, spread: Executor
) -> tuple[set[str], set[str]]:
    """Score those of a shard at whom nobody is, and enter each in the catalog; returns whom we did, and whom others had done.

    Args:
        workspace: whose catalog.
        shard: subject → their frames.
        work: what a worker does for a person.
        spread: where the workers are.
    """
    catalog = workspace.catalog
    ours: set[str] = set()
    theirs: set[str] = set()
    with LeaseHolder(catalog, workspace.settings.lease_s) as leases:

        def free() -> Iterator[pa.Table]:
            for subject, frames in shard.items():
                if not leases.acquire(score_work_name(work.digest, subject)):
                    continue
                if catalog.is_scored(work.digest, subject):  # by who held it a moment ago
                    theirs.add(subject)
                else:
                    yield frames

        for score in track(spread.run(free(), work, gpu=True), "scoring people", len(shard)):
            catalog.add_score(score)
            leases.release([score_work_name(work.digest, score.subject)])
            ours.add(score.subject)
    return ours, theirs
