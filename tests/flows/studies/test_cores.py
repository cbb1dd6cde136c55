"""The benchmark of the flows' cores: its inputs, and the comparison of two runs; the runs themselves take a minute."""

import pytest

from flows.studies import core_inputs, cores
from flows.studies.cores import Command, Run, Sizes
from vitau.errors import BenchError
from vitau.media.manifests import read_manifest


def test_repeated_drawings_are_clips_of_their_own(tmp_path):
    manifest = core_inputs.write_clips(tmp_path, 3, 1)
    clips, skipped = read_manifest(manifest)
    assert (len({clip.subject_id for clip in clips}), skipped) == (3, [])
    assert len({clip.paths[0].read_bytes() for clip in clips}) == 3


def test_a_file_that_differs_or_is_missing_is_counted():
    one = Run(files={"a": "1", "b": "2"}, wall_s=2.0, cpu_s=3.0)
    two = Run(files={"a": "1", "b": "3", "c": "4"}, wall_s=4.0, cpu_s=4.0)
    judged = cores._judge(one, two)
    assert (judged["max_difference"], judged["files"]) == (2, 3)
    assert (judged["our_cores_at_work"], judged["baseline_cores_at_work"]) == (1.5, 1.0)


def test_a_command_that_fails_is_one_sentence(tmp_path):
    (state := tmp_path / "state").mkdir()
    command = Command(name="ingest", arguments=["vitau.nothing"], state=state, amount=1, variables={})
    with pytest.raises(BenchError, match=r"^`ingest` failed: .*No module named vitau.nothing$"):
        command.run(1)
    assert list(tmp_path.iterdir()) == [state]


def test_one_core_is_one_sentence(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0})
    with pytest.raises(BenchError, match=r"^two processes share one core here"):
        cores.bench(sizes=Sizes(clips=2))
