"""A cohort has one clip, one manifest row and one truth row per person, and can be continued."""

import csv
import dataclasses
import os
import shutil

import av
import numpy as np
import pytest

from vitau.media.synthetic.cohort import write_clip, write_cohort
from vitau.media.synthetic.people import TASKS, draw_person
from vitau.schema import AUS


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    out = tmp_path_factory.mktemp("cohort")
    calls = []
    write_cohort(out, 4, 8, frames_per_task=1, progress=lambda done, of: calls.append((done, of)))
    return out, calls


def read(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_cohort_has_a_clip_a_manifest_row_and_a_truth_row_per_person(cohort):
    out, calls = cohort
    manifest, truth = read(out / "manifest.csv"), read(out / "truth.csv")
    assert calls == [(done, 4) for done in range(5)]
    assert (
        [row["subject"] for row in manifest]
        == [row["subject"] for row in truth]
        == [f"synthetic-8-{n:04d}" for n in (1, 2, 3, 4)]
    )
    assert [row["cohort"] == "palsy" for row in manifest] == [row["palsied"] == "1" for row in truth]
    assert sum(row["palsied"] == "1" for row in truth) == 2
    for index, (row, true) in enumerate(zip(manifest, truth, strict=True)):
        person = draw_person(8, index)
        assert row["source"] == "synthetic"
        assert (out / row["clip"]).is_file()
        assert {au for au in AUS if true[au] == "1"} == person.affected
        assert true["side"] == ("" if person.side is None else person.side.value)
    assert not list(out.rglob("*.partial*"))


def test_a_clip_is_h264_at_its_rate_shows_every_task_and_is_marked_synthetic(cohort):
    out, _ = cohort
    with av.open(out / "clips" / "synthetic-8-0001.mp4") as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.width, stream.height, stream.average_rate) == ("h264", 640, 480, 6)
        assert "synthetic" in container.metadata["comment"]
        assert sum(1 for _ in container.decode(stream)) == len(TASKS)


def test_writing_a_cohort_again_keeps_its_clips_and_a_larger_one_adds_people(cohort, tmp_path):
    out = tmp_path / "again"
    shutil.copytree(cohort[0], out)
    clip = out / "clips" / "synthetic-8-0001.mp4"
    os.utime(clip, (1, 1))
    (out / "clips" / ".synthetic-8-0006.77.partial.mp4").write_bytes(b"what a killed process left")
    write_cohort(out, 5, 8, frames_per_task=1, num_processes=1)
    assert clip.stat().st_mtime == 1
    assert len(read(out / "manifest.csv")) == len(list((out / "clips").iterdir())) == 5


def test_a_folder_keeps_one_population(cohort):
    out, _ = cohort
    with pytest.raises(ValueError, match=r"holds people drawn with .*'seed': 8.*; give another folder"):
        write_cohort(out, 4, 9, frames_per_task=1)


def test_an_empty_cohort_is_refused(tmp_path):
    with pytest.raises(ValueError, match="0 subjects with 2 frames per task make no cohort; give at least 1 of each"):
        write_cohort(tmp_path, 0, 1)


def test_a_clip_that_fails_leaves_nothing_under_its_name(tmp_path, monkeypatch):
    person = draw_person(1, 0)
    broken = dataclasses.replace(person, weak=np.zeros((3, 2)))
    with pytest.raises(ValueError, match="zip"):
        write_clip(tmp_path / "clip.mp4", broken)
    assert not list(tmp_path.iterdir())
