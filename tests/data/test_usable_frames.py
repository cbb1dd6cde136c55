"""Which frames of a clip may be trained on, scored or shown, and which are left out."""

import pyarrow as pa
import pytest

from vitau.catalog.catalog import FrameTable
from vitau.data.layout import frame_name, frames_key, quarantine_key
from vitau.data.parquet import write_table
from vitau.data.usable_frames import UsableFrames
from vitau.store import Store, open_store

CLIP = "c" * 64


@pytest.fixture
def store(tmp_path) -> Store:
    return open_store(tmp_path)


@pytest.fixture
def table(store) -> FrameTable:
    """A clip of five frames, the second of them in quarantine."""
    key, quarantine = frames_key("p1", CLIP, "r"), quarantine_key("p1", CLIP, "r-l")
    write_table(store, key, pa.table({"frame_index": pa.array(range(5), pa.int32()), "clip": [CLIP] * 5}))
    write_table(store, quarantine, pa.table({"frame_index": pa.array([1], pa.int32()), "reason": ["dark"]}))
    return FrameTable(
        clip=CLIP,
        recipe="r-l",
        key=key,
        num_frames=5,
        num_faces=5,
        quarantine_key=quarantine,
        quarantined={"dark": 1},
    )


def names(*indices: int) -> set[str]:
    return {frame_name(CLIP, index) for index in indices}


def test_frames_in_quarantine_and_frames_marked_unusable_are_left_out(store, table):
    usable = UsableFrames(store, names(3) | {"another clip:0"})
    assert usable.indices(table) == [0, 2, 4]
    assert usable.read([table, table], ["frame_index"])["frame_index"].to_pylist() == [0, 2, 4, 0, 2, 4]


def test_a_marked_frame_is_included_by_name_and_a_frame_in_quarantine_is_not(store, table):
    usable = UsableFrames(store, names(3, 4))
    assert usable.indices(table, also=names(1, 3)) == [0, 2, 3]
    assert usable.read([table], ["frame_index"], also=names(3)).num_rows == 3


@pytest.mark.parametrize(
    ("marked", "exist"),
    [(set(), True), ({0, 2, 3}, True), ({0, 2, 3, 4}, False), ({0, 1, 2, 3}, True), ({0, 1, 2, 3, 4}, False)],
)
def test_a_clip_has_a_usable_frame_until_the_last_one_is_marked(store, table, marked, exist):
    assert UsableFrames(store, names(*marked)).exist(table) is exist
