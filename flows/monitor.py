"""Compare the people who arrived since the champion's snapshot with those in it, and the champion's performance on both.

The champion scores the new people, and measures are compared by person. If something drifted, an event is emitted, and the
people who differ most are the next that readers see: their labels are what the next training lacks.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.events import emit_event
from prefect.logging import get_logger

from flows.execution.clip_worker import frames_version
from flows.execution.executor import Engine
from flows.freeze import labeled_people
from flows.promotion.registered_models import REGIONS, known_training
from flows.reports.drift import render_drift_page
from flows.rescore import fetch_champion, score_people
from flows.settings import Settings
from flows.workspace import Workspace, open_workspace
from vitau.catalog.catalog import Training
from vitau.data import layout
from vitau.data import snapshot as snapshots
from vitau.data.parquet import read_table
from vitau.data.usable_frames import UsableFrames
from vitau.errors import LabelingError
from vitau.evaluation.drift import Drift, People, compare, surprisal
from vitau.evaluation.performance import PerformanceChange, compare_performance
from vitau.progress import track
from vitau.registry import registry
from vitau.schema import AUS, EMBEDDING_SIZE, Cohort, Split, canonical_name

QUALITY: Final = ("sharpness", "brightness", "clipped", "face_px", "yaw_deg", "pitch_deg", "roll_deg", "detector_score")
INPUTS: Final = tuple(name.replace("_", " ") for name in QUALITY)
FACE: Final = "face (identity embedding)"
PALSY_SCORE: Final = "palsy score"
REGION_SCORE: Final = "mean region score"
MAX_PRIORITIES: Final = 20
"""Number of people who are put first at once: an afternoon of work for two readers."""


@dataclass(frozen=True, kw_only=True)
class MonitorSummary:
    """The result of monitoring.

    Attributes:
        model: Name of the champion.
        version: Of the champion.
        people_before: Number of people in the snapshot.
        people_now: Number of people who arrived since.
        drifted: Measures that drifted.
        broken: Metrics on which the champion does worse than on its test people.
        asked_about: Number of people who are put first in the readers' queue.
        pushed: Number of tasks that were opened.
        report: Address of the page.
        new: Whether these people with these scores and labels were not compared before. If they were, no event is emitted.
        notices: Sentences for the operator.
    """

    model: str
    version: int
    people_before: int
    people_now: int
    drifted: tuple[str, ...]
    broken: tuple[str, ...]
    asked_about: int
    pushed: int
    report: str
    new: bool
    notices: tuple[str, ...] = ()


@flow(name="monitor")
def monitor(report: Path | None = None, days: int | None = None, settings: Settings | None = None) -> MonitorSummary:
    """Compare the people who arrived since the champion's snapshot (in the last ``days``, if given) with those in it."""
    workspace = open_workspace(settings)
    folder = fetch_champion(workspace)
    champion = champion_training(workspace)
    trained_on = snapshots.load(workspace.store, champion.snapshot)
    arrived = frames_of_new_people(workspace, trained_on, days)
    score_people(workspace, folder, pa.concat_tables([held_out(trained_on), arrived]), Engine.LOCAL)
    scores, tested = champion_scores(workspace, champion), set(held_out(trained_on)["subject"].to_pylist())
    before = collect_people(workspace, trained_on, {name: scores[name] for name in tested & scores.keys()})
    now = collect_people(workspace, arrived, scores)
    drifts = compare(before, now)
    changes = check_performance(workspace, champion, trained_on, arrived)
    drifted = [drift for drift in drifts if drift.drifted]
    priorities = prioritize(workspace, before, now, drifted)
    pushed, notices = push_priorities(workspace, priorities)
    key, new = store_report(workspace, champion, before, now, drifts, changes, priorities, report)
    worse = [change for change in changes if change.broken]
    if new and (drifted or worse):
        emit_alarm(champion, drifted, worse, key)
    return MonitorSummary(
        model=REGIONS,
        version=champion.version,
        people_before=len(before.subjects),
        people_now=len(now.subjects),
        drifted=tuple(drift_name(drift) for drift in drifted),
        broken=tuple(change.measure for change in worse),
        asked_about=len(priorities),
        pushed=pushed,
        report=workspace.store.location(key),
        new=new,
        notices=notices,
    )


def champion_training(workspace: Workspace) -> Training:
    """Return the training of the region champion, whose bundle contains both models."""
    version = registry.champion(workspace.settings.mlflow_url, REGIONS)
    assert version is not None, "its folder was fetched"
    return known_training(workspace, REGIONS, version)


def held_out(trained_on: pa.Table) -> pa.Table:
    """Return the frames of the test people of a snapshot; scores of training people would be too good."""
    return trained_on.filter(pc.equal(trained_on["split"], Split.TEST.value))


