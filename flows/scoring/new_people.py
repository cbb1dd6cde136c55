"""Scoring of new people with the champion, without asking for a label: those of a source, or all of unknown status.

The frames are cut, gated and scored by the functions of `ingest` and `rescore`, and the results are kept as theirs are. After a
kill the same command continues: recordings and people that are done are not done again.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from flows.erasure.keys import check_pseudonym_key
from flows.execution.clip_worker import frames_version
from flows.execution.executor import Engine
from flows.execution.subject_worker import clips_of
from flows.ingest import Outcome, Recorded, all_skipped, ingest_clips, record_skipped
from flows.reports.run_summary import publish_summary
from flows.rescore import delete_score, fetch_champion, score_people
from flows.scoring.results import NewItem, NewPeople, new_people_report, write_results
from flows.scoring.sources import read_new
from flows.settings import Settings
from flows.workspace import PrivatePath, Workspace, open_workspace
from vitau.catalog.catalog import FrameTable
from vitau.data.parquet import read_table
from vitau.data.usable_frames import UsableFrames
from vitau.media.frames import FrameRecipe
from vitau.media.manifests import SourceClip
from vitau.registry.bundle import folder_digest
from vitau.schema import REASON_WORDS, Skipped

_FRAMES = pa.schema([("subject", pa.string()), ("frame_index", pa.int32()), ("frames_key", pa.string())])


@dataclass(frozen=True, kw_only=True)
class ScoreNewSummary:
    """The counts of one scoring of new people.

    Attributes:
        people: in the report.
        new_people: scored by this run.
        recordings: of the source, in the catalog now.
        new_recordings: recorded by this run.
        overlays: pictures in the report.
        skipped: items that could not be scored, each with its reason.
        champion: name and version of the model.
    """

    people: int
    new_people: int
    recordings: int
    new_recordings: int
    overlays: int
    skipped: tuple[Skipped, ...]
    champion: str


@flow(name="score-new", flow_run_name="score-new", validate_parameters=False, on_completion=[publish_summary])
def score_new(
    source: PrivatePath, out: PrivatePath, engine: Engine = Engine.LOCAL, settings: Settings | None = None
) -> ScoreNewSummary:
    """Ingest the recordings of a source, score their people with the champion, and write report and tables into a folder.

    The source is a manifest, a CK+ tree, a folder of photos or clips, or one file. Without a stated cohort, people are of
    unknown status: no label is asked for, and no snapshot takes them.

    Raises:
        RegistryError: there is no champion.
        SourceError: the source is missing, or holds nothing to score.
        ValueError: the folder of the results lies in the source.
    """
    if source.path.is_dir() and out.path.resolve().is_relative_to(source.path.resolve()):
        raise ValueError("--out lies inside of the source, so that its pictures would be scored next time: give another folder")
    workspace = open_workspace(settings)
    check_pseudonym_key(workspace)
    champion = fetch_champion(workspace)
    clips, no_clips = read_new(source.path, workspace.settings.media_roots)
    outcomes = ingest_clips(workspace, clips, FrameRecipe(), engine)
    record_skipped(workspace, source.path, outcomes, no_clips)
    items, unusable = list_items(workspace, clips, outcomes)
    frames: pa.Table = frames_of(workspace, {item.subject for item in items})
    drop_incomplete_scores(workspace, champion, frames)
    scored = score_people(workspace, champion, frames, engine)
    found = NewPeople(items=tuple(items), skipped=(*all_skipped(outcomes, no_clips), *unusable))
    report = new_people_report(workspace, champion, found, set(frames["subject"].to_pylist()))
    write_results(workspace, report, found, out.path)
    recorded = [outcome for outcome in outcomes if isinstance(outcome, Recorded)]
    return ScoreNewSummary(
        people=len(report.subjects),
        new_people=scored.people,
        recordings=len(recorded),
        new_recordings=sum(clip.new for clip in recorded),
        overlays=sum(len(frame.overlays) for subject in report.subjects for frame in subject.key_frames),
        skipped=tuple(report.skipped),
        champion=report.lineage["champion"],
    )


def list_items(
    workspace: Workspace, clips: Sequence[SourceClip], outcomes: Sequence[Outcome]
) -> tuple[list[NewItem], list[Skipped]]:
    """Return the recordings of a source that are in the catalog, with their people, and those that cannot be scored."""
    owners = {clip.sha256: clip.subject for clip in workspace.catalog.clips()}
    usable = UsableFrames(workspace.store, workspace.catalog.unusable_frames())
    items, unusable = [], []
    for clip, outcome in zip(clips, outcomes, strict=True):
        if not isinstance(outcome, Recorded):
            continue
        table = outcome.table
        if table.clip not in owners:
            unusable.append(Skipped(item=clip.row, reason="its person withdrew the consent, or was erased"))
            continue
        if not usable.exist(table):
            unusable.append(Skipped(item=clip.row, reason=why_unusable(table)))
        place = clip.url if clip.url is not None else str(clip.paths[0] if len(clip.paths) == 1 else clip.paths[0].parent)
        num_faces = pc.max(read_table(workspace.store, table.key, ["num_faces"])["num_faces"]).as_py() or 0
        items.append(
            NewItem(
                item=clip.row,
                subject=owners[table.clip],
                subject_id="" if clip.anonymous else clip.subject_id,
                place=place,
                clip=table.clip,
                num_faces=num_faces,
            )
        )
    return items, unusable


def why_unusable(table: FrameTable) -> str:
    """Return why no frame of a recording can be used."""
    reasons = ", ".join(f"{count} {REASON_WORDS.get(name, name)}" for name, count in table.quarantined.items())
    marked = table.num_frames - sum(table.quarantined.values())
    others = f"{', ' if reasons else ''}{marked} marked by a reader" if marked else ""
    return f"none of its {table.num_frames} frames can be used ({reasons}{others}): give a recording of a face"


@task(cache_policy=NO_CACHE)
def frames_of(workspace: Workspace, subjects: Collection[str]) -> pa.Table:
    """Return the usable frames of some people, of all their recordings: a person has one score by a model."""
    catalog = workspace.catalog
    owners = {clip.sha256: clip.subject for clip in catalog.clips() if clip.subject in subjects}
    usable = UsableFrames(workspace.store, catalog.unusable_frames())
    rows = [
        {"subject": owners[table.clip], "frame_index": index, "frames_key": table.key}
        for table in catalog.frame_tables(frames_version())
        if table.clip in owners
        for index in usable.indices(table)
    ]
    return pa.Table.from_pylist(rows, _FRAMES)


def drop_incomplete_scores(workspace: Workspace, champion: Path, frames: pa.Table) -> None:
    """Delete the scores of these people that lack one of their clips and do not name those that they have.

    They are of an earlier version; a score of this one names its clips, and `score_people` makes an incomplete one anew.
    """
    people = set(frames["subject"].to_pylist())
    for score in workspace.catalog.scores(folder_digest(champion)):
        if score.subject in people and "clips" not in score.summary:
            present = set(read_table(workspace.store, score.key, ["input"])["input"].to_pylist())
            if not set(clips_of(frames.filter(pc.equal(frames["subject"], score.subject)))) <= present:
                delete_score(workspace, score)
