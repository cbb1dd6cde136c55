"""The benchmark of the cores, with two clips."""

import pytest

from vitau.bench.pipelines import cores
from vitau.errors import BenchError


def test_two_processes_write_the_same_bytes_as_one(monkeypatch):
    monkeypatch.setattr(cores, "PROBED", 1)
    (case,) = cores.bench(1, num_clips=2, num_people=1, long_s=None, commands=["measure"]).cases
    assert (case.max_difference, case.at_least) == (0, 1.7)
    assert case.agreement["files"] == 10  # six tables, the workbook, and the pages of two people and their list
    assert case.floors["two processes without a start"] > 0


def test_one_core_is_one_sentence(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0})
    with pytest.raises(BenchError, match=r"^two processes share one core here; take a machine, or a container, with two$"):
        cores.bench()