@task(cache_policy=NO_CACHE)
def frames_of_new_people(workspace: Workspace, trained_on: pa.Table, days: int | None) -> pa.Table:
    """List the usable frames of all people who are not in the snapshot, labeled or not, in the columns of a snapshot."""
    catalog = workspace.catalog
    merged = catalog.merged_names()
    known = {canonical_name(name, merged) for name in pc.unique(trained_on["subject"]).to_pylist()}
    since = "" if days is None else (datetime.now(UTC) - timedelta(days=days)).isoformat()
    chosen = {name for name, first in catalog.arrivals().items() if name not in known and first >= since}
    clips = {clip.sha256: clip for clip in catalog.clips() if clip.subject in chosen}
    cohorts = {subject.pseudonym: subject.cohort for subject in catalog.subjects()}
    usable = UsableFrames(workspace.store, catalog.unusable_frames())
    rows = [
        {
            "subject": clips[table.clip].subject,
            "clip": table.clip,
            "frame_index": index,
            "frames_key": table.key,
            "source": clips[table.clip].source,
            "cohort": cohorts[clips[table.clip].subject].value,
            "split": "",
        }
        for table in catalog.frame_tables(frames_version())
        if table.clip in clips
        for index in usable.indices(table)
    ]
    return pa.Table.from_pylist(rows, snapshots.snapshot_schema())


@task(cache_policy=NO_CACHE)
def collect_people(workspace: Workspace, frames: pa.Table, scores: Mapping[str, Mapping[str, float]]) -> People:
    """Collect the measures of each person: mean quality and face embedding over the frames, and the champion's scores."""
    rows = frames.select(["subject", "source", "frames_key", "frame_index"]).to_pydict()
    wanted: dict[str, set[int]] = {}
    for key, index in zip(rows["frames_key"], rows["frame_index"], strict=True):
        wanted.setdefault(key, set()).add(index)
    owner = dict(zip(rows["frames_key"], rows["subject"], strict=True))
    source = dict(zip(rows["subject"], rows["source"], strict=True))
    quality: dict[str, list[dict[str, Any]]] = {name: [] for name in sorted(source)}
    faces: dict[str, list[list[float]]] = {name: [] for name in quality}
    for key, indices in track(wanted.items(), "reading frames", len(wanted)):
        table = read_table(workspace.store, key, ["frame_index", *QUALITY, "embedding"]).to_pylist()
        quality[owner[key]] += [row for row in table if row["frame_index"] in indices]
        faces[owner[key]] += [row["embedding"] for row in table if row["embedding"] is not None]
    numbers = {
        shown: np.array([mean(row[name] for row in rows) for rows in quality.values()])
        for name, shown in zip(QUALITY, INPUTS, strict=True)
    }
    numbers |= {
        name: np.array([scores.get(person, {}).get(name, np.nan) for person in quality]) for name in (PALSY_SCORE, REGION_SCORE)
    }
    unseen = np.full(EMBEDDING_SIZE, np.nan)
    face_SD = np.array([np.mean(own, axis=0) if own else unseen for own in faces.values()]).reshape(-1, EMBEDDING_SIZE)
    return People(
        subjects=tuple(quality),
        source=tuple(source[person] for person in quality),
        numbers=numbers,
        vectors={FACE: face_SD},
        mixtures={"source": tuple(source[person] for person in quality)},
    )


def mean(values: Iterable[float | None]) -> float:
    """Return the mean of the values that are not ``None``; NaN if there are none."""
    found = [value for value in values if value is not None]
    return sum(found) / len(found) if found else float("nan")


def champion_scores(workspace: Workspace, champion: Training) -> dict[str, dict[str, float]]:
    """Return the champion's scores by person: probability of a palsy, and the mean score of the regions."""
    found = {}
    for score in workspace.catalog.scores(champion.model_digest):
        regions = [region["score"] for region in score.summary["regions"].values()]
        found[score.subject] = {PALSY_SCORE: float(score.summary["palsy_score"])}
        if regions:
            found[score.subject][REGION_SCORE] = float(np.mean(regions))
    return found


