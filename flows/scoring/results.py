"""Results of scoring new people: the report, tables and pictures, and the list that leads back from a person to a file."""

import csv
import io
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, Final

from flows.execution.clip_worker import frames_version
from flows.promotion.registered_models import REGIONS, bundled
from flows.reports.movement import add_movement, measuring_method
from flows.reports.scoring import Known, quarantined, reported_models, reported_subject, stated_visits
from flows.workspace import Workspace
from vitau.catalog.catalog import ScoredSubject, Training
from vitau.registry.bundle import folder_digest
from vitau.schema import AUS, Cohort, Protocol, Skipped, Split, Subject, safe_cell
from vitau.scoring.aggregate import VisitScore
from vitau.scoring.movement import MOVEMENT_COLUMNS, movement_of
from vitau.scoring.predict import Predictor
from vitau.scoring.report import Report, ReportedSubject, write_report
from vitau.store.atomic import make_private_folders, write_atomic

COLUMNS: Final = (
    "person",
    "items",
    "cohort",
    "decision",
    "uncertain",
    "palsy_score",
    "low",
    "high",
    "threshold",
    "affected",
    "frames",
    "warning",
    *MOVEMENT_COLUMNS,
)
"""The columns of ``people.csv``."""
VISIT_COLUMNS: Final = (
    "person",
    "visit",
    "recorded_at",
    "items",
    "palsy_score",
    "low",
    "high",
    "frames",
    *AUS,
    *MOVEMENT_COLUMNS,
)
"""The columns of ``visits.csv``; those of the regions hold their scores."""
_SUMMARY_ONLY: Final = ("key_frames", "revisions", "clips")


@dataclass(frozen=True, kw_only=True)
class NewItem:
    """One recording of a source: its number there, its person and clip, and the most faces in a frame.

    For the owner only: who it is according to the source, empty if it does not say, and the place of the file.
    """

    item: str
    subject: str
    subject_id: str
    place: str
    clip: str
    num_faces: int = 1


@dataclass(frozen=True, kw_only=True)
class NewPeople:
    """The content of a source: recordings in the catalog, and the items that cannot be scored."""

    items: tuple[NewItem, ...]
    skipped: tuple[Skipped, ...] = ()


def new_people_report(workspace: Workspace, champion: Path, found: NewPeople, people: Collection[str]) -> Report:
    """Gather the report about some people with a score of the champion in a folder."""
    predictor, digest = Predictor(champion), folder_digest(champion)
    known = {subject.pseudonym: subject for subject in workspace.catalog.subjects()}
    splits, left_out, visits = workspace.catalog.splits(), quarantined(workspace), stated_visits(workspace)
    places = {item.subject: place for place, item in reversed(list(enumerate(found.items)))}
    scores = [score for score in workspace.catalog.scores(digest) if score.subject in people and score.subject in known]
    scores.sort(key=lambda score: places.get(score.subject, len(places)))
    models = reported_models(workspace, predictor, digest)
    version = next((model.version for model in models if model.name == REGIONS), None)
    learned = learned_from(bundled(workspace, digest))
    subjects = [
        replace(
            reported_subject(workspace, score, predictor.rule, Known(), left_out[score.subject], visits.get(score.subject, ())),
            notes=[
                *predictor.warnings,
                *notes_on(known[score.subject], found.items, learned=splits.get(score.subject) in learned),
            ],
        )
        for score in scores
    ]
    unscored = sorted({item.subject for item in found.items} & set(people) - {score.subject for score in scores})
    return Report(
        title="Facial palsy: new people",
        synthetic=predictor.synthetic,
        warnings=predictor.warnings,
        models=models,
        subjects=add_movement(workspace, subjects),
        measuring=measuring_method(),
        skipped=[*found.skipped, *(Skipped(item=name, reason="erased while it was scored") for name in unscored)],
        lineage={
            "champion": f"{REGIONS}/{version}" if version is not None else REGIONS,
            "model digest": digest,
            "frame recipe and limits": frames_version(),
            "store": workspace.store.uri,
        },
        notes=["Nobody was asked what these people have. The page shows what the model finds."],
    )


def learned_from(trainings: Iterable[Training]) -> set[Split]:
    """Return the splits with people that a model may have learned from: all of them unless people were held out."""
    held_out = all(training.protocol is Protocol.SUBJECTS for training in trainings)
    return {Split.TRAIN, Split.VAL} if held_out else set(Split)


def notes_on(subject: Subject, items: Iterable[NewItem], *, learned: bool) -> Iterable[str]:
    """Yield sentences about a person: the items, the status, and whether the model may have learned from the person."""
    own = [item for item in items if item.subject == subject.pseudonym]
    place = f"In the source: {', '.join(item.item for item in own)}. " if own else ""
    if subject.cohort is Cohort.UNKNOWN:
        yield f"{place}Status unknown."
    else:
        yield f"{place}Recorded as {'a patient' if subject.cohort is Cohort.PALSY else 'a control'}."
    for item in own:
        if item.num_faces > 1:
            yield f"{item.item} shows up to {item.num_faces} faces, and one of them was scored: look whose pictures these are."
    if learned:
        yield "The recordings of this person may have been used to train or choose this model: the score flatters it."


