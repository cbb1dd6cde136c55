"""The people that monitoring compares: their frames, and their measures from frames and scores."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_logger

from flows.execution.clip_worker import frames_version
from flows.measuring.people import PersonMeasures, people_measures
from flows.workspace import Workspace
from vitau.catalog.catalog import Training
from vitau.data import snapshot as snapshots
from vitau.data.parquet import read_table
from vitau.data.usable_frames import UsableFrames
from vitau.evaluation.drift import MIN_PEOPLE, People
from vitau.measures.reporting.words import measure_words
from vitau.measures.results import Task
from vitau.progress import track
from vitau.schema import EMBEDDING_SIZE, Split, canonical_name

QUALITY: Final = ("sharpness", "brightness", "clipped", "face_px", "yaw_deg", "pitch_deg", "roll_deg", "detector_score")
INPUTS: Final = tuple(name.replace("_", " ") for name in QUALITY)
FACE: Final = "face (identity embedding)"
PALSY_SCORE: Final = "palsy score"
REGION_SCORE: Final = "mean region score"
ASYMMETRY: Final = "asymmetry of movement"
AT_REST: Final = {
    name: f"{measure_words(name)} at rest, right − left" for name in ("brow_height", "lid_gap", "lip_corner_height")
}
"""Measures whose difference between the sides is compared. It keeps its sign, so that a camera from the side changes it."""


def held_out(trained_on: pa.Table) -> pa.Table:
    """Return the frames of the test people of a snapshot; scores of training people would be too good."""
    return trained_on.filter(pc.equal(trained_on["split"], Split.TEST.value))


def unseen_people(trained_on: pa.Table, left_out: Collection[str]) -> set[str]:
    """Return the people of a snapshot whose scores are by models that never saw them: left out, or else held out."""
    chosen = trained_on if left_out else held_out(trained_on)
    return {name for name in chosen["subject"].to_pylist() if not left_out or name in left_out}


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
    """Collect the measures of each person: mean quality and face embedding over the frames, scores, and movement."""
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
    numbers |= collect_movement(workspace, tuple(quality))
    unseen = np.full(EMBEDDING_SIZE, np.nan)
    face_SD = np.array([np.mean(own, axis=0) if own else unseen for own in faces.values()]).reshape(-1, EMBEDDING_SIZE)
    return People(
        subjects=tuple(quality),
        source=tuple(source[person] for person in quality),
        numbers=numbers,
        vectors={FACE: face_SD},
        mixtures={"source": tuple(source[person] for person in quality)},
    )


def collect_movement(workspace: Workspace, people: Sequence[str]) -> dict[str, npt.NDArray[np.float64]]:
    """Collect the measured movement of people, from all their recordings; NaN where it was not measured.

    Damaged measures are logged, and left out.
    """
    merged = workspace.catalog.merged_names()
    owners = [canonical_name(person, merged) for person in people]
    measured = people_measures(workspace, set(owners))
    for person in measured.values():
        if person.damaged:
            get_logger(__name__).warning("%s", person.notes[-1])
    found = {name: movement_numbers(person) for name, person in measured.items()}
    return {
        name: np.array([found.get(owner, {}).get(name, np.nan) for owner in owners], dtype=np.float64)
        for name in (ASYMMETRY, *AT_REST.values())
    }


def movement_numbers(person: PersonMeasures) -> dict[str, float]:
    """Return the asymmetry of a person's movement, and the differences between the sides at rest, where they were measured."""
    if person.analysis is None:
        return {}
    at_rest = {
        AT_REST[measure.measure]: measure.difference
        for measure in person.analysis.measures
        if measure.task is Task.REST and measure.measure in AT_REST
    }
    found = {ASYMMETRY: person.analysis.person.asymmetry, **at_rest}
    return {name: value for name, value in found.items() if value is not None}


def unmeasured_sentence(before: People, now: People) -> str | None:
    """Return who has no measured movement, and whether it is compared nevertheless; ``None`` if everyone has."""
    groups = [people for people in (before, now) if people.subjects]
    known = [int((~np.isnan(people.numbers[ASYMMETRY])).sum()) for people in (before, now)]
    if not any(np.isnan(people.numbers[ASYMMETRY]).any() for people in groups):
        return None
    counted = (
        f"Movement was measured in {known[0]} of {len(before.subjects)} people before and {known[1]} of {len(now.subjects)} now"
    )
    if min(known) >= MIN_PEOPLE:
        return f"{counted}. The others are left out of its comparison."
    remedy = "`python -m flows measures` measures earlier recordings"
    return f"{counted}, and is not compared: {MIN_PEOPLE} of each are needed. {remedy}."


def mean(values: Iterable[float | None]) -> float:
    """Return the mean of the values that are not ``None``; NaN if there are none."""
    found = [value for value in values if value is not None]
    return sum(found) / len(found) if found else float("nan")


def champion_scores(
    workspace: Workspace, champion: Training, left_out: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, float]]:
    """Return the champion's scores by person: probability of a palsy, and the mean score of the regions.

    ``left_out`` are the summaries of people who were left out; they replace the scores by a model that learned from them.
    """
    found = {}
    summaries = {score.subject: score.summary for score in workspace.catalog.scores(champion.model_digest)}
    for subject, summary in {**summaries, **left_out}.items():
        regions = [region["score"] for region in summary["regions"].values()]
        found[subject] = {PALSY_SCORE: float(summary["palsy_score"])}
        if regions:
            found[subject][REGION_SCORE] = float(np.mean(regions))
    return found
