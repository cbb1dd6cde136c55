"""Key frames: choose the pictures of a task, compare them with those a reader was shown, and find stale answers."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from prefect import task
from prefect.cache_policies import NO_CACHE

from flows.annotation.exercises import exercise_frames
from flows.annotation.large_pictures import write_large_pictures
from flows.annotation.suggestions import ChampionScores
from flows.execution.clip_worker import frames_version
from flows.workspace import Workspace
from labeling.interface.measure_block import MeasureBlock
from labeling.sampling.key_frames import choose_key_frames
from labeling.sampling.landmark_shapes import from_rest
from labeling.sampling.staleness import Shown, Stale, difference, material_name, shown_frames, stale_answers
from labeling.sampling.tasks import build_task, image_url, with_captions, with_measures, with_player
from vitau.catalog.catalog import FrameTable
from vitau.data import layout
from vitau.data.nuisance import FRAME_RATE
from vitau.data.parquet import read_table
from vitau.data.usable_frames import UsableFrames
from vitau.measures.reporting.words import SHORT_TASKS
from vitau.measures.results import Task
from vitau.progress import track
from vitau.schema import KNOWN_COHORTS, Clip, Cohort, Comparison, LedgerRow, case_name, cases_of, person_of
from vitau.store import Store

NUM_KEY_FRAMES: Final = 8
PLAYABLE: Final = frozenset({".mp4", ".m4v", ".webm", ".mov"})
"""Suffixes that a browser may be able to play; Label Studio shows a black picture if it cannot."""
STEPPABLE: Final = frozenset({".mp4", ".webm"})
"""Suffixes that Label Studio's own player accepts; of others it complains on top of the page."""

QUALITY: Final = ("sharpness", "detector_score", "yaw_deg", "pitch_deg")
CHOICE_COLUMNS: Final = ("clip", "frame_index", "time_s", "crop_landmarks", *QUALITY)
"""The columns by which key frames are chosen, without pictures."""


@dataclass(frozen=True, kw_only=True)
class Material:
    """The frame tables of a person at a visit with a usable frame, and a name that changes when there are other tables.

    The name does not change when a reader marks a frame unusable: open tasks keep their pictures, later tasks leave it out.
    """

    name: str
    tables: tuple[FrameTable, ...]


def cases(workspace: Workspace, cohorts: Collection[Cohort] = (Cohort.PALSY,)) -> list[str]:
    """Return the cases of the people of some cohorts, by default of patients: each person at each visit, in order of time."""
    return cases_among(workspace, workspace.catalog.clips(), cohorts)


def cases_among(workspace: Workspace, clips: Iterable[Clip], cohorts: Collection[Cohort]) -> list[str]:
    """Return the cases of the people of some cohorts, given the usable clips."""
    own = cases_of(clips)
    people = [subject.pseudonym for subject in workspace.catalog.subjects() if subject.cohort in cohorts]
    return [case for person in people for case in own.get(person, (person,))]


def materials(workspace: Workspace, cohorts: Collection[Cohort] = (Cohort.PALSY,)) -> dict[str, Material]:
    """Return the material of every case with a usable frame, by default of patients; case → material. No table is read."""
    clips = workspace.catalog.clips()
    owners = {clip.sha256: case_name(clip.subject, clip.visit) for clip in clips}
    tables: dict[str, list[FrameTable]] = {case: [] for case in cases_among(workspace, clips, cohorts)}
    for table in workspace.catalog.frame_tables(frames_version()):
        if (owner := owners[table.clip]) in tables and table.num_frames > sum(table.quarantined.values()):
            tables[owner].append(table)
    usable = usable_frames(workspace)
    return {
        subject: Material(name=material_name(f"{table.clip} {table.recipe}" for table in found), tables=tuple(found))
        for subject, found in tables.items()
        if any(usable.exist(table) for table in found)
    }


def material_names(workspace: Workspace) -> dict[str, str]:
    """Return the name of the material of every case of patients with a usable frame."""
    return {subject: material.name for subject, material in materials(workspace).items()}


def usable_frames(workspace: Workspace) -> UsableFrames:
    """Return the usable frames of a workspace, given the marks of its readers so far."""
    return UsableFrames(workspace.store, workspace.catalog.unusable_frames())


