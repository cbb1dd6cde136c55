"""Daily: do the people who come now resemble those the champion was taught with, and does it keep what it promised?

Whoever is new is scored by the champion, everything is compared by person, and where something drifted an event is sent and the
people who differ most are put before the readers: labels of theirs are what the next training lacks.
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
from flows.freeze import labelled_people
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
from vitau.evaluation.drift import Drift, People, Promise, compare, promises, surprisal
from vitau.progress import track
from vitau.registry import registry
from vitau.schema import AUS, EMBEDDING_SIZE, Cohort, Split, canonical_name

QUALITY: Final = ("sharpness", "brightness", "clipped", "face_px", "yaw_deg", "pitch_deg", "roll_deg", "detector_score")
INPUTS: Final = tuple(name.replace("_", " ") for name in QUALITY)
FACE: Final = "face (identity embedding)"
PALSY_SCORE: Final = "palsy score"
REGION_SCORE: Final = "mean region score"
MOST_ASKED: Final = 20
"""People who are put before the readers at once: an afternoon's work of two readers."""


@dataclass(frozen=True, kw_only=True)
class MonitorSummary:
    """What monitoring came to: people compared, what drifted, which promises are broken, who is asked about, where it says so.

    ``new`` is False where the same people with the same scores and labels were looked at before: then no event is sent.
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
    """Compare the people who came since the champion's snapshot (in the last ``days``, if given) with those in it."""
    workspace = open_workspace(settings)
    folder = fetch_champion(workspace)
    champion = champion_training(workspace)
    taught = snapshots.load(workspace.store, champion.snapshot)
    arrived = frames_of_others(workspace, taught, days)
    score_people(workspace, folder, pa.concat_tables([held_out(taught), arrived]), Engine.LOCAL)
    said, tested = what_it_says(workspace, champion), set(held_out(taught)["subject"].to_pylist())
    before = gather_people(workspace, taught, {name: said[name] for name in tested & said.keys()})
    now = gather_people(workspace, arrived, said)
    drifts = compare(before, now)
    kept = check_promises(workspace, champion, taught, arrived)
    drifted = [each for each in drifts if each.drifted]
    asked = ask_about(workspace, before, now, drifted)
    pushed, notices = put_before_readers(workspace, asked)
    key, new = keep_report(workspace, champion, before, now, drifts, kept, asked, report)
    broken = [each for each in kept if each.broken]
    if new and (drifted or broken):
        alarm(champion, drifted, broken, key)
    return MonitorSummary(
        model=REGIONS,
        version=champion.version,
        people_before=len(before.subjects),
        people_now=len(now.subjects),
        drifted=tuple(named(each) for each in drifted),
        broken=tuple(each.measure for each in broken),
        asked_about=len(asked),
        pushed=pushed,
        report=workspace.store.location(key),
        new=new,
        notices=notices,
    )


def champion_training(workspace: Workspace) -> Training:
    """Find the training of the region champion, which answers both questions."""
    version = registry.champion(workspace.settings.mlflow_url, REGIONS)
    assert version is not None, "its folder was fetched"
    return known_training(workspace, REGIONS, version)


def held_out(taught: pa.Table) -> pa.Table:
    """Take the frames of the test people of a snapshot: what the champion says of those it was taught with flatters it."""
    return taught.filter(pc.equal(taught["split"], Split.TEST.value))


@task(cache_policy=NO_CACHE)
def frames_of_others(workspace: Workspace, taught: pa.Table, days: int | None) -> pa.Table:
    """List the usable frames of everybody who is not in the snapshot, labelled or not, as a snapshot lists them."""
    catalog = workspace.catalog
    merged = catalog.merged_names()
    known = {canonical_name(name, merged) for name in pc.unique(taught["subject"]).to_pylist()}
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
def gather_people(workspace: Workspace, frames: pa.Table, said: Mapping[str, Mapping[str, float]]) -> People:
    """Make one person of a person's frames: their mean quality, the best one's face, and what the champion says of them."""
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
        name: np.array([said.get(person, {}).get(name, np.nan) for person in quality]) for name in (PALSY_SCORE, REGION_SCORE)
    }
    unseen = np.full(EMBEDDING_SIZE, np.nan)
    face_SD = np.array([np.mean(each, axis=0) if each else unseen for each in faces.values()]).reshape(-1, EMBEDDING_SIZE)
    return People(
        subjects=tuple(quality),
        source=tuple(source[person] for person in quality),
        numbers=numbers,
        vectors={FACE: face_SD},
        mixtures={"source": tuple(source[person] for person in quality)},
    )


def mean(values: Iterable[float | None]) -> float:
    """Average what is there; not a number where nothing is."""
    found = [value for value in values if value is not None]
    return sum(found) / len(found) if found else float("nan")


def what_it_says(workspace: Workspace, champion: Training) -> dict[str, dict[str, float]]:
    """Give what the champion says of everybody it scored: probability of a palsy, and the mean score of the regions."""
    found = {}
    for score in workspace.catalog.scores(champion.model_digest):
        regions = [region["score"] for region in score.summary["regions"].values()]
        found[score.subject] = {PALSY_SCORE: float(score.summary["palsy_score"])}
        if regions:
            found[score.subject][REGION_SCORE] = float(np.mean(regions))
    return found


