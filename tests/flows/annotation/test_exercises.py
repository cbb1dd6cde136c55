"""Key frames by the stored measures: rest first, and every facial task, on drawn people of seeds that chose no number."""

from pathlib import Path

import pytest

from flows.annotation.exercises import FACIAL_TASKS, best_frames, named_frames
from vitau.measures.analysis import Analysis, analyze
from vitau.measures.landmarks.choice import open_backend
from vitau.measures.results import Task
from vitau.measures.series import ReadingState, read_series
from vitau.measures.sources import Part, Source
from vitau.measures.stored import BACKEND, join_series
from vitau.media.inputs import RecordingOptions
from vitau.media.synthetic.cohort import write_clip
from vitau.media.synthetic.people import TASKS, draw_person


def drawn(folder: Path, seed: int, frames_per_task: int, fps: int) -> tuple[Analysis, list[str]]:
    """Return the analysis of a drawn person's clip, and the task of each of its frames."""
    index = next(index for index in range(100) if draw_person(seed, index).palsied)
    path = folder / f"{seed}-{fps}.mp4"
    write_clip(path, draw_person(seed, index), frames_per_task=frames_per_task, fps=fps)
    source = Source(item="", parts=(Part(path=path, options=RecordingOptions()),))
    series = read_series(source, open_backend(BACKEND), ReadingState())
    return analyze(series), [TASKS[round(time_s * fps) // frames_per_task] for time_s in series.time_s]


@pytest.mark.parametrize(("seed", "frames_per_task", "fps"), [(301, 2, 6), (302, 15, 30)])
def test_rest_is_first_and_every_facial_task_is_shown(tmp_path, seed, frames_per_task, fps):
    analysis, tasks = drawn(tmp_path, seed, frames_per_task, fps)
    best = best_frames(analysis)
    assert next(iter(best)) is Task.REST
    assert [tasks[position] for position in best.values()] == list(TASKS)


def test_a_frame_is_named_after_its_own_clip(tmp_path):
    analysis, _ = drawn(tmp_path, 301, 2, 6)
    joined = analyze(join_series("", [analysis.series, analysis.series]))
    named = named_frames(["a" * 64, "b" * 64], joined)
    assert list(named.values()) == [Task.REST, *FACIAL_TASKS]
    assert {name.partition(":")[0] for name in named} <= {"a" * 64, "b" * 64}
    assert {int(name.partition(":")[2]) for name in named} <= set(analysis.series.frame_index.tolist())