@task(cache_policy=NO_CACHE)
def compare_material(workspace: Workspace) -> int:
    """Compare today's key frames with the frames that readers were shown, once each; return the number of new comparisons.

    Only people with a clip of which no frame was shown are compared. A round without new clips reads no frame.
    """
    catalog, current = workspace.catalog, materials(workspace)
    known = {(comparison.subject, comparison.material, comparison.shown) for comparison in catalog.comparisons()}
    waiting: dict[str, dict[str, Shown]] = defaultdict(dict)
    for shown in shown_frames(workspace.newest_answers()[0]):
        material = current.get(shown.subject)
        if material is None or not shown.lacks(table.clip for table in material.tables):
            continue
        if (person_of(shown.subject), material.name, shown.name) not in known:
            waiting[shown.subject][shown.name] = shown
    for subject in track(waiting, "comparing new frames", len(waiting)):
        for comparison in compare_person(workspace, subject, current[subject], waiting[subject].values()):
            catalog.add_comparison(comparison)
    return sum(map(len, waiting.values()))


def compare_person(workspace: Workspace, subject: str, material: Material, pages: Collection[Shown]) -> list[Comparison]:
    """Compare today's key frames of one person with what each reader was shown; a frame that is gone is left out.

    Frames that a reader marked unusable count as shown. Without them, the next frame that looks the same would count as new.
    """
    usable = usable_frames(workspace)
    frames = usable.read(material.tables, CHOICE_COLUMNS, also=frozenset().union(*(shown.frames for shown in pages)))
    moved = from_rest(landmarks_of(frames), frames["clip"].to_pylist())
    names = frame_names(frames)
    candidates = [index for index, name in enumerate(names) if name not in usable.marked]
    exercises = exercise_frames(workspace.store, material.tables)
    now = [candidates[index] for index in key_frames(frames.take(candidates), exercises)]
    index_of = {name: index for index, name in enumerate(names)}
    comparisons = []
    for shown in pages:
        seen = [index_of[frame] for frame in sorted(shown.frames) if frame in index_of]
        comparisons.append(
            Comparison(
                subject=person_of(subject),
                material=material.name,
                shown=shown.name,
                frames=tuple(names[index] for index in now),
                difference=difference(moved[now], moved[seen]) if seen else None,
            )
        )
    return comparisons


def find_stale_answers(workspace: Workspace, rows: Iterable[LedgerRow]) -> list[Stale]:
    """Return the standing answers of a ledger whose people look different in newer frames, by the comparisons so far."""
    threshold, comparisons = workspace.settings.ask_again_above, workspace.catalog.comparisons()
    if not comparisons:  # the materials of all people need not be read
        return []
    return stale_answers(shown_frames(rows), material_names(workspace), comparisons, threshold=threshold)


def build_reader_tasks(
    workspace: Workspace,
    subjects: Sequence[str],
    champion: ChampionScores | None = None,
    measures: Mapping[str, MeasureBlock] | None = None,
) -> dict[str, dict[str, Any]]:
    """Build the task of each case from the key frames of that visit, and write those to the store as pictures.

    Args:
        workspace: the rows and the objects.
        subjects: cases; those without a usable frame are left out.
        champion: scores to show as suggestions; leave it out for blind readers.
        measures: measures to show, by person; leave them out for blind readers.
    """
    current, usable = materials(workspace, KNOWN_COHORTS), usable_frames(workspace)
    drawn = {subject.pseudonym for subject in workspace.catalog.subjects() if subject.synthetic}
    clips = playable_clips(workspace)
    tasks = {}
    present = [subject for subject in subjects if subject in current]
    for subject in track(present, "choosing key frames", len(present)):
        person = person_of(subject)
        images, frames, captions = write_key_frames(workspace, person, current[subject], usable)
        suggestions = champion.suggestions(subject) if champion else None
        blind = build_task(
            subject,
            images,
            frames,
            material=current[subject].name,
            synthetic=person in drawn,
            clips=[clip.url for clip in clips[subject]],
            suggestions=suggestions,
            suggested_by=champion.name if champion and suggestions else None,
        )
        blind = with_captions(blind, captions)
        for clip in clips[subject][:1]:
            if (rate := frame_rate(workspace.store, clip)) is not None:
                blind = with_player(blind, clip.url, rate)
        tasks[subject] = with_measures(blind, measures.get(subject)) if measures else blind
    return tasks