@task(cache_policy=NO_CACHE)
def check_promises(workspace: Workspace, champion: Training, taught: pa.Table, arrived: pa.Table) -> list[Promise]:
    """Compare people who were scored first and labelled later with the test people: does the champion do as well on them?"""
    labels = {name: answer for name, (_, answer) in labelled_people(workspace).items()}
    cohorts = dict(zip(taught["subject"].to_pylist(), taught["cohort"].to_pylist(), strict=True))
    cohorts |= dict(zip(arrived["subject"].to_pylist(), arrived["cohort"].to_pylist(), strict=True))
    summaries = {score.subject: score.summary for score in workspace.catalog.scores(champion.model_digest)}
    groups = [
        sorted(set(table["subject"].to_pylist()) & labels.keys() & summaries.keys()) for table in (held_out(taught), arrived)
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
        said = [[summaries[name]["regions"][au.value]["score"] for au in AUS] for name in patients]
        shape = (len(patients), len(AUS))
        regions.append(
            (np.array(truth, bool).reshape(shape), np.array(known, bool).reshape(shape), np.array(said).reshape(shape))
        )
    if not all(groups):
        return []
    found = promises(palsy[0], palsy[1], name="recognition", threshold=threshold)
    if all(len(each[0]) for each in regions):
        found += promises(regions[0], regions[1], name="regions", threshold=np.nextafter(0.0, 1.0))
    return found


@task(cache_policy=NO_CACHE)
def ask_about(workspace: Workspace, before: People, now: People, drifted: Sequence[Drift]) -> dict[str, str]:
    """Make those who differ most the first whom the readers are asked about: palsied people without a label."""
    labelled = {answer.subject for answer in workspace.catalog.labels()}
    waiting = {each.pseudonym for each in workspace.catalog.subjects() if each.cohort is Cohort.PALSY} - labelled
    bits = surprisal(before, now, drifted)
    order = [place for place in np.argsort(-bits, kind="stable") if now.subjects[place] in waiting] if drifted else []
    asked = {
        now.subjects[place]: f"differs by {bits[place]:.1f} bits from those the champion knows" for place in order[:MOST_ASKED]
    }
    if list(asked.items()) != list(workspace.catalog.priority_subjects().items()):
        workspace.catalog.set_priorities(asked)
    return asked


@task(cache_policy=NO_CACHE)
def put_before_readers(workspace: Workspace, asked: Mapping[str, str]) -> tuple[int, tuple[str, ...]]:
    """Open the readers' tasks about these people, if they have none; where Label Studio is away, the next `annotate` does."""
    from flows.annotation.push_tasks import open_projects, push_tasks

    if not asked:
        return 0, ()
    try:
        readers, _ = open_projects(workspace)
        return push_tasks(workspace, readers), ()
    except LabelingError as error:
        notice = f"{len(asked)} people wait for the readers, but Label Studio cannot be used ({error}); `annotate` asks later"
        get_logger(__name__).warning(notice)
        return 0, (notice,)


@task(cache_policy=NO_CACHE)
def keep_report(
    workspace: Workspace,
    champion: Training,
    before: People,
    now: People,
    drifts: Sequence[Drift],
    kept: Sequence[Promise],
    asked: Mapping[str, str],
    path: Path | None,
) -> tuple[str, bool]:
    """Keep what was found, once for the same people with the same scores; returns the page's key, and whether it is new."""
    facts = {
        "model": REGIONS,
        "version": champion.version,
        "snapshot": champion.snapshot,
        "people_before": len(before.subjects),
        "people_now": len(now.subjects),
        "drifts": [asdict(each) for each in drifts],
        "promises": [asdict(each) for each in kept],
        "asked_about": len(asked),
    }
    people = [list(now.subjects), sorted(asked)]
    name = sha256(json.dumps([facts, people], sort_keys=True, default=str).encode()).hexdigest()[:16]
    html = render_drift_page(facts, before, now, at=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"))
    key = layout.monitoring_key(champion.model_digest, name, ".html")
    workspace.store.put(layout.monitoring_key(champion.model_digest, name, ".json"), json.dumps(facts, indent=1).encode())
    new = workspace.store.put(key, html.encode())
    if path is not None:
        path.write_bytes(workspace.store.get(key))
    return key, new


def alarm(champion: Training, drifted: Sequence[Drift], broken: Sequence[Promise], key: str) -> None:
    """Send the event that automations hear; nobody's pseudonym is in it."""
    emit_event(
        event="vitau.monitor.alarm",
        resource={"prefect.resource.id": f"vitau.model.{REGIONS}", "vitau.version": str(champion.version)},
        payload={
            "drifted": [named(each) for each in drifted],
            "broken_promises": [each.measure for each in broken],
            "report": key,
        },
    )


def named(drift: Drift) -> str:
    """Name a comparison in words."""
    return drift.measure if drift.source is None else f"{drift.measure}, source {drift.source}"
