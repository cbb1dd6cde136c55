"""Synkinesis: movement of a region that an exercise does not ask for, compared with the other side."""

from collections.abc import Mapping, Sequence
from typing import Final

from vitau.measures.movement.excursion import Frames, sided_measure
from vitau.measures.results import Measure, Task

NOT_ASKED: Final[Mapping[Task, tuple[str, ...]]] = {
    Task.BROW_RAISE: ("lip_corner_height", "lip_corner_lateral"),
    Task.EYE_CLOSURE: ("lip_corner_height", "lip_corner_lateral", "nasal_wing_height"),
    Task.EYE_CLOSURE_TIGHT: ("lip_corner_height", "lip_corner_lateral"),
    Task.SNARL: ("lid_gap",),
    Task.SMILE: ("lid_gap", "brow_height"),
    Task.LIP_PUCKER: ("lid_gap", "brow_height"),
    Task.LOWER_TEETH: ("lid_gap", "brow_height"),
    Task.JAW_OPENING: ("lid_gap", "brow_height"),
}
"""Regions that stay still in an exercise of a healthy face, or move evenly, such as the lids in a smile."""


def synkinesis_measures(frames: Frames, task: Task, runs: Sequence[tuple[int, int]]) -> list[Measure]:
    """Return the movement by side of the regions that an exercise does not ask for.

    A movement of both sides, such as the narrowing of the eyes in a smile, is no synkinesis. Read the difference of the sides
    with its smallest detectable change: a larger difference is a movement that one side makes alone.
    """
    return [sided_measure(frames, task, measure, runs, kind="synkinesis", direction=0) for measure in NOT_ASKED.get(task, ())]
