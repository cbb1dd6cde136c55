"""Compare the people who arrived since the champion's snapshot with those in it, and the champion's performance on both.

The champion scores the new people, and measures are compared by person. If something drifted, an event is emitted, and the
people who differ most are the next that readers see: their labels are what the next training lacks.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.events import emit_event
from prefect.logging import get_logger

from flows.erasure.living import load_living
from flows.execution.executor import Engine
from flows.freeze import labeled_people
from flows.promotion.champion import approved_champion, training_of
from flows.promotion.left_out import left_out_summaries
from flows.promotion.registered_models import REGIONS
from flows.reports.drift import render_drift_page
from flows.reports.drift_people import (
    champion_scores,
    collect_people,
    frames_of_new_people,
    held_out,
    unmeasured_sentence,
    unseen_people,
)
from flows.reports.run_summary import publish_summary
from flows.rescore import fetch_champion, score_people
from flows.settings import Settings
from flows.workspace import PrivatePath, Workspace, open_workspace
from vitau.catalog.catalog import Training
from vitau.data import layout
from vitau.errors import LabelingError
from vitau.evaluation.drift import Drift, People, compare, surprisal
from vitau.evaluation.performance import PerformanceChange, compare_performance
from vitau.schema import AUS, Cohort

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
        erased: Number of people of the snapshot who were erased, and are left out.
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
    erased: int = 0


@flow(name="monitor", flow_run_name="monitor", validate_parameters=False, on_completion=[publish_summary])
def monitor(report: PrivatePath | None = None, days: int | None = None, settings: Settings | None = None) -> MonitorSummary:
    """Compare the people who arrived since the champion's snapshot (in the last ``days``, if given) with those in it."""
    workspace = open_workspace(settings)
    folder = fetch_champion(workspace)
    champion = champion_training(workspace)
    living = load_living(workspace, champion.snapshot)
    trained_on, left_out = living.rows, left_out_summaries(workspace, champion)
    arrived = frames_of_new_people(workspace, trained_on, days)
    known = arrived if left_out else pa.concat_tables([held_out(trained_on), arrived])
    score_people(workspace, folder, known, Engine.LOCAL)
    scores, tested = champion_scores(workspace, champion, left_out), unseen_people(trained_on, left_out)
    before = collect_people(workspace, trained_on, {name: scores[name] for name in tested & scores.keys()})
    now = collect_people(workspace, arrived, scores)
    drifts = compare(before, now)
    changes = check_performance(workspace, champion, trained_on, arrived)
    drifted = [drift for drift in drifts if drift.drifted]
    priorities = prioritize(workspace, before, now, drifted)
    pushed, notices = push_priorities(workspace, priorities)
    key, new = store_report(
        workspace, champion, before, now, drifts, changes, priorities, None if report is None else report.path
    )
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
        notices=(*notices, *filter(None, [unmeasured_sentence(before, now)])),
        erased=living.num_erased,
    )


def champion_training(workspace: Workspace) -> Training:
    """Return the training of the region champion, whose bundle contains both models."""
    champion = approved_champion(workspace, REGIONS)
    assert champion is not None, "its folder was fetched"
    return training_of(workspace, champion)


@task(cache_policy=NO_CACHE)
def check_performance(
    workspace: Workspace, champion: Training, trained_on: pa.Table, arrived: pa.Table
) -> list[PerformanceChange]:
    """Compare the champion's performance on the test people with that on people who were scored first and labeled later."""
    labels = {name: answer for name, (_, answer) in labeled_people(workspace, workspace.catalog.labels()).items()}
    cohorts = dict(zip(trained_on["subject"].to_pylist(), trained_on["cohort"].to_pylist(), strict=True))
    cohorts |= dict(zip(arrived["subject"].to_pylist(), arrived["cohort"].to_pylist(), strict=True))
    summaries = {score.subject: score.summary for score in workspace.catalog.scores(champion.model_digest)}
    left_out = left_out_summaries(workspace, champion)
    summaries |= left_out
    groups = [
        sorted(people & labels.keys() & summaries.keys())
        for people in (unseen_people(trained_on, left_out), set(arrived["subject"].to_pylist()))
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
        "unmeasured": unmeasured_sentence(before, now),
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
