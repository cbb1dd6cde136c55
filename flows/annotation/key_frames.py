"""What there is of each person now: their clips' frames, the task that shows the best of them, and whether they look new."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from prefect import task
from prefect.cache_policies import NO_CACHE

from flows.annotation.pull_answers import palsied
from flows.annotation.suggestions import Champion
from flows.execution.clip_worker import frames_version
from flows.workspace import Workspace, progress
from labeling.sampling.landmark_shapes import from_rest
from labeling.sampling.staleness import Shown, Stale, difference, material_name, shown_frames, stale_answers
from labeling.sampling.tasks import build_task, choose_key_frames, image_url
from vitau.catalog.catalog import FrameTable
from vitau.data import layout
from vitau.data.usable_frames import UsableFrames
from vitau.schema import Comparison, LedgerRow

KEY_FRAMES: Final = 8
PLAYABLE: Final = frozenset({".mp4", ".m4v", ".webm", ".mov"})
"""What a browser may be able to play; Label Studio shows a black picture where it cannot."""

QUALITY: Final = ("sharpness", "detector_score", "yaw_deg", "pitch_deg")
LOOK: Final = ("clip", "frame_index", "crop_landmarks", *QUALITY)
"""What the choice of key frames looks at: the pictures themselves stay where they are."""


@dataclass(frozen=True, kw_only=True)
class Material:
    """The frame tables of a person who has a usable frame, and a name that changes when there are other tables.

    It does not change when a reader marks a frame unusable: an open task keeps its pictures, the next one is made without it.
    """

    name: str
    tables: tuple[FrameTable, ...]


def materials(workspace: Workspace) -> dict[str, Material]:
    """Find what there is of everybody whom the readers are asked about; rows only, no frame is read."""
    owners = {clip.sha256: clip.subject for clip in workspace.catalog.clips()}
    tables: dict[str, list[FrameTable]] = {subject: [] for subject in palsied(workspace)}
    for table in workspace.catalog.frame_tables(frames_version()):
        if (owner := owners[table.clip]) in tables and table.num_frames > sum(table.quarantined.values()):
            tables[owner].append(table)
    usable = usable_frames(workspace)
    return {
        subject: Material(name=material_name(f"{each.clip} {each.recipe}" for each in there), tables=tuple(there))
        for subject, there in tables.items()
        if any(usable.exist(table) for table in there)
    }


def material_names(workspace: Workspace) -> dict[str, str]:
    """Name what there is of everybody whom the readers are asked about."""
    return {subject: material.name for subject, material in materials(workspace).items()}


@task(cache_policy=NO_CACHE)
def compare_material(workspace: Workspace) -> int:
    """Set new key frames beside the frames that were shown, once for each; returns how many comparisons are new.

    Only people with a clip of which no frame was shown are looked at: a round in which nothing is new reads no frame.
    """
    catalog, there = workspace.catalog, materials(workspace)
    known = {(each.subject, each.material, each.shown) for each in catalog.comparisons()}
    waiting: dict[str, dict[str, Shown]] = defaultdict(dict)
    for shown in shown_frames(workspace.ledger()):
        material = there.get(shown.subject)
        if material is None or not shown.lacks(table.clip for table in material.tables):
            continue
        if (shown.subject, material.name, shown.name) not in known:
            waiting[shown.subject][shown.name] = shown
    for subject in progress(waiting, "looking at new frames", len(waiting)):
        for comparison in compare_person(workspace, subject, there[subject], waiting[subject].values()):
            catalog.add_comparison(comparison)
    return sum(map(len, waiting.values()))


def compare_person(workspace: Workspace, subject: str, material: Material, shown: Collection[Shown]) -> list[Comparison]:
    """Compare one person's key frames of now with what each reader was shown; a frame that is gone is not compared.

    A frame that the reader marked unusable was shown all the same: without it, the next frame like it would count as new.
    """
    usable = usable_frames(workspace)
    frames = usable.read(material.tables, LOOK, also=frozenset().union(*(each.frames for each in shown)))
    moved = from_rest(landmarks_of(frames), frames["clip"].to_pylist())
    names = frame_names(frames)
    candidates = [index for index, name in enumerate(names) if name not in usable.marked]
    now = [candidates[index] for index in key_frames(frames.take(candidates))]
    place = {name: index for index, name in enumerate(names)}
    found = []
    for each in shown:
        seen = [place[frame] for frame in sorted(each.frames) if frame in place]
        found.append(
            Comparison(
                subject=subject,
                material=material.name,
                shown=each.name,
                frames=tuple(names[index] for index in now),
                difference=difference(moved[now], moved[seen]) if seen else None,
            )
        )
    return found


def stale(workspace: Workspace, rows: Iterable[LedgerRow]) -> list[Stale]:
    """Find the answers of a ledger that stand although newer frames look different; as far as was compared."""
    threshold = workspace.settings.ask_again_above
    return stale_answers(shown_frames(rows), material_names(workspace), workspace.catalog.comparisons(), threshold=threshold)


def reader_tasks(workspace: Workspace, subjects: Sequence[str], champion: Champion | None = None) -> dict[str, dict[str, Any]]:
    """Build the task of each person from their key frames, which are put into the store as pictures; nobody without a face.

    With a ``champion`` the tasks show what it suggests.
    """
    there = materials(workspace)
    drawn = {subject.pseudonym for subject in workspace.catalog.subjects() if subject.synthetic}
    recordings = clip_urls(workspace)
    built = {}
    asked = [subject for subject in subjects if subject in there]
    for subject in progress(asked, "choosing key frames", len(asked)):
        suggested = champion.suggestions(subject) if champion else None
        built[subject] = key_frame_task(
            workspace,
            subject,
            there[subject],
            synthetic=subject in drawn,
            clips=recordings[subject],
            suggestions=suggested,
            suggested_by=champion.name if champion and suggested else None,
        )
    return built


def key_frame_task(workspace: Workspace, subject: str, material: Material, **about: Any) -> dict[str, Any]:
    """Build one person's task; ``about`` is what ``build_task`` takes beside the pictures."""
    frames = usable_frames(workspace).read(material.tables, (*LOOK, "crop"))
    shown = frames.take(key_frames(frames))
    keys = [
        layout.key_frame_key(subject, row["clip"], row["frame_index"])
        for row in shown.select(["clip", "frame_index"]).to_pylist()
    ]
    for key, crop in zip(keys, shown["crop"].to_pylist(), strict=True):
        workspace.store.put(key, crop)
    images = [image_url(workspace.store.uri, key) for key in keys]
    return build_task(subject, images, frame_names(shown), material=material.name, **about)


