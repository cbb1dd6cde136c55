"""Results of a measurement: series per frame, exercises, measures, key frames, and what they say about one person."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from vitau.schema import Side


class Task(StrEnum):
    """An exercise of a facial examination; the values are those of the column ``task``."""

    REST = "rest"
    BROW_RAISE = "brow_raise"
    EYE_CLOSURE = "eye_closure"
    EYE_CLOSURE_TIGHT = "eye_closure_tight"
    SNARL = "snarl"
    SMILE = "smile"
    LIP_PUCKER = "lip_pucker"
    LOWER_TEETH = "lower_teeth"
    JAW_OPENING = "jaw_opening"


TASK_WORDS: Final[Mapping[Task, str]] = {
    Task.REST: "rest",
    Task.BROW_RAISE: "raising the brows",
    Task.EYE_CLOSURE: "closing the eyes gently",
    Task.EYE_CLOSURE_TIGHT: "closing the eyes tightly",
    Task.SNARL: "wrinkling the nose",
    Task.SMILE: "smiling",
    Task.LIP_PUCKER: "puckering the lips",
    Task.LOWER_TEETH: "showing the lower teeth",
    Task.JAW_OPENING: "opening the mouth",
}
"""Exercises in words, for people who read the results."""

ASKED: Final[Mapping[Task, Mapping[str, int]]] = {
    Task.BROW_RAISE: {"brow_height": 1},
    Task.EYE_CLOSURE: {"lid_gap": -1},
    Task.EYE_CLOSURE_TIGHT: {"lid_gap": -1},
    Task.SNARL: {"nasal_wing_height": 1, "upper_lip_height": 1},
    Task.SMILE: {"lip_corner_height": 1, "lip_corner_lateral": 1},
    Task.LIP_PUCKER: {"lip_corner_lateral": -1},
    Task.LOWER_TEETH: {"lower_lip_height": -1},
    Task.JAW_OPENING: {"lower_lip_height": -1},
}
"""The measures that an exercise asks for, and the direction of the movement: 1 is a rise, −1 a fall."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Series:
    """The measured frames of one recording; frames without the person's face are missing.

    ``part`` is the number of the file, or of the range of one, from 0. ``task`` is the exercise of each frame, ``None`` for a
    movement that is no exercise. ``columns`` are (N,) float64: the measures of :mod:`vitau.measures.geometry` in distances
    between the eyes, head pose in degrees and quality. NaN is a value that this frame does not give, such as that of an iris
    under a closed lid. ``points`` (N, 68, 2) float32 are px of the frame as recorded, in the order of the person's own sides.
    ``usable``: pose and quality of the frame permit a measurement.
    ``eye_distance_mm`` is the distance between the centers of the eyes by an iris of 11.7 mm, ``None`` without a scale.
    """

    item: str
    frame_index: NDArray[np.int64]
    time_s: NDArray[np.float64]
    part: NDArray[np.int64]
    task: tuple[Task | None, ...]
    columns: Mapping[str, NDArray[np.float64]]
    points: NDArray[np.float32]
    usable: NDArray[np.bool_]
    frame_size: tuple[int, int]
    mirrored: bool = False
    eye_distance_mm: float | None = None

    def __len__(self) -> int:
        return len(self.frame_index)


@dataclass(frozen=True, kw_only=True, slots=True)
class Exercise:
    """One exercise: when it was performed, and how sure its name is.

    ``first`` and ``last`` (inclusive) are positions in the series, as is ``peak``, the frame of the largest movement.
    ``confidence`` is the probability of the name, 1 where a manifest names it. ``performed`` is false for an exercise that was
    not found; it then has no positions.
    """

    task: Task
    performed: bool
    confidence: float
    first: int = -1
    last: int = -1
    peak: int = -1
    start_s: float | None = None
    end_s: float | None = None
    from_manifest: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Measure:
    """One measure of one exercise: a row of ``measures.csv``.

    ``kind`` is ``rest`` (level at rest), ``excursion`` (movement of a region that the exercise asks for) or ``synkinesis``
    (movement of another region). Values are in ``unit``. A measure without sides has only ``value``. ``None`` is not
    measurable or not defined; ``reason`` says why.
    """

    task: Task
    measure: str
    kind: str
    unit: str
    value: float | None = None
    right: float | None = None
    left: float | None = None
    right_mm: float | None = None
    left_mm: float | None = None
    difference: float | None = None
    ratio: float | None = None
    symmetry_index: float | None = None
    speed_right: float | None = None
    speed_left: float | None = None
    correlation: float | None = None
    standard_error: float | None = None
    smallest_detectable_change: float | None = None
    num_frames: int = 0
    num_repetitions: int = 0
    reason: str | None = None

    @property
    def measurable(self) -> bool:
        """True if pose and quality permitted the measurement."""
        return self.reason is None


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class KeyFrame:
    """The peak of an exercise as a picture: upright, unmirrored, JPEG, with the landmarks (68, 2) in its px."""

    task: Task
    frame_index: int
    time_s: float
    jpeg: bytes
    points: NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, slots=True)
class PersonResult:
    """The result about one person, from movement and posture: asymmetry, side, and the pattern of the forehead.

    ``asymmetry`` is a score; a larger one is more asymmetric in movement. ``side`` is the weaker side, which moves less
    and hangs lower, with the probability ``side_probability`` from 0.5 to 1. ``forehead_spared`` is true for a central pattern
    (the forehead is even, the mouth is not), false for a peripheral one, ``None`` if neither is shown. ``None`` is not
    measurable.
    """

    asymmetry: float | None
    side: Side | None
    side_probability: float | None
    forehead_spared: bool | None = None
    pattern: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Recording:
    """All of one input: a recording, or the photos of one person at one visit.

    ``item`` names it in all tables. ``paths`` are its files. ``num_frames`` counts sampled frames, ``left_out`` the frames
    that are not measured, by reason. ``notes`` are sentences for the reader. ``page`` is the rendered page about it, once the
    process that measured it has rendered one; then the key frames are dropped.
    """

    item: str
    paths: tuple[Path, ...]
    series: Series
    exercises: tuple[Exercise, ...]
    measures: tuple[Measure, ...]
    person: PersonResult
    key_frames: tuple[KeyFrame, ...] = ()
    visit: str | None = None
    recorded_at: str | None = None
    num_frames: int = 0
    left_out: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    backend: str = "dlib"
    details: Mapping[str, Any] = field(default_factory=dict)
    page: str | None = None
