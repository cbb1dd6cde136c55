"""Key frames by the stored measures: rest first, and every facial task, on drawn people."""

from dataclasses import replace

import pytest

from flows.annotation.exercises import FACIAL_TASKS, best_frames, named_frames
from flows.studies.key_frames import drawn_analysis
from vitau.measures.analysis import Analysis, analyze
from vitau.measures.geometry import SIDES
from vitau.measures.results import ASKED, Task
from vitau.measures.stored import join_series
from vitau.media.synthetic.people import TASKS


@pytest.fixture(scope="module")
def short(tmp_path_factory) -> tuple[Analysis, list[str]]:
    return drawn_analysis(tmp_path_factory.mktemp("short"), 301, 0, frames_per_task=2, fps=6)


def test_rest_is_first_and_every_facial_task_is_shown(short):
    analysis, tasks = short
    best = best_frames(analysis)
    assert next(iter(best)) is Task.REST
    assert [tasks[position] for position in best.values()] == list(TASKS)


def test_the_first_frame_of_a_movement_is_not_shown_as_rest(tmp_path):
    """This person moves least in the first frame of the lip pucker, by the measures."""
    analysis, tasks = drawn_analysis(tmp_path, 91, 11, frames_per_task=15, fps=30)
    assert [tasks[position] for position in best_frames(analysis).values()] == list(TASKS)


def test_a_blink_at_the_end_of_a_closure_is_not_shown_as_the_closure(short):
    analysis, tasks = short
    blink = len(tasks) - 1 - tasks[::-1].index("eye_closure") + 1
    columns = {name: values.copy() for name, values in analysis.series.columns.items()}
    for measure, direction in ASKED[Task.EYE_CLOSURE].items():
        for side in SIDES:
            values = columns[f"{measure}_{side}"]
            values[blink] = values[blink - 1] + direction * 0.2
    exercises = [
        replace(found, last=blink, peak=blink) if found.task is Task.EYE_CLOSURE else found for found in analysis.exercises
    ]
    blinking = replace(analysis, series=replace(analysis.series, columns=columns), exercises=tuple(exercises))
    assert tasks[best_frames(blinking)[Task.EYE_CLOSURE]] == "eye_closure"


def test_a_frame_is_named_after_its_own_clip(short):
    analysis, _ = short
    joined = analyze(join_series("", [analysis.series, analysis.series]))
    named = named_frames(["a" * 64, "b" * 64], joined)
    assert list(named.values()) == [Task.REST, *FACIAL_TASKS]
    assert {name.partition(":")[0] for name in named} <= {"a" * 64, "b" * 64}
    assert {int(name.partition(":")[2]) for name in named} <= set(analysis.series.frame_index.tolist())
