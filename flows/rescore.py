"""The rescore flow: score people with the champion, once each, and write overlays and the report."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from flows.annotation.key_frames import materials, usable_frames
from flows.erasure.living import load_living
from flows.execution.executor import Engine, Executor
from flows.execution.gpus import visible_gpus
from flows.execution.leases import LeaseHolder, open_batches
from flows.execution.retries import RETRY_DELAYS_S, is_service_unavailable
from flows.execution.subject_worker import SubjectWork, is_outdated, read_model_files
from flows.promotion.champion import approved_champion, fetch
from flows.promotion.registered_models import REGIONS
from flows.reports.drift import MONITOR_PAGE
from flows.reports.labeling import LABELING_PAGE, labeling_progress, write_labeling_page
from flows.reports.run_summary import publish_summary
from flows.reports.scoring import build_report
from flows.settings import Settings
from flows.workspace import PrivatePath, Workspace, open_workspace
from vitau.catalog.catalog import ScoredSubject
from vitau.data.layout import score_prefix, score_work_name
from vitau.errors import ContradictionError, RegistryError
from vitau.progress import track
from vitau.registry.bundle import folder_digest
from vitau.schema import Split, person_of
from vitau.scoring.predict import Predictor
from vitau.scoring.report import Report, write_report

SHARD: Final = 64
"""People per Prefect task."""


@dataclass(frozen=True, kw_only=True)
class RescoreSummary:
    """The counts of one scoring: people in the report, people scored by this run, overlays, and people left out.

    ``erased`` counts the held-out people of the snapshot who were erased. ``outdated`` counts the people whose frames were cut
    anew after a correction, and whose scores were therefore made again by this run; they are among ``new_subjects``.
    ``warnings`` are those of the model.
    """

    subjects: int
    new_subjects: int
    overlays: int
    not_scored: int
    erased: int = 0
    outdated: int = 0
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class NumScored:
    """People scored by this run, and how many of them had a score of frames that were cut anew since."""

    people: int
    outdated: int


@flow(name="rescore", flow_run_name="rescore {snapshot:.8}", validate_parameters=False, on_completion=[publish_summary])
def rescore(
    snapshot: str,
    report: PrivatePath,
    engine: Engine = Engine.LOCAL,
    *,
    waiting: bool = False,
    settings: Settings | None = None,
) -> RescoreSummary:
    """Score the held-out people of a snapshot with the champion, and write the report.

    Any number of workers may score at once: each person is leased by one of them. With ``waiting``, patients without labels are
    scored too, for the order of the readers' queues. The report leaves them out. People whose frames were cut anew after a
    correction are scored again.
    """
    workspace = open_workspace(settings)
    champion = fetch_champion(workspace)
    frames, num_erased = held_out_frames(workspace, snapshot)
    scored = [score_people(workspace, champion, frames, engine)]
    if waiting:
        scored.append(score_people(workspace, champion, waiting_frames(workspace), engine))
    written = write_pages(workspace, champion, snapshot, report.path)
    return summarize(written, scored, num_erased)


@task(
    cache_policy=NO_CACHE,
    retries=len(RETRY_DELAYS_S),
    retry_delay_seconds=RETRY_DELAYS_S,
    retry_condition_fn=is_service_unavailable,
)
def fetch_champion(workspace: Workspace) -> Path:
    """Download the champion of the regions, with the recognition that it carries; return its folder.

    Raises:
        RegistryError: There is none, or it is not the version that the last signed record approved.
        ChecksumError: Its files are not those that were approved.
    """
    champion = approved_champion(workspace, REGIONS)
    if champion is None:
        raise RegistryError(f"no version of {REGIONS} is champion yet: `python -m flows history` says what was refused and why")
    return fetch(workspace, champion)


@task(cache_policy=NO_CACHE)
def held_out_frames(workspace: Workspace, snapshot: str) -> tuple[pa.Table, int]:
    """Return the frames of the test people of a snapshot, and the number of erased people, who are left out."""
    living = load_living(workspace, snapshot)
    return living.rows.filter(pc.equal(living.rows["split"], Split.TEST.value)), living.num_erased


@task(cache_policy=NO_CACHE)
def waiting_frames(workspace: Workspace) -> pa.Table:
    """Return the usable frames of the patients without labels."""
    labeled = {answer.subject for answer in workspace.catalog.labels()}
    usable = usable_frames(workspace)
    rows = [
        {"subject": person_of(case), "frame_index": index, "frames_key": table.key}
        for case, material in materials(workspace).items()
        if person_of(case) not in labeled
        for table in material.tables
        for index in usable.indices(table)
    ]
    schema = pa.schema([("subject", pa.string()), ("frame_index", pa.int32()), ("frames_key", pa.string())])
    return pa.Table.from_pylist(rows, schema)


def score_people(workspace: Workspace, champion: Path, frames: pa.Table, engine: Engine) -> NumScored:
    """Score the people without a score of these frames by this champion, shared with other workers.

    Args:
        workspace: the rows and the objects.
        champion: folder of the model.
        frames: rows with ``subject``, ``frame_index`` and ``frames_key``.
        engine: local processes or Ray.
    """
    settings, catalog = workspace.settings, workspace.catalog
    remote = engine is Engine.RAY and settings.ray_address is not None
    digest = folder_digest(champion)
    work = SubjectWork(store_uri=settings.store, model=read_model_files(champion) if remote else champion, digest=digest)
    people = sorted(set(frames["subject"].to_pylist()))
    lease_names = {index: score_work_name(digest, subject) for index, subject in enumerate(people)}
    frames_of = {subject: frames.filter(pc.equal(frames["subject"], subject)) for subject in people}
    known = {score.subject: score for score in catalog.scores(digest) if score.subject in frames_of}
    outdated = {subject for subject, score in known.items() if is_outdated(score, frames_of[subject])}
    done = {index for index, subject in enumerate(people) if subject in known.keys() - outdated}
    ours_by_now: set[str] = set()
    with Executor(engine, address=settings.ray_address, num_workers=settings.num_processes) as executor:
        for indices in open_batches(catalog, len(people), lease_names, done, SHARD):
            shard = {people[index]: frames_of[people[index]] for index in indices}
            ours, theirs = score_shard(workspace, shard, work, executor)
            done |= {index for index in indices if people[index] in ours | theirs}
            ours_by_now |= ours
    return NumScored(people=len(ours_by_now), outdated=len(ours_by_now & outdated))


@task(cache_policy=NO_CACHE)
def score_shard(
    workspace: Workspace, shard: Mapping[str, pa.Table], work: SubjectWork, executor: Executor
) -> tuple[set[str], set[str]]:
    """Score the people of a shard that no other worker holds, and record each in the catalog.

    Args:
        workspace: the rows and the objects.
        shard: subject → frames.
        work: the work on one subject.
        executor: runs the work.

    Returns:
        The people scored by this worker, and the people that another worker had just scored.
    """
    catalog = workspace.catalog
    ours: set[str] = set()
    theirs: set[str] = set()
    with LeaseHolder(catalog, workspace.settings.lease_s) as leases:

        def acquire_people() -> Iterator[pa.Table]:
            for subject, frames in shard.items():
                if not leases.acquire(score_work_name(work.digest, subject)):
                    continue
                score = catalog.score(work.digest, subject)
                if score is not None and not is_outdated(score, frames):  # by the previous holder of the lease
                    theirs.add(subject)
                    continue
                if score is not None:
                    delete_score(workspace, score)
                yield frames

        results = executor.run(acquire_people(), work, num_processes=num_scorers(workspace.settings, len(shard)), gpu=True)
        for score in track(results, "scoring people", len(shard)):
            if not add_living_score(workspace, score):
                theirs.add(score.subject)
                continue
            leases.release([score_work_name(work.digest, score.subject)])
            ours.add(score.subject)
    return ours, theirs


def num_scorers(settings: Settings, num_people: int) -> int:
    """Return the number of local processes that score some people: those of the settings, and one on a GPU."""
    return 1 if visible_gpus() else min(settings.num_processes or os.cpu_count() or 1, max(num_people, 1))


def delete_score(workspace: Workspace, score: ScoredSubject) -> None:
    """Delete a score of frames that were cut anew; the objects go first, so that an interrupted run deletes them again."""
    prefix = score_prefix(score.model_digest, score.subject)
    keys = list(workspace.store.keys(prefix))
    workspace.store.erase(prefix)
    workspace.catalog.forget_objects(keys)
    workspace.catalog.drop_score(score.model_digest, score.subject)


def add_living_score(workspace: Workspace, score: ScoredSubject) -> bool:
    """Add a score, unless the person was erased meanwhile; then its objects are deleted. Return whether it was added."""
    try:
        workspace.catalog.add_score(score)
    except ContradictionError:
        workspace.store.erase(score_prefix(score.model_digest, score.subject))
        return False
    return True


@task(cache_policy=NO_CACHE)
def write_pages(workspace: Workspace, champion: Path, snapshot: str, path: Path) -> Report:
    """Write the report about the scored test people, and the pages beside it; return the report."""
    report = build_report(workspace, Predictor(champion), folder_digest(champion), snapshot)
    write_report(replace(report, related=write_related_pages(workspace, path)), path)
    return report


def write_related_pages(workspace: Workspace, report: Path) -> dict[str, str]:
    """Write the labeling page beside a report; return link text → file name, including a drift page that exists."""
    labeling_page, drift_page = report.with_name(LABELING_PAGE), report.with_name(MONITOR_PAGE)
    write_labeling_page(workspace, labeling_progress(workspace), labeling_page)
    related = {"labeling progress": labeling_page.name}
    if drift_page.exists():
        related["drift of new people"] = drift_page.name
    return related


def summarize(report: Report, scored: Sequence[NumScored], num_erased: int) -> RescoreSummary:
    """Count what a report shows."""
    return RescoreSummary(
        subjects=len(report.subjects),
        new_subjects=sum(found.people for found in scored),
        overlays=sum(len(frame.overlays) for subject in report.subjects for frame in subject.key_frames),
        not_scored=len(report.skipped),
        erased=num_erased,
        outdated=sum(found.outdated for found in scored),
        warnings=tuple(report.warnings),
    )
