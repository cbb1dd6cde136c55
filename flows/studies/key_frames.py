"""Measure on drawn people whether key frames show rest first and all seven tasks: ``python -m flows.studies.key_frames``."""

import argparse
import tempfile
from collections import Counter
from pathlib import Path
from typing import Final

from flows.annotation.exercises import best_frames
from flows.annotation.key_frames import NUM_KEY_FRAMES
from vitau.measures.analysis import Analysis, analyze
from vitau.measures.landmarks.choice import open_backend
from vitau.measures.series import ReadingState, read_series
from vitau.measures.sources import Part, Source
from vitau.measures.stored import BACKEND
from vitau.media.clips import RATE_FPS
from vitau.media.inputs import RecordingOptions
from vitau.media.synthetic.cohort import write_clip
from vitau.media.synthetic.people import TASKS, draw_person
from vitau.progress import track

FIRST: Final = "rest first"
ALL: Final = "all seven tasks"


def drawn_analysis(folder: Path, seed: int, index: int, *, frames_per_task: int, fps: int) -> tuple[Analysis, list[str]]:
    """Return the analysis of a drawn person's clip at the rate of an ingest, and the task of each of its frames."""
    path = folder / f"{seed}-{index}.mp4"
    write_clip(path, draw_person(seed, index), frames_per_task=frames_per_task, fps=fps)
    source = Source(item="", parts=(Part(path=path, options=RecordingOptions()),))
    series = read_series(source, open_backend(BACKEND), ReadingState(), rate_fps=RATE_FPS)
    path.unlink()
    return analyze(series), [TASKS[round(time_s * fps) // frames_per_task] for time_s in series.time_s]


def count_shown(seed: int, num_people: int, *, frames_per_task: int, fps: int) -> Counter[str]:
    """Count the people of a seed with rest first, with all tasks, and by task those who lack it."""
    counts: Counter[str] = Counter({FIRST: 0, ALL: 0})
    with tempfile.TemporaryDirectory() as folder:
        for index in track(range(num_people), "drawing and measuring", num_people):
            analysis, tasks = drawn_analysis(Path(folder), seed, index, frames_per_task=frames_per_task, fps=fps)
            shown = [tasks[position] for position in best_frames(analysis).values()][:NUM_KEY_FRAMES]
            missing = set(TASKS) - set(shown)
            counts.update([f"without {task}" for task in sorted(missing)])
            counts[FIRST] += shown[:1] == [TASKS[0]]
            counts[ALL] += not missing
    return counts


def main() -> None:
    """Print the counts of one seed."""
    parser = argparse.ArgumentParser(prog="python -m flows.studies.key_frames", description=__doc__)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--people", type=int, default=20)
    parser.add_argument("--fps", type=int, default=6, help="frames per second of the clips")
    parser.add_argument("--frames-per-task", type=int, default=2)
    options = parser.parse_args()
    counts = count_shown(options.seed, options.people, frames_per_task=options.frames_per_task, fps=options.fps)
    for name, count in counts.items():
        print(f"{name}: {count} of {options.people}")


if __name__ == "__main__":
    main()
