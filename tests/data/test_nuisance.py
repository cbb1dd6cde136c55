"""Nuisance columns: what is measured of a recording, and that nothing of it is a name or a side."""

import cv2
import numpy as np
import pytest
from numpy.testing import assert_allclose

from tests.data.fake_cohorts import freeze_cohort
from vitau.data.nuisance import COLUMNS, RING_PX, by_person, load_nuisance, measure_crop
from vitau.data.snapshot import load
from vitau.schema import Cohort
from vitau.store import open_store

FACE = np.array([(64, 64), (192, 64), (192, 192), (64, 192)] * 17, dtype=np.float32)


def clip(person, *, palsied=False, codec="", **columns):
    return {**dict.fromkeys(COLUMNS), "person": person, "palsied": palsied, "codec": codec, **columns}


def test_the_ring_has_the_color_of_the_background_and_not_of_the_face():
    crop = np.full((256, 256, 3), (10, 90, 170), np.uint8)
    crop[RING_PX : 256 - RING_PX, RING_PX : 256 - RING_PX] = (250, 0, 0)
    crop[:, :128] //= 2
    measured = measure_crop(crop, FACE)
    assert [measured[f"ring_{color}_mean"] for color in ("red", "green", "blue")] == [7.5, 67.5, 127.5]
    assert [measured[f"ring_{color}_sd"] for color in ("red", "green", "blue")] == [2.5, 22.5, 42.5]


def test_a_face_that_reaches_into_the_ring_does_not_count_there():
    crop = np.full((256, 256, 3), 100, np.uint8)
    crop[100:150, :30] = 255
    assert measure_crop(crop, FACE)["ring_red_mean"] > 100
    face = np.array([(0, 90), (40, 90), (40, 160), (0, 160)] * 17, dtype=np.float32)
    assert measure_crop(crop, face)["ring_red_mean"] == 100


def test_a_gray_crop_has_no_saturation_and_a_colored_one_has():
    colored = np.random.default_rng(0).integers(0, 255, (256, 256, 3)).astype(np.uint8)
    gray = cv2.cvtColor(cv2.cvtColor(colored, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    assert measure_crop(gray, FACE)["saturation"] == 0
    assert measure_crop(colored, FACE)["saturation"] > 0.3


def test_a_person_counts_as_the_mean_of_the_clips_and_what_is_not_noted_is_missing():
    found = by_person(
        [
            clip(1, palsied=True, sharpness=1.0, codec="vp9"),
            clip(0, sharpness=5.0),
            clip(1, palsied=True, sharpness=3.0, codec="h264", frame_rate=30.0),
        ]
    )
    assert found.names[: len(COLUMNS)] == COLUMNS
    values = dict(zip(found.names, found.value_SF.T, strict=True))
    assert values["sharpness"].tolist() == [5, 2]
    assert_allclose(values["frame_rate"], [np.nan, 30])
    assert_allclose(values["codec_vp9"], [np.nan, 0.5])
    assert_allclose(values["codec_h264"], [np.nan, 0.5])
    assert np.isnan(values["brightness"]).all()
    assert found.palsied_S.tolist() == [False, True]


@pytest.fixture
def frozen(tmp_path):
    store = open_store(str(tmp_path / "store"))
    encodings = {Cohort.PALSY: {"codec": "vp9", "frame_rate": "29.97"}, Cohort.CONTROL: {"codec": "png"}}
    digest = freeze_cohort(store, tmp_path, 6, gray=[Cohort.CONTROL], encodings=encodings)
    return store, load(store, digest)


def test_the_people_of_a_snapshot_are_measured(frozen):
    found = load_nuisance(*frozen)
    values = dict(zip(found.names, found.value_SF.T, strict=True))
    palsied_S = found.palsied_S
    assert palsied_S.sum() == 3
    assert values["saturation"][~palsied_S].max() < 0.01 < values["saturation"][palsied_S].min()
    assert (values["codec_png"] == ~palsied_S).all()
    assert_allclose(values["frame_rate"][palsied_S], 29.97)
    assert (values["yaw_deg"] >= 0).all()
    assert (values["roll_deg"] >= 0).all()
    assert values["sharpness"].min() > 0


def test_the_measures_are_kept_and_read_again(frozen, tmp_path):
    store, rows = frozen
    first = load_nuisance(store, rows, tmp_path / "cache")
    (kept,) = (tmp_path / "cache").iterdir()
    assert kept.stat().st_mode & 0o077 == 0, "it is about people"
    assert b"s000" not in kept.read_bytes(), "and names nobody"
    store.erase("subjects/")
    again = load_nuisance(store, rows, tmp_path / "cache")
    assert again.names == first.names
    assert_allclose(again.value_SF, first.value_SF)


def test_tables_without_measures_of_quality_leave_them_missing(tmp_path):
    import pyarrow.parquet as pq

    store = open_store(str(tmp_path / "store"))
    rows = load(store, freeze_cohort(store, tmp_path, 4))
    for key in list(store.keys("subjects/")):
        pq.write_table(pq.read_table(store.download(key, tmp_path / "one")).drop_columns(["sharpness"]), tmp_path / "older")
        store.erase(key)
        store.put(key, tmp_path / "older")
    values = load_nuisance(store, rows)
    assert np.isnan(values.value_SF[:, values.names.index("sharpness")]).all()
    assert not np.isnan(values.value_SF[:, values.names.index("saturation")]).any()