def key_frames(frames: pa.Table) -> list[int]:
    """Choose which rows of a person's frames the readers see."""
    quality = {name: frames[name].to_numpy() for name in QUALITY}
    return choose_key_frames(landmarks_of(frames), quality, KEY_FRAMES)


def frame_names(frames: pa.Table) -> list[str]:
    """Name each row as the ledger does."""
    return [layout.frame_name(row["clip"], row["frame_index"]) for row in frames.select(["clip", "frame_index"]).to_pylist()]


def landmarks_of(frames: pa.Table) -> NDArray[np.float64]:
    """Return the landmarks in the crop, (N, 136), NaN where there is no face."""
    rows = frames["crop_landmarks"].to_pylist()
    return np.array([row if row is not None else [np.nan] * 136 for row in rows], dtype=np.float64).reshape(-1, 136)


def clip_urls(workspace: Workspace) -> Mapping[str, list[str]]:
    """Find where Label Studio plays each person's clips; a part of a longer recording is left out, its rest may show others."""
    whole = {
        clip.sha256: clip
        for clip in workspace.catalog.clips()
        if clip.suffix in PLAYABLE and clip.start_s is None and clip.end_s is None
    }
    urls: dict[str, list[str]] = defaultdict(list)
    for table in workspace.catalog.frame_tables(frames_version()):
        if table.clip in whole:
            clip = whole[table.clip]
            urls[clip.subject].append(image_url(workspace.store.uri, layout.raw_key_beside(table.key, clip.suffix)))
    return urls


def usable_frames(workspace: Workspace) -> UsableFrames:
    """Return the usable frames of a workspace, by what its readers have marked so far."""
    return UsableFrames(workspace.store, workspace.catalog.unusable_frames())
