import os
import sys
from operator import neg

import pytest

from flows.execution.executor import Engine, Executor
from vitau.errors import EngineError, StoreError


def refuse(number):
    raise StoreError(f"disk full at {number}")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning:ray")  # of its own options, which it sets itself
def test_ray_returns_results_in_order_from_other_processes_and_raises_our_errors():
    with Executor(Engine.RAY, num_workers=1) as executor:
        assert list(executor.run([], neg)) == []
        assert list(executor.run(range(9), neg)) == [-number for number in range(9)]
        assert os.getpid() not in set(executor.run([0, 1], pid))
        with pytest.raises(StoreError, match="disk full at 3"):
            list(executor.run([3], refuse))


def pid(_):
    return os.getpid()


def test_without_ray_the_error_names_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(EngineError) as caught, Executor(Engine.RAY) as executor:
        list(executor.run([1], neg))
    assert str(caught.value) == "Ray is not installed: run `pip install 'vitau[ray]'`, or leave out `--engine ray`"


def test_an_unreachable_cluster_is_an_error_at_once():
    with (
        pytest.raises(EngineError, match=r"^no Ray cluster at 127\.0\.0\.1:1 \(.*refused\): set VITAU_RAY_ADDRESS to"),
        Executor(Engine.RAY, address="127.0.0.1:1") as executor,
    ):
        list(executor.run([1], neg))
