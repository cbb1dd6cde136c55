"""Fixtures: tables for the gates."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from vitau.schema import AUS, FRAME_COLUMNS

MEASURES = {
    "detector_score": 1.5,
    "sharpness": 80.0,
    "brightness": 120.0,
    "clipped": 0.05,
    "face_px": 60.0,
    "yaw_deg": 0.0,
    "pitch_deg": 0.0,
    "roll_deg": 0.0,
}


def _arrow_type(name):
    if "[" not in name:
        return pa.type_for_alias(name)
    return pa.list_(pa.float32(), int(name.split("[")[1].rstrip("]")))


@pytest.fixture(scope="session")
def make_frames():
    """A function that builds valid frames of one clip; ``changes[i]`` overrides values of row i, ``None`` is absent."""

    def make(changes):
        face = {"box": [0.0] * 4, "landmarks": [1.0] * 136, "crop_landmarks": [1.0] * 136, "crop": b"jpeg", "embedding": None}
        rows = [
            {"subject": "s1", "clip": "c1", "frame_index": i, "time_s": i / 6, "num_faces": 1, **face, **MEASURES, **change}
            for i, change in enumerate(changes)
        ]
        fields = [pa.field(name, _arrow_type(column.type)) for name, column in FRAME_COLUMNS.items()]
        return pa.Table.from_pylist(rows, schema=pa.schema(fields))

    return make


@pytest.fixture
def snapshot():
    """Twelve people of one source, two of each cohort in each split, three frames each."""
    rows = []
    for index in range(12):
        cohort, split = ("palsy", "control")[index % 2], ("train", "val", "test")[index // 2 % 3]
        labels = {au.value: cohort == "palsy" for au in AUS}
        side = "left" if cohort == "palsy" else None
        person = {"subject": f"s{index:02d}", "clip": f"c{index}", "frames_key": "k", "source": "drawn", "cohort": cohort}
        rows += [{**person, "frame_index": i, "split": split, "side": side, **labels} for i in range(3)]
    return pd.DataFrame(rows)


@pytest.fixture
def labels():
    """A patient with two affected regions and a control with none, all 8 regions answered."""
    patient = [{"subject": "p", "au": au.value, "affected": au in AUS[:2], "side": "left"} for au in AUS]
    control = [{"subject": "c", "au": au.value, "affected": False, "side": None} for au in AUS]
    return pd.DataFrame(patient + control)


@pytest.fixture
def rng():
    return np.random.default_rng(5)
