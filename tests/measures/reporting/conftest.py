"""A measured recording of a drawn person, from the true landmarks: real pictures, curves and movements without a detector."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from vitau.measures.geometry import SIDED_MEASURES, measure_points
from vitau.measures.pixels import PIXEL_COLUMNS
from vitau.measures.results import Exercise, KeyFrame, Measure, PersonResult, Recording, Series, Task
from vitau.measures.series import QUALITY_COLUMNS
from vitau.media.crops import to_jpeg
from vitau.media.synthetic.drawing import FRAME_SIZE, draw_frame, draw_landmarks
from vitau.media.synthetic.people import TASKS, Person, draw_person
from vitau.schema import Side

STEPS = (0.0, 0.5, 1.0, 0.5, 0.0)
"""Progress of each exercise, frame by frame."""
ASKED = {
    Task.BROW_RAISE: ("brow_height",),
    Task.EYE_CLOSURE: ("lid_gap",),
    Task.SNARL: ("nasal_wing_height",),
    Task.SMILE: ("lip_corner_height", "lip_corner_lateral"),
    Task.LIP_PUCKER: ("lip_corner_lateral",),
    Task.JAW_OPENING: ("lower_lip_height",),
}


def palsied_person() -> Person:
    return next(
        person
        for person in (draw_person(17, index, palsied=True) for index in range(50))
        if person.side is Side.LEFT and person.severity > 0.7
    )


def measure_drawn(person: Person, item: str, sdc: float = 0.02) -> Recording:
    rng = np.random.default_rng(3)
    tasks = [Task(task) for task in TASKS for _ in STEPS]
    points = np.stack([480 * 0.3 * draw_landmarks(person, task, step, rng) + (320, 190) for task in TASKS for step in STEPS])
    quality = {name: np.ones(len(points)) for name in (*QUALITY_COLUMNS, *PIXEL_COLUMNS)}
    columns = {**measure_points(points), **quality}
    exercises, measures = [], []
    for number, task in enumerate(map(Task, TASKS)):
        first, last = number * len(STEPS), number * len(STEPS) + len(STEPS) - 1
        exercises.append(
            Exercise(
                task=task,
                performed=True,
                confidence=0.93,
                first=first,
                last=last,
                peak=first + 2,
                start_s=first / 10,
                end_s=last / 10,
            )
        )
        for name in SIDED_MEASURES:
            right, left = (float(columns[f"{name}_{side}"][first + 2]) for side in ("right", "left"))
            if task is not Task.REST:
                right, left = (float(np.ptp(columns[f"{name}_{side}"][first : last + 1])) for side in ("right", "left"))
            kind = "rest" if task is Task.REST else "excursion" if name in ASKED[task] else "synkinesis"
            measures.append(
                Measure(
                    task=task, measure=name, kind=kind, unit="eye distance", right=right, left=left, difference=right - left,
                    ratio=min(right, left) / max(right, left), symmetry_index=(right - left) / (right + left),
                    speed_right=right / 0.2, speed_left=left / 0.2, correlation=0.9, standard_error=sdc / 2.77,
                    smallest_detectable_change=sdc, num_frames=5, num_repetitions=1,
                )
            )  # fmt: skip
    measures.append(
        Measure(
            task=Task.LOWER_TEETH,
            measure="lower_lip_height",
            kind="excursion",
            unit="eye distance",
            reason="the exercise was not found",
        )
    )
    frames = []
    for task in (Task.REST, Task.SMILE, Task.EYE_CLOSURE):
        drawing = draw_frame(person, task.value, 1.0)
        frames.append(
            KeyFrame(
                task=task,
                frame_index=TASKS.index(task.value) * len(STEPS) + 2,
                time_s=1.2,
                jpeg=to_jpeg(drawing.image),
                points=drawing.landmarks.astype(np.float32),
            )
        )
    length = len(tasks)
    series = Series(
        item=item,
        frame_index=np.arange(length),
        time_s=np.arange(length) / 10,
        part=np.zeros(length, dtype=np.int64),
        task=tuple(tasks),
        columns=columns,
        points=points.astype(np.float32),
        usable=np.arange(length) != 7,
        frame_size=FRAME_SIZE,
    )
    return Recording(
        item=item,
        paths=(Path(f"{item}.mp4"),),
        series=series,
        exercises=(*exercises, Exercise(task=Task.LOWER_TEETH, performed=False, confidence=0.9)),
        measures=tuple(measures),
        person=PersonResult(asymmetry=0.41, side=Side.LEFT, side_probability=0.97, forehead_spared=False, pattern="peripheral"),
        key_frames=tuple(frames),
        visit="1",
        num_frames=length + 2,
        left_out={"no face": 2, "turned": 1},
        notes=("A note.",),
    )


@pytest.fixture(scope="session")
def drawn_recording() -> Callable[..., Recording]:
    return measure_drawn


@pytest.fixture(scope="session")
def recording() -> Recording:
    return measure_drawn(palsied_person(), "d001")
