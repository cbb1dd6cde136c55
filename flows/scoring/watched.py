"""Scoring of the people of unknown status who arrived in the watched folder: one report per day of arrival, in the store."""

import json
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

import pyarrow as pa

from flows.execution.executor import Engine
from flows.promotion.champion import Champion, approved_champion
from flows.promotion.registered_models import REGIONS
from flows.rescore import fetch_champion, score_people
from flows.scoring.new_people import frames_of
from flows.scoring.results import NewPeople, new_people_report
from flows.workspace import Workspace
from vitau.data import layout
from vitau.registry.bundle import folder_digest
from vitau.schema import Cohort
from vitau.scoring.report import write_report

PAGE: Final = "report.html"


@dataclass(frozen=True, kw_only=True)
class WatchedScores:
    """The people of unknown status with a usable frame, those scored by this run, and the addresses of new reports."""

    people: int = 0
    new_people: int = 0
    reports: tuple[str, ...] = ()


def score_unknown_people(workspace: Workspace) -> WatchedScores:
    """Score every person of unknown status who has no score of the champion; without a champion nobody is scored."""
    unknown = {subject.pseudonym for subject in workspace.catalog.subjects() if subject.cohort is Cohort.UNKNOWN}
    champion = approved_champion(workspace, REGIONS) if unknown else None
    if champion is None:
        return WatchedScores()
    folder = fetch_champion(workspace)
    frames: pa.Table = frames_of(workspace, unknown)
    scored = score_people(workspace, folder, frames, Engine.LOCAL)
    people = set(frames["subject"].to_pylist())
    return WatchedScores(
        people=len(people), new_people=scored.people, reports=store_reports(workspace, champion, folder, people)
    )


def store_reports(workspace: Workspace, champion: Champion, folder: Path, people: set[str]) -> tuple[str, ...]:
    """Write a report about the people of each day of arrival into the store, unless it is there; return the new addresses.

    The key depends on the people and the clips that were scored, so that a later arrival of the same day has a page of its own.
    """
    scores = {score.subject: score for score in workspace.catalog.scores(folder_digest(folder))}
    arrivals = workspace.catalog.arrivals()
    days: dict[str, list[str]] = defaultdict(list)
    for name in sorted(people & scores.keys()):
        days[arrivals[name][:10]].append(name)
    new = []
    for day, names in sorted(days.items()):
        facts = [(name, scores[name].summary.get("clips"), scores[name].summary.get("revisions")) for name in names]
        digest = sha256(json.dumps([day, facts]).encode()).hexdigest()[:16]
        key = layout.report_key(f"new-{digest}", REGIONS, champion.version, PAGE)
        if workspace.store.exists(key):
            continue
        with tempfile.TemporaryDirectory(prefix="vitau-report-") as place:
            report = new_people_report(workspace, folder, NewPeople(items=()), names)
            workspace.store.put(key, write_report(report, Path(place) / PAGE))
        new.append(workspace.store.location(key))
    return tuple(new)
