"""The measures that an ingest stores are those that the commands compute, and can be joined over clips."""

import numpy as np
import pyarrow as pa
import pytest

from vitau.data.parquet import write_table
from vitau.errors import ChecksumError
from vitau.measures.landmarks.choice import open_backend
from vitau.measures.series import ReadingState, read_series
from vitau.measures.sources import Part, Source
from vitau.measures.stored import FrameMeasurer, join_series, read_measures
from vitau.media.frames import FrameRecipe, write_frames
from vitau.media.inputs import RecordingOptions
from vitau.media.synthetic.cohort import write_clip
from vitau.media.synthetic.people import draw_person
from vitau.schema import Clip
from vitau.store import open_store

KEY = "subjects/p/clips/c/measures.parquet"
RATE_FPS = FrameRecipe().rate_fps


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    path = tmp_path_factory.mktemp("recording") / "clip.mp4"
    write_clip(path, draw_person(4, 3, palsied=True))
    return path


def stored(recording, folder, *, mirrored):
    """Return the measures of a recording as an ingest stores them."""
    clip = Clip(sha256="c" * 64, subject="p", source="s", suffix=".mp4", mirrored=mirrored)
    measurer = FrameMeasurer(mirrored=mirrored)
    write_frames(clip, recording, folder / "frames.parquet", watch=measurer)
    measurer.write(folder / "measures.parquet")
    store = open_store(folder / "store")
    store.put(KEY, folder / "measures.parquet")
    return read_measures(store, KEY)


@pytest.mark.parametrize("mirrored", [False, True])
def test_the_stored_series_is_the_one_that_the_commands_measure_at_the_same_rate(recording, tmp_path, mirrored):
    part = Part(path=recording, options=RecordingOptions(mirrored=mirrored))
    source = Source(item="clip", parts=(part,))
    expected = read_series(source, open_backend("refined"), ReadingState(), rate_fps=RATE_FPS)
    found = stored(recording, tmp_path, mirrored=mirrored)
    assert len(found) == len(expected) == 14
    assert found.frame_index.tolist() == expected.frame_index.tolist()
    assert found.usable.tolist() == expected.usable.tolist()
    assert (found.frame_size, found.mirrored) == (expected.frame_size, mirrored)
    for name, values in found.columns.items():
        np.testing.assert_array_equal(values, expected.columns[name], err_msg=name)
    np.testing.assert_array_equal(found.points, expected.points)
    assert found.eye_distance_mm == expected.eye_distance_mm


def test_a_clip_without_a_face_is_measured_and_has_no_series(tmp_path):
    FrameMeasurer().write(tmp_path / "measures.parquet")
    store = open_store(tmp_path / "store")
    store.put(KEY, tmp_path / "measures.parquet")
    assert read_measures(store, KEY) is None


def test_bytes_that_are_no_table_of_measures_are_damage(tmp_path):
    store = open_store(tmp_path / "store")
    store.put("bytes", b"not a table")
    write_table(store, "columns", pa.table({"frame_index": [0]}))
    for key in ("bytes", "columns"):
        with pytest.raises(ChecksumError, match=f"{key} is no table of measures: restore it from a copy"):
            read_measures(store, key)


def test_joined_clips_keep_the_order_and_the_number_of_the_clip(series_of):
    first = series_of({"iris_diameter_right": np.full(2, 0.2), "iris_diameter_left": np.full(2, 0.2), "x": np.arange(2.0)})
    second = series_of({"iris_diameter_right": np.full(3, 0.2), "iris_diameter_left": np.full(3, 0.2), "x": np.arange(3.0)})
    joined = join_series("person", [first, second])
    assert joined.part.tolist() == [0, 0, 1, 1, 1]
    assert joined.columns["x"].tolist() == [0, 1, 0, 1, 2]
    assert (len(joined.task), len(joined.points), len(joined.usable)) == (5, 5, 5)
    assert joined.eye_distance_mm == pytest.approx(11.7 / 0.2)
    with pytest.raises(ValueError, match="no series"):
        join_series("person", [])