@task(cache_policy=NO_CACHE)
def check_performance(
    workspace: Workspace, champion: Training, trained_on: pa.Table, arrived: pa.Table
) -> list[PerformanceChange]:
    """Compare the champion's performance on the test people with that on people who were scored first and labeled later."""
    labels = {name: answer for name, (_, answer) in labeled_people(workspace).items()}
    cohorts = dict(zip(trained_on["subject"].to_pylist(), trained_on["cohort"].to_pylist(), strict=True))
    cohorts |= dict(zip(arrived["subject"].to_pylist(), arrived["cohort"].to_pylist(), strict=True))
    summaries = {score.subject: score.summary for score in workspace.catalog.scores(champion.model_digest)}
    groups = [
        sorted(set(table["subject"].to_pylist()) & labels.keys() & summaries.keys())
        for table in (held_out(trained_on), arrived)
    ]
    threshold = float(next(iter(summaries.values()))["threshold"]) if summaries else 0.5
    palsy, regions = [], []
    for people in groups:
        palsied = np.array([cohorts[name] == Cohort.PALSY for name in people], bool)
        score = np.array([summaries[name]["palsy_score"] for name in people], float)
        palsy.append((palsied[:, None], np.ones((len(people), 1), bool), score[:, None]))
        patients = [name for name, is_palsied in zip(people, palsied, strict=True) if is_palsied and summaries[name]["regions"]]
        truth = [[labels[name].affected.get(au, False) for au in AUS] for name in patients]
        known = [[au in labels[name].affected for au in AUS] for name in patients]
        scores = [[summaries[name]["regions"][au.value]["score"] for au in AUS] for name in patients]
        shape = (len(patients), len(AUS))
        regions.append(
            (np.array(truth, bool).reshape(shape), np.array(known, bool).reshape(shape), np.array(scores).reshape(shape))
        )
    if not all(groups):
        return []
    found = compare_performance(palsy[0], palsy[1], name="recognition", threshold=threshold)
    if all(len(truth_SK) for truth_SK, _, _ in regions):
        found += compare_performance(regions[0], regions[1], name="regions", threshold=np.nextafter(0.0, 1.0))
    return found


@task(cache_policy=NO_CACHE)
def prioritize(workspace: Workspace, before: People, now: People, drifted: Sequence[Drift]) -> dict[str, str]:
    """Put the palsied people without a label who differ most first in the readers' queue; returns the reason by person."""
    labeled = {answer.subject for answer in workspace.catalog.labels()}
    patients = {subject.pseudonym for subject in workspace.catalog.subjects() if subject.cohort is Cohort.PALSY}
    waiting = patients - labeled
    bits = surprisal(before, now, drifted)
    order = [index for index in np.argsort(-bits, kind="stable") if now.subjects[index] in waiting] if drifted else []
    priorities = {
        now.subjects[index]: f"differs by {bits[index]:.1f} bits from those the champion knows"
        for index in order[:MAX_PRIORITIES]
    }
    if list(priorities.items()) != list(workspace.catalog.priority_subjects().items()):
        workspace.catalog.set_priorities(priorities)
    return priorities


@task(cache_policy=NO_CACHE)
def push_priorities(workspace: Workspace, priorities: Mapping[str, str]) -> tuple[int, tuple[str, ...]]:
    """Create the tasks of these people that are missing; if Label Studio is unavailable, the next `annotate` creates them."""
    from flows.annotation.push_tasks import open_projects, push_tasks

    if not priorities:
        return 0, ()
    try:
        readers, _ = open_projects(workspace)
        return push_tasks(workspace, readers), ()
    except LabelingError as error:
        notice = (
            f"{len(priorities)} people wait for the readers, but Label Studio is unavailable ({error}); "
            "`annotate` creates their tasks later"
        )
        get_logger(__name__).warning(notice)
        return 0, (notice,)


@task(cache_policy=NO_CACHE)
def store_report(
    workspace: Workspace,
    champion: Training,
    before: People,
    now: People,
    drifts: Sequence[Drift],
    changes: Sequence[PerformanceChange],
    priorities: Mapping[str, str],
    path: Path | None,
) -> tuple[str, bool]:
    """Store the findings, once for the same people with the same scores; returns the key of the page and whether it is new."""
    facts = {
        "model": REGIONS,
        "version": champion.version,
        "snapshot": champion.snapshot,
        "people_before": len(before.subjects),
        "people_now": len(now.subjects),
        "drifts": [asdict(drift) for drift in drifts],
        "promises": [asdict(change) for change in changes],
        "asked_about": len(priorities),
    }
    people = [list(now.subjects), sorted(priorities)]
    name = sha256(json.dumps([facts, people], sort_keys=True, default=str).encode()).hexdigest()[:16]
    html = render_drift_page(facts, before, now, at=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"))
    key = layout.monitoring_key(champion.model_digest, name, ".html")
    workspace.store.put(layout.monitoring_key(champion.model_digest, name, ".json"), json.dumps(facts, indent=1).encode())
    new = workspace.store.put(key, html.encode())
    if path is not None:
        path.write_bytes(workspace.store.get(key))
    return key, new


def emit_alarm(champion: Training, drifted: Sequence[Drift], worse: Sequence[PerformanceChange], key: str) -> None:
    """Emit the event that automations react to; it contains no pseudonym."""
    emit_event(
        event="vitau.monitor.alarm",
        resource={"prefect.resource.id": f"vitau.model.{REGIONS}", "vitau.version": str(champion.version)},
        payload={
            "drifted": [drift_name(drift) for drift in drifted],
            "broken_promises": [change.measure for change in worse],
            "report": key,
        },
    )


def drift_name(drift: Drift) -> str:
    """Return the name of a comparison: the measure, and the source if there is one."""
    return drift.measure if drift.source is None else f"{drift.measure}, source {drift.source}"
