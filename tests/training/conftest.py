"""A few random frames of a few people, and a store with a snapshot of them."""

import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vitau.data.dataset import Crops
from vitau.data.snapshot import freeze, snapshot_schema
from vitau.schema import AUS, Split
from vitau.store import Store, open_store
from vitau.training.__main__ import main


@pytest.fixture(scope="session")
def few_crops() -> Crops:
    """24 people, 2 frames each, 16 px; palsied people are brighter, and each region brightens one corner row."""
    rng = np.random.default_rng(5)
    palsied = np.arange(24) % 2 == 1
    affected = palsied[:, None] & (rng.random((24, 8)) < 0.5)
    pixels = rng.integers(60, 120, (48, 16, 16, 3))
    pixels += 80 * np.repeat(palsied, 2)[:, None, None, None]
    points = rng.uniform(60, 200, (48, 68, 2))
    return Crops(
        pixels_MSS3=pixels.astype(np.uint8),
        row_N=np.arange(48),
        landmarks_NL2=points.astype(np.float32),
        palsied_N=np.repeat(palsied, 2),
        affected_NA=np.repeat(affected, 2, axis=0),
        known_NA=np.ones((48, 8), bool),
        sided_NA2=np.repeat(affected, 2, axis=0)[..., None] & np.array([True, False]),
        subject_N=np.repeat([f"s{i:02d}" for i in range(24)], 2),
        split_N=np.repeat([str(Split.TRAIN)] * 12 + [str(Split.VAL)] * 6 + [str(Split.TEST)] * 6, 2),
    )


@pytest.fixture
def make_snapshot(tmp_path: Path) -> Callable[..., tuple[Store, str]]:
    """Freeze a snapshot of people with 2 plain frames each, palsied ones brighter, in a store of files."""

    def make(num_people: int = 12) -> tuple[Store, str]:
        store, rows = open_store(str(tmp_path / "store")), []
        rng = np.random.default_rng(1)
        for person in range(num_people):
            palsied = person % 2 == 1
            key = f"subjects/s{person:02d}/clips/{person:064x}/frames-0.parquet"
            frames = [
                {
                    "frame_index": frame,
                    "crop": cv2.imencode(".png", np.full((256, 256, 3), 40 + 100 * palsied + 10 * frame + person))[1].tobytes(),
                    "crop_landmarks": rng.uniform(60, 200, 136).astype(np.float32).tolist(),
                }
                for frame in range(2)
            ]
            path = tmp_path / "frames.parquet"
            pq.write_table(pa.Table.from_pylist(frames), path)
            store.put(key, path.read_bytes())
            labels = {au.value: palsied and bool(rng.random() < 0.5) for au in AUS}
            rows += [
                {"subject": f"s{person:02d}", "clip": f"{person:064x}", "frame_index": frame, "frames_key": key}
                | {"source": "synthetic", "cohort": "palsy" if palsied else "control", "side": "left" if palsied else None}
                | {"split": ("train", "val", "test")[person // 2 % 3], **labels}
                for frame in range(2)
            ]
        return store, freeze(pa.Table.from_pylist(rows, schema=snapshot_schema()), store, 3).digest

    return make


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[object, str, str]]:
    """Run ``python -m vitau.training`` in this process, which has the imports; return exit code, output and errors."""

    def run(*arguments: object) -> tuple[object, str, str]:
        monkeypatch.setattr(sys, "argv", ["vitau.training", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code, *capsys.readouterr()

    return run
