"""Numbers of a finished demo."""

import json

import pytest

from flows.studies import finished_demo
from flows.studies.finished_demo import NoDemoError, figures, read_summary


@pytest.fixture
def state(tmp_path):
    sizes = {
        "store/subjects/p/clips/c/raw.mp4": 3000,
        "store/subjects/p/clips/c/frames-r.parquet": 500,
        "store/subjects/p/clips/c/measures-v-r.parquet": 100,
        "store/subjects/p/keyframes/c-1.jpg": 80,
        "store/scores/m/p/frames.parquet": 40,
        "catalog.db": 7,
        "mlflow/mlflow.db": 5,
        "work/crops/s/crops.bin": 900,
        "work/bundles/b": 60,
    }
    for name, size in sizes.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(bytes(size))
    seconds = {"ingest": 30.0, "train": 100.0, "total": 200.0}
    summary = {"frames": 6 * 360, "scored_subjects": 4, "seconds": seconds}
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    return tmp_path


def test_the_bytes_and_seconds_of_a_demo_are_scaled_to_people_and_to_an_hour_of_video(state, monkeypatch):
    monkeypatch.setattr(finished_demo, "ROOT", state)
    monkeypatch.setattr(finished_demo, "ENVIRONMENTS", ("work",))
    found = json.loads(json.dumps(figures(state, read_summary(state), "160 clips\n200 s in all.", "2 people labeled", 2)))
    expected = {
        "recordings": 3000,
        "frame_tables": 600,
        "pictures": 80,
        "scores": 40,
        "databases": 12,
        "work": 960,
        "crops": 900,
    }
    assert {name: found["bytes"][name] for name in expected} == expected
    assert found["bytes"]["environments"] == 960
    assert found["bytes"]["disk"] == 960 + found["bytes"]["state"]
    assert (found["bytes_per_labeled_person"], found["bytes_per_scored_person"]) == (40, 10)
    assert found["seconds"]["video"] == 360
    assert found["per_hour_of_video"] == {"recordings": 30_000, "frame_tables": 6000, "crops": 9000, "ingest_s": 300.0}
    assert found["printed"] == ["160 clips", "200 s in all."]
    assert found["labels"] == ["2 people labeled"]


def test_a_folder_without_a_finished_demo_is_one_sentence(tmp_path):
    with pytest.raises(NoDemoError, match="holds no finished demo: run `make demo` first"):
        read_summary(tmp_path)
