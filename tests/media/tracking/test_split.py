"""A clip that several processes track gives the bytes that one process gives."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.media.conftest import numbered
from vitau import processes
from vitau.measures.landmarks.choice import open_backend
from vitau.measures.series import ReadingState, read_series
from vitau.measures.sources import Part, Source
from vitau.media.clips import DecodeCounts
from vitau.media.frames import FrameRecipe, FramesSummary, write_frames
from vitau.media.inputs import RecordingOptions
from vitau.media.tracking import split
from vitau.media.tracking.clip import ClipRange
from vitau.media.tracking.split import Split
from vitau.schema import Clip

RATE_FPS = 2.0  # parts begin after more than 10 s, so that they are sought
NUM_FRAMES = 48
PARTS = Split(num_processes=2, long=1, longest_part=12)


def scene(*placed: tuple[np.ndarray, int], gray: int = 110) -> np.ndarray:
    """Return a picture (240, 640, 3) with drawn people (320, 240 px) at the given left edges."""
    picture = np.full((240, 640, 3), gray, np.uint8)
    for person, left in placed:
        picture[:, left : left + 320] = person
    return picture


def plain(one: list[np.ndarray], _: list[np.ndarray]) -> Iterator[np.ndarray]:
    for number in range(NUM_FRAMES):
        yield scene((one[number % 4], 2 * number))


def cut(one: list[np.ndarray], other: list[np.ndarray]) -> Iterator[np.ndarray]:
    for number in range(NUM_FRAMES):
        yield scene((one[number % 4], 40)) if number < 30 else scene((other[number % 4], 300), gray=220)


def leaves_and_returns(one: list[np.ndarray], _: list[np.ndarray]) -> Iterator[np.ndarray]:
    for number in range(NUM_FRAMES):
        yield scene() if 20 <= number < 29 else scene((one[number % 4], 150))


def cross(one: list[np.ndarray], other: list[np.ndarray]) -> Iterator[np.ndarray]:
    for number in range(NUM_FRAMES):
        left = round(320 * number / (NUM_FRAMES - 1))
        yield scene((other[number % 4], 320 - left), (one[number % 4], left))


@pytest.fixture(scope="module")
def people(smiles):
    return [[cv2.resize(image, (320, 240), interpolation=cv2.INTER_AREA) for image in smiles[index]] for index in (4, 5)]


@pytest.fixture
def repeated(monkeypatch):
    """Run the parts in this process; return the tracker's frame at the start of each part that was tracked again."""
    starts: list[int] = []

    def attempt(clip, read, part, tracker=None):
        if tracker is not None:
            starts.append(part.first.index)
        return whole(clip, read, part, tracker)

    whole = split._attempt
    monkeypatch.setattr(split, "_attempt", attempt)
    monkeypatch.setattr(processes, "parallel_map", lambda work, items, *_, **__: (work(item) for item in items))
    return starts


def table(path: Path, out: Path, how: Split | None = None) -> tuple[bytes, FramesSummary]:
    clip = Clip(sha256="c" * 64, subject="p", source="s", suffix=".mp4")
    summary = write_frames(clip, path, out, FrameRecipe(rate_fps=RATE_FPS), split=how)
    return out.read_bytes(), summary


@pytest.mark.parametrize(
    ("draw", "again"),
    [(plain, []), (cut, [29, 36]), (leaves_and_returns, [28]), (cross, [12, 24, 36])],
)
def test_a_split_clip_gives_the_bytes_of_one_process(draw, again, people, write_video, repeated, tmp_path):
    path = write_video(list(draw(*people)), fps=2)
    whole = table(path, tmp_path / "whole.parquet")
    assert table(path, tmp_path / "split.parquet", PARTS) == whole
    assert repeated == again


def test_processes_share_a_clip_and_one_finishes_it_after_damage(people, write_video, tmp_path):
    path = write_video(list(leaves_and_returns(*people)), fps=2)
    whole = table(path, tmp_path / "whole.parquet")
    assert table(path, tmp_path / "split.parquet", PARTS) == whole
    damaged = bytearray(path.read_bytes())
    at = len(damaged) * 9 // 10  # within the last part
    damaged[at : at + 600] = bytes(600)
    path.write_bytes(damaged)
    whole = table(path, tmp_path / "whole.parquet")
    assert whole[1].num_damaged
    assert table(path, tmp_path / "split.parquet", PARTS) == whole


def test_uneven_frames_are_expected_where_they_are_sampled(write_video):
    times_s = [0.11 * number + 0.4 * (number > 7) for number in range(30)]
    path = write_video(numbered(30), times_s=times_s)
    clip = ClipRange(path=path, rate_fps=6, start_s=0.3, end_s=3.0)
    frames = [(frame.index, frame.number, frame.time_s) for frame in clip.frames(DecodeCounts())]
    positions = clip.positions()
    assert [(position.index, position.number, round(position.time_s, 6)) for position in positions] == frames
    later = clip.frames(DecodeCounts(), positions[9])
    assert [(frame.index, frame.number, frame.time_s) for frame in later] == frames[9:]


def test_split_measures_are_those_of_one_process(smiles, write_video, repeated):
    blank = np.full_like(smiles[4][0], 110)
    path = write_video([blank if 20 <= number < 24 else smiles[4][number % 4] for number in range(36)], fps=2)
    source, backend = (
        Source(item="clip", parts=(Part(path=path, options=RecordingOptions(mirrored=True)),)),
        open_backend("dlib"),
    )
    states = ReadingState(), ReadingState()
    whole, shared = (
        read_series(source, backend, state, rate_fps=RATE_FPS, split=how)
        for state, how in zip(states, (None, PARTS), strict=True)
    )
    assert repeated == [23]
    assert states[0] == states[1]
    np.testing.assert_array_equal(whole.points, shared.points)
    assert np.isfinite(whole.columns["iris_diameter_left"]).any()
    for name, values in whole.columns.items():
        np.testing.assert_array_equal(values, shared.columns[name], err_msg=name)
