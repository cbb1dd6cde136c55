import os
import sys
from operator import neg

import pytest

from flows.execution.executor import Engine, Executor
from vitau.errors import EngineError, StoreError


def refuse(number):
    raise StoreError(f"no room for {number}")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning:ray")  # of its own options, which it sets itself
def test_ray_answers_in_order_in_other_processes_and_hands_on_a_sentence():
    with Executor(Engine.RAY, num_workers=1) as spread:
        assert list(spread.run([], neg)) == []
        assert list(spread.run(range(9), neg)) == [-number for number in range(9)]
        assert os.getpid() not in set(spread.run([0, 1], pid))
        with pytest.raises(StoreError, match="no room for 3"):
            list(spread.run([3], refuse))


def pid(_):
    return os.getpid()


def test_without_ray_it_is_a_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(EngineError) as caught, Executor(Engine.RAY) as spread:
        list(spread.run([1], neg))
    assert str(caught.value) == "Ray is not installed: run `pip install 'vitau[ray]'`, or leave out `--engine ray`"


def test_a_cluster_that_is_not_there_is_a_sentence():
    with (
        pytest.raises(EngineError, match=r"^no Ray cluster at 127\.0\.0\.1:1 \(.*refused\): set VITAU_RAY_ADDRESS to"),
        Executor(Engine.RAY, address="127.0.0.1:1") as spread,
    ):
        list(spread.run([1], neg))