def write_results(workspace: Workspace, report: Report, found: NewPeople, out: Path) -> None:
    """Write ``report.html``, ``people.csv``, ``people.json``, ``skipped.csv``, ``overlays/`` and ``items.csv`` into a folder.

    They name people by pseudonym and recordings by number, except ``items.csv``: it is for the owner, and leads back to the
    files. Where a visit is stated, there is ``visits.csv`` too. Everything is readable by the owner only. Files of an earlier
    run are replaced.
    """
    make_private_folders(out)
    digest = report.lineage["model digest"]
    scores = {score.subject: score for score in workspace.catalog.scores(digest)}
    cohorts = {subject.pseudonym: subject.cohort for subject in workspace.catalog.subjects()}
    records = [person_record(report, subject, scores[subject.name], found.items) for subject in report.subjects]
    for subject in report.subjects:
        write_overlays(workspace, scores[subject.name], out / "overlays" / subject.name)
    write_atomic(out / "people.json", json.dumps(records, indent=1, ensure_ascii=False) + "\n")
    write_atomic(out / "people.csv", as_csv(COLUMNS, (person_cells(record, cohorts) for record in records)))
    write_visits(report, found.items, out / "visits.csv")
    write_atomic(out / "skipped.csv", as_csv(("item", "reason"), ((skip.item, skip.reason) for skip in report.skipped)))
    rows = ((item.item, item.subject, item.subject_id, item.place) for item in found.items)
    write_atomic(out / "items.csv", as_csv(("item", "person", "subject", "place"), rows))
    write_report(report, out / "report.html")  # last: it stands for a complete folder


def person_record(report: Report, subject: ReportedSubject, score: ScoredSubject, items: Iterable[NewItem]) -> dict[str, Any]:
    """Return a person's score with its origin: items, clips, recipe of the frames, and champion."""
    own = [item for item in items if item.subject == subject.name]
    return {
        "person": subject.name,
        "items": [item.item for item in own],
        "score": {name: value for name, value in score.summary.items() if name not in _SUMMARY_ONLY},
        **({"visits": [visit_record(subject, visited) for visited in subject.visits]} if subject.visits else {}),
        **movement_of(subject.measured).summary(),
        "not_used": dict(subject.left_out),
        "warnings": list(report.warnings),
        "clips": score.summary.get("clips") or sorted({item.clip for item in own}),
        "scores_key": score.key,
        **{name.replace(" ", "_"): value for name, value in report.lineage.items() if name != "store"},
    }


def person_cells(record: dict[str, Any], cohorts: dict[str, Cohort]) -> Sequence[object]:
    """Return a person's row of ``people.csv``."""
    score = record["score"]
    low, high = score["interval"] or ("", "")
    affected = [au for au, region in score["regions"].items() if region["affected"]]
    return (
        record["person"],
        "; ".join(record["items"]),
        cohorts[record["person"]].value,
        "palsy" if score["palsied"] else "no palsy",
        "yes" if score["uncertain"] else "no",
        *(score["palsy_score"], low, high, score["threshold"]),
        " ".join(affected) if score["regions"] else "not analyzed",
        score["num_frames"],
        " ".join(record["warnings"]),
        *blank_if_none(record, MOVEMENT_COLUMNS),
    )


def write_visits(report: Report, items: Sequence[NewItem], path: Path) -> None:
    """Write one row per person and visit, of the people with a stated visit; without such people there is no file."""
    rows = [visit_cells(subject, visited, items) for subject in report.subjects for visited in subject.visits]
    if rows:
        write_atomic(path, as_csv(VISIT_COLUMNS, rows))
    else:
        path.unlink(missing_ok=True)  # of an earlier run


def visit_record(subject: ReportedSubject, visited: VisitScore) -> dict[str, Any]:
    """Return the score of a visit and the measured movement, without a decision, which is about the person."""
    return visited.summary() | movement_of(subject.measured, visited.visit).summary()


def visit_cells(subject: ReportedSubject, visited: VisitScore, items: Iterable[NewItem]) -> Sequence[object]:
    """Return a row of ``visits.csv``."""
    found, visit = visit_record(subject, visited), visited.visit
    return (
        subject.name,
        visit.name or "",
        visit.recorded_at or "",
        "; ".join(item.item for item in items if item.clip in visit.clips),
        "" if visited.score is None else found["palsy_score"],
        *(found["interval"] or ("", "")),
        found["num_frames"],
        *(found["regions"].get(au, {}).get("score", "") for au in AUS),
        *blank_if_none(found, MOVEMENT_COLUMNS),
    )


def blank_if_none(record: Mapping[str, Any], names: Iterable[str]) -> Iterator[object]:
    """Yield values of a record as cells; an absent one is empty."""
    return ("" if record[name] is None else record[name] for name in names)


def write_overlays(workspace: Workspace, score: ScoredSubject, folder: Path) -> None:
    """Copy the pictures of a person's key frames from the store."""
    make_private_folders(folder)
    for frame in score.summary["key_frames"]:
        for key in frame["pictures"].values():
            write_atomic(folder / PurePosixPath(key).name, workspace.store.get(key))


def as_csv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table as CSV in which no cell is a formula."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(header)
    writer.writerows([safe_cell(str(cell)) for cell in row] for row in rows)
    return out.getvalue()
