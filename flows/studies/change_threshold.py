"""Study of the threshold for changed material: differences between key frames of drawn patients with known changes.

Each patient is drawn in four clips: one that the readers saw, the same tasks on another day, in another light with another
camera, and when most of the palsy is gone. The clips are processed like recordings: dlib finds faces and landmarks, and the
key frames are chosen as for a labeling task.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from labeling.sampling.key_frames import choose_key_frames
from labeling.sampling.landmark_shapes import from_rest
from labeling.sampling.staleness import difference
from vitau.media.faces import FaceTracker
from vitau.media.synthetic.drawing import draw_frame
from vitau.media.synthetic.people import TASKS, Person, draw_person
from vitau.processes import parallel_map

FRAMES_PER_TASK: Final = 2
LEFT: Final = 0.3
"""Share of the palsy that is left when most of it is gone."""
FEW: Final = frozenset({"rest", "smile", "jaw_opening"})
"""The tasks that readers saw if the others are new."""

Clip: TypeAlias = tuple[tuple[str, ...], NDArray[np.float64]]
"""The task of each frame in which dlib found the face, and its landmarks in the crop (N, 136)."""


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
    shown, again, lit, healed = (
        film(drawn, np.random.default_rng([seed, index, number]))
        for number, drawn in enumerate((person, person, elsewhere, better))
    )
    return {
        "nothing new": compare(shown, [shown, again]),
        "another light and camera": compare(shown, [shown, lit]),
        "four tasks not shown before": compare(only(shown, FEW), [only(shown, FEW), again]),
        "most of the palsy gone": compare(shown, [shown, healed]),
    }


def compare(shown: Clip, now: Sequence[Clip]) -> float:
    """Compute the difference between the key frames of some clips and those of the first, which readers saw."""
    landmarks = np.concatenate([points for _, points in now])
    clips = [str(number) for number, (tasks, _) in enumerate(now) for _ in tasks]
    moved = from_rest(landmarks, clips)
    return difference(moved[choose_key_frames(landmarks, {})], moved[choose_key_frames(shown[1], {})])


def only(clip: Clip, tasks: frozenset[str]) -> Clip:
    """Return the frames of some tasks."""
    kept = [place for place, task in enumerate(clip[0]) if task in tasks]
    return tuple(clip[0][place] for place in kept), clip[1][kept]


def film(person: Person, rng: np.random.Generator) -> Clip:
    """Draw a clip from the onset to the apex of each task, and track the face as ingest does."""
    track, tasks, found = FaceTracker().track, [], []
    for task in TASKS:
        for number in range(FRAMES_PER_TASK):
            _, face = track(draw_frame(person, task, (number + 1) / FRAMES_PER_TASK + float(rng.uniform(-0.1, 0)), rng).image)
            if face is not None:
                tasks.append(task)
                found.append(np.asarray(face.crop_landmarks, dtype=np.float64).ravel())
    return tuple(tasks), np.stack(found)
