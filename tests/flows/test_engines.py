import os
import sys
from operator import neg

import pytest

from flows.engines import Engine, Spread, in_processes
from vitau.errors import EngineError, StoreError


def asked(items, into):
    for item in items:
        into.append(item)
        yield item


def refuse(number):
    raise StoreError(f"no room for {number}")


def test_one_process_asks_for_an_item_when_the_one_before_is_done():
    taken = []
    results = in_processes(asked(range(5), taken), neg, 1)
    assert next(results) == 0
    assert taken == [0]


def test_two_processes_take_one_item_ahead_and_answer_in_order():
    taken = []
    results = in_processes(asked(range(7), taken), neg, 2)
    assert next(results) == 0
    assert taken == [0, 1, 2, 3]
    assert list(results) == [-1, -2, -3, -4, -5, -6]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning:ray")  # of its own options, which it sets itself
def test_ray_answers_in_order_in_other_processes_and_hands_on_a_sentence():
    with Spread(Engine.RAY, num_workers=1) as spread:
        assert list(spread.run([], neg)) == []
        assert list(spread.run(range(9), neg)) == [-number for number in range(9)]
        assert os.getpid() not in set(spread.run([0, 1], pid))
        with pytest.raises(StoreError, match="no room for 3"):
            list(spread.run([3], refuse))


def pid(_):
    return os.getpid()


def test_without_ray_it_is_a_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(EngineError) as caught, Spread(Engine.RAY) as spread:
        list(spread.run([1], neg))
    assert str(caught.value) == "Ray is not installed: run `pip install 'vitau[ray]'`, or leave out `--engine ray`"


def test_a_cluster_that_is_not_there_is_a_sentence():
    with (
        pytest.raises(EngineError, match=r"^no Ray cluster at 127\.0\.0\.1:1 \(.*refused\): set VITAU_RAY_ADDRESS to"),
        Spread(Engine.RAY, address="127.0.0.1:1") as spread,
    ):
        list(spread.run([1], neg))