def write_key_frames(
    workspace: Workspace, subject: str, material: Material, usable: UsableFrames
) -> tuple[list[str], list[str], list[str]]:
    """Write the key frames of one person to the store; return their addresses for Label Studio, their names and captions.

    The address is that of the large picture, if there is one. What programs read is always the crop.
    """
    frames = usable.read(material.tables, (*CHOICE_COLUMNS, "crop", "landmarks"))
    exercises = exercise_frames(workspace.store, material.tables)
    chosen = frames.take(key_frames(frames, exercises))
    keys = [
        layout.key_frame_key(subject, row["clip"], row["frame_index"])
        for row in chosen.select(["clip", "frame_index"]).to_pylist()
    ]
    for key, crop in zip(keys, chosen["crop"].to_pylist(), strict=True):
        workspace.store.put(key, crop)
    names = frame_names(chosen)
    large = write_large_pictures(workspace, subject, material.tables, chosen)
    captions = [_caption(exercises.get(name), time_s) for name, time_s in zip(names, chosen["time_s"].to_pylist(), strict=True)]
    shown = [large.get(name, key) for name, key in zip(names, keys, strict=True)]
    return [image_url(workspace.store.uri, key) for key in shown], names, captions


def key_frames(frames: pa.Table, exercises: Iterable[str] = ()) -> list[int]:
    """Return the rows of a person's frames that the readers see.

    Args:
        frames: with ``CHOICE_COLUMNS``.
        exercises: the names of the frames that show rest and each exercise best, in the order in which they are shown.
    """
    quality = {name: frames[name].to_numpy() for name in QUALITY}
    row_of = {name: row for row, name in enumerate(frame_names(frames))}
    named = [row_of[name] for name in exercises if name in row_of]
    return choose_key_frames(landmarks_of(frames), quality, NUM_KEY_FRAMES, named=named)


def _caption(exercise: Task | None, time_s: float) -> str:
    return f"\n{time_s:.1f} s" if exercise is None else f"{SHORT_TASKS[exercise]}\n{time_s:.1f} s"


def frame_names(frames: pa.Table) -> list[str]:
    """Return the name of each row as the ledger has it."""
    return [layout.frame_name(row["clip"], row["frame_index"]) for row in frames.select(["clip", "frame_index"]).to_pylist()]


def landmarks_of(frames: pa.Table) -> NDArray[np.float64]:
    """Return the landmarks in the crop, (N, 136), NaN for a frame without a face."""
    rows = frames["crop_landmarks"].to_pylist()
    return np.array([row if row is not None else [np.nan] * 136 for row in rows], dtype=np.float64).reshape(-1, 136)


@dataclass(frozen=True, kw_only=True)
class PlayableClip:
    """A clip that a browser may play: its frame table, its suffix, and the address at which Label Studio plays it."""

    table: FrameTable
    suffix: str
    url: str


def playable_clips(workspace: Workspace) -> Mapping[str, list[PlayableClip]]:
    """Return the clips of each case that its page plays.

    A range of a longer recording is left out: browsers do not play the lossless video in which it is stored.
    """
    clips = {clip.sha256: clip for clip in workspace.catalog.clips() if clip.suffix in PLAYABLE and not clip.is_range}
    found: dict[str, list[PlayableClip]] = defaultdict(list)
    for table in workspace.catalog.frame_tables(frames_version()):
        if table.clip in clips:
            clip = clips[table.clip]
            url = image_url(workspace.store.uri, layout.raw_key_beside(table.key, clip.suffix))
            found[case_name(clip.subject, clip.visit)].append(PlayableClip(table=table, suffix=clip.suffix, url=url))
    return found


def frame_rate(store: Store, clip: PlayableClip) -> float | None:
    """Return the frames per second of a clip that Label Studio's player accepts, ``None`` of any other."""
    if clip.suffix not in STEPPABLE:
        return None
    noted = read_table(store, clip.table.key, ["frame_index"]).schema.metadata or {}
    rate = noted.get(FRAME_RATE.encode())
    return None if rate is None else float(rate)
