"""Study of the threshold for changed material: differences between key frames of drawn patients with known changes.

Each patient is drawn in four clips: one that the readers saw, the same tasks on another day, in another light with another
camera, and when most of the palsy is gone. The clips are ingested like recordings, and the key frames are chosen from
frames and measures as for a labeling task.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np

from flows.annotation.exercises import exercise_frames
from flows.annotation.key_frames import CHOICE_COLUMNS, frame_names, key_frames, landmarks_of
from flows.execution.clip_worker import ingest_clip
from labeling.sampling.landmark_shapes import from_rest
from labeling.sampling.staleness import difference
from vitau.catalog.catalog import FrameTable
from vitau.data.usable_frames import UsableFrames
from vitau.media.crops import Image
from vitau.media.frames import FrameRecipe
from vitau.media.manifests import SYNTHETIC_SOURCE, SourceClip
from vitau.media.synthetic.cohort import encode_clip
from vitau.media.synthetic.drawing import draw_frame
from vitau.media.synthetic.people import TASKS, Person, draw_person
from vitau.processes import parallel_map
from vitau.schema import Cohort
from vitau.store import Store, open_store

FRAMES_PER_TASK: Final = 2
LEFT: Final = 0.3
"""Share of the palsy that is left when most of it is gone."""
FEW: Final = frozenset({"rest", "smile", "jaw_opening"})
"""The tasks that readers saw if the others are new."""

FPS: Final = 6
KEY: Final = b"drawn people have no identity to hide"

Clip: TypeAlias = list[tuple[str, Image]]
"""The task and the picture of each frame."""


@dataclass(frozen=True, kw_only=True)
class ChangeStatistics:
    """One kind of new material: the differences of all patients, and the share of them above the threshold."""

    kind: str
    asked_again: float
    quantiles: tuple[float, float, float]


def run(people: int, *, threshold: float, seed: int, num_processes: int | None = None) -> list[ChangeStatistics]:
    """Measure the difference of each kind of new material; ``quantiles`` are the 5, 50 and 95 % ones over patients."""
    measured = list(parallel_map(partial(differences, seed), range(people), num_processes))
    kinds = {kind: np.array([patient[kind] for patient in measured]) for kind in measured[0]}
    return [
        ChangeStatistics(
            kind=kind,
            asked_again=float((values > threshold).mean()),
            quantiles=tuple(float(value) for value in np.quantile(values, [0.05, 0.5, 0.95])),  # type: ignore[arg-type]
        )
        for kind, values in kinds.items()
    ]


def differences(seed: int, index: int) -> dict[str, float]:
    """Draw one patient's clips, and compare their key frames with those that readers saw, for each kind of change."""
    person, other = draw_person(seed, index, palsied=True), draw_person(seed + 1, index, palsied=True)
    elsewhere = replace(person, light=other.light, camera=other.camera, pose=other.pose)
    better = replace(person, weak=person.weak * LEFT)
    drawn = [
        draw(shown, np.random.default_rng([seed, index, number]))
        for number, shown in enumerate((person, person, elsewhere, better))
    ]
    drawn.append([(task, image) for task, image in drawn[0] if task in FEW])
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(Path(folder, "store").as_uri())
        shown, again, lit, healed, few = (ingest(store, clip, Path(folder, f"{n}.mp4")) for n, clip in enumerate(drawn))
        return {
            "nothing new": compare(store, shown, [shown, again]),
            "another light and camera": compare(store, shown, [shown, lit]),
            "four tasks not shown before": compare(store, few, [few, again]),
            "most of the palsy gone": compare(store, shown, [shown, healed]),
        }


def compare(store: Store, shown: FrameTable, now: Sequence[FrameTable]) -> float:
    """Compute the difference between the key frames of some clips and those of the one that readers saw."""
    frames = UsableFrames(store, ()).read(now, CHOICE_COLUMNS)
    moved = from_rest(landmarks_of(frames), frames["clip"].to_pylist())
    names = frame_names(frames)
    seen = UsableFrames(store, ()).read([shown], CHOICE_COLUMNS)
    chosen = frame_names(seen.take(key_frames(seen, exercise_frames(store, [shown]))))
    current = key_frames(frames, exercise_frames(store, now))
    return difference(moved[current], moved[[names.index(name) for name in chosen]])


def draw(person: Person, rng: np.random.Generator) -> Clip:
    """Draw a clip from the onset to the apex of each task."""
    return [
        (task, draw_frame(person, task, (number + 1) / FRAMES_PER_TASK + float(rng.uniform(-0.1, 0)), rng).image)
        for task in TASKS
        for number in range(FRAMES_PER_TASK)
    ]


def ingest(store: Store, clip: Clip, path: Path) -> FrameTable:
    """Write a drawn clip to a file, and ingest it."""
    encode_clip(path, [image for _, image in clip], FPS)
    source = SourceClip(row="a drawn clip", subject_id="drawn", cohort=Cohort.PALSY, source=SYNTHETIC_SOURCE, paths=(path,))
    return ingest_clip(source, store, KEY, FrameRecipe()).frames
