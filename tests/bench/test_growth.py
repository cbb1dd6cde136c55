"""The benchmark of growth, at a few frames."""

from pathlib import Path

import pytest

from vitau.bench.pipelines import many_faces
from vitau.bench.pipelines.growth import bench
from vitau.bench.pipelines.long_clips import memory_case, prepare_ingest, write_slow
from vitau.bench.pipelines.many_answers import ROWS_PER_PERSON, fill_catalog


def test_every_stage_is_measured_at_two_sizes():
    cases = bench(1, num_frozen=2000, num_loaded=1500, num_scored=2000, num_batches=1, num_people=20, minutes=()).cases
    assert [case.name.partition(",")[0] for case in cases] == [
        "freeze",
        "open a snapshot",
        "search a snapshot for a clip",
        "build 1 batches",
        "aggregate the scores",
        "read the newest answers",
        "read the answers of an earlier offset",
        "read the annotations of a reader",
        "count the answers",
        "look up 2 people",
    ]
    assert [case.at_least for case in cases] == [0.85] * len(cases)
    assert all(case.ours > 0 for case in cases)


def test_many_faces_are_scored_after_few(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(many_faces, "FEW", 3)
    work = many_faces.prepare_faces(tmp_path, 40)
    assert all(0 < work() < 1 for _ in range(2))
    with pytest.raises(StopIteration):
        work()


def test_memory_misses_its_limit_above_100_mb_more():
    assert not memory_case("work", "little", 190, 100).missed
    assert memory_case("work", "little", 210, 100).missed


def test_of_two_clips_the_second_is_measured_after_the_first(tmp_path: Path):
    for name, num_frames in (("short", 2), ("long", 3)):
        write_slow(tmp_path / f"{name}.mp4", num_frames)
    work = prepare_ingest(tmp_path / "short.mp4", tmp_path / "long.mp4", tmp_path)
    assert [work(), work()] == [2, 3]
    with pytest.raises(StopIteration):
        work()


def test_the_generated_ledger_is_longer_than_its_standing_answers(tmp_path: Path):
    answers, offset = fill_catalog(tmp_path / "catalog.db", 3).newest_answers()
    assert (len(answers), offset) == (3 * 16, 3 * ROWS_PER_PERSON)
