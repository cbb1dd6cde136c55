"""Crops are decoded once, as they were stored, with their labels."""

from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vitau.data.dataset import Crops, load_crops
from vitau.data.snapshot import freeze, snapshot_schema
from vitau.errors import SnapshotError
from vitau.schema import AUS, Split
from vitau.store import Store, open_store


def _grey(person: int, frame: int) -> int:
    return 50 * person + 5 * frame


def _freeze(folder: Path, *, frames_stored: int = 3, size: int = 256) -> tuple[Store, str]:
    """Freeze frames 0 and 2 of 3 of three people: a palsied one (left), a control, one with an unknown region (both)."""
    store, rows = open_store(folder / "store"), []
    for person in range(3):
        key = f"subjects/s{person}/clips/{person:064x}/frames-0.parquet"
        colour = [np.full((size, size, 3), (_grey(person, frame), 7, 200), np.uint8) for frame in range(3)]
        frames = [
            {
                "frame_index": frame,
                "crop": cv2.imencode(".png", colour[frame])[1].tobytes(),
                "crop_landmarks": [float(person * 1000 + frame * 200 + i) for i in range(136)],
            }
            for frame in range(frames_stored)
        ]
        pq.write_table(pa.Table.from_pylist(frames), folder / "frames.parquet")
        store.put(key, folder / "frames.parquet")
        labels = {au.value: (person == 0 if au != AUS[3] or person != 2 else None) for au in AUS}
        rows += [
            {"subject": f"s{person}", "clip": f"{person:064x}", "frame_index": frame, "frames_key": key, "source": "yfp"}
            | {"cohort": ("palsy", "control", "palsy")[person], "split": ("train", "val", "test")[person]}
            | {"side": ("left", None, "both")[person], **labels}
            for frame in (0, 2)
        ]
    return store, freeze(pa.Table.from_pylist(rows, schema=snapshot_schema()), store, 1).digest


def test_the_named_frames_come_as_rgb_with_their_landmarks(tmp_path: Path) -> None:
    crops = load_crops(*_freeze(tmp_path), tmp_path / "cache")
    pixels = crops.pixels(slice(None))
    assert pixels.shape == (6, 256, 256, 3)
    expected = [[200, 7, _grey(person, frame)] for person in range(3) for frame in (0, 2)]
    assert pixels[:, 100, 30].tolist() == expected
    assert crops.landmarks_NL2[:, 1, 0].tolist() == [person * 1000 + frame * 200 + 2 for person in range(3) for frame in (0, 2)]


def test_labels_are_joined_to_frames_and_a_missing_label_is_unknown(tmp_path: Path) -> None:
    crops = load_crops(*_freeze(tmp_path), tmp_path / "cache")
    assert crops.palsied_N.tolist() == [True, True, False, False, True, True]
    assert crops.affected_NA[:2].all()
    assert not crops.affected_NA[2:].any()
    assert np.argwhere(~crops.known_NA).tolist() == [[4, 3], [5, 3]]
    assert crops.sided_NA2[0].tolist() == [[False, True]] * 8
    assert not crops.sided_NA2[2:].any()


def test_a_split_has_only_its_own_people(tmp_path: Path) -> None:
    crops = load_crops(*_freeze(tmp_path), tmp_path / "cache").of(Split.TEST)
    assert crops.subject_N.tolist() == ["s2", "s2"]
    assert crops.pixels(np.array([1]))[0, 0, 0].tolist() == [200, 7, _grey(2, 2)]
    assert [rows.stop - rows.start for rows in crops.batches(1)] == [1, 1]


def test_crops_are_decoded_once(tmp_path: Path) -> None:
    store, digest = _freeze(tmp_path)
    calls: list[tuple[int, int]] = []
    load_crops(store, digest, tmp_path / "cache", lambda done, total: calls.append((done, total)))
    assert calls == [(2, 6), (4, 6), (6, 6)]
    store.erase("subjects/")
    again = load_crops(store, digest, tmp_path / "cache")
    assert again.pixels(slice(0, 1))[0, 0, 0].tolist() == [200, 7, 0]
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [digest]


def test_opening_reads_neither_pixels_nor_landmarks_and_writing_changes_no_file(tmp_path: Path) -> None:
    store, digest = _freeze(tmp_path)
    crops = load_crops(store, digest, tmp_path / "cache")
    assert isinstance(crops.pixels_MSS3, np.memmap)
    assert isinstance(crops.landmarks_NL2, np.memmap)
    before = crops.landmarks_NL2.copy()
    crops.landmarks_NL2[:] = 0
    assert (load_crops(store, digest, tmp_path / "cache").landmarks_NL2 == before).all()


def test_a_missing_frame_is_named_and_leaves_no_partial_folder(tmp_path: Path) -> None:
    with pytest.raises(
        SnapshotError, match=r"frames-0.parquet has no frame 2, which the snapshot names: ingest its clip again"
    ):
        load_crops(*_freeze(tmp_path, frames_stored=2), tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())


def test_a_crop_of_another_size_is_named(tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match=r"frame 0 of .* has no crop of 256 px: ingest its clip again"):
        load_crops(*_freeze(tmp_path, size=64), tmp_path / "cache")


def test_other_pixels_replace_the_stored_ones(tmp_path: Path) -> None:
    crops: Crops = load_crops(*_freeze(tmp_path), tmp_path / "cache").of(Split.VAL)
    other = crops.with_pixels([np.zeros((1, 8, 8, 3), np.uint8), np.ones((1, 8, 8, 3), np.uint8)])
    assert other.pixels(np.array([1, 0]))[:, 0, 0, 0].tolist() == [1, 0]
    assert other.subject_N.tolist() == ["s1", "s1"]
