import json
import platform

import pytest

from vitau.bench.measure import Case, Result, as_record, compare, in_turn, machine


def case(name, ratio, difference):
    return Case(name=name, ratio=ratio, ours=2.0, baseline=1.0, unit="images/s", rounds=3, max_difference=difference)


def test_the_two_ways_take_turns_and_change_who_begins():
    calls = []
    shown = []
    compare(
        "x",
        lambda: calls.append("ours"),
        lambda: calls.append("baseline"),
        lambda *_: {"max_difference": 0.0},
        amount=1,
        unit="x/s",
        rounds=2,
        watch=lambda *told: shown.append(told),
    )
    assert calls == ["ours", "baseline", "ours", "baseline", "baseline", "ours"]
    assert shown == [("x", 0, 2), ("x", 1, 2), ("x", 2, 2)]


def test_results_of_every_round_are_compared_and_the_largest_difference_counts():
    results = iter([1.0, 5.0, 2.0])
    done = compare(
        "x",
        lambda: next(results),
        lambda: 1.0,
        lambda a, b: {"max_difference": abs(a - b), "value": a},
        amount=1,
        unit="x/s",
        rounds=2,
        watch=lambda *_: None,
    )
    assert (done.max_difference, done.agreement, done.rounds) == (4.0, {"value": 2.0}, 2)


def test_the_weakest_case_speaks_for_its_bench():
    result = Result(name="b", compared="c", difference="d", cases=(case("x", 9.0, 0.5), case("y", 2.0, 0.1)))
    record = json.loads(json.dumps(as_record(result)))
    assert (record["name"], record["case"], record["ratio"], record["max_difference"]) == ("b", "y", 2.0, 0.5)
    assert [one["name"] for one in record["cases"]] == ["x", "y"]
    assert {"name", "ratio", "ours", "baseline", "unit", "rounds", "max_difference", "machine", "cases"} <= record.keys()


def test_the_machine_is_described_without_its_name():
    described = machine()
    assert described.keys() == {"cpu", "cores", "torch_threads", "load"}
    assert platform.node() not in json.dumps(described)
    assert described["cores"] >= 1


def test_a_bench_is_a_rate(monkeypatch):
    clock = iter([0.0, 2.0, 10.0, 18.0])
    monkeypatch.setattr("vitau.bench.measure.time.perf_counter", lambda: next(clock))
    done = compare(
        "x",
        int,
        int,
        lambda *_: {"max_difference": 0.0},
        amount=4,
        unit="x/s",
        rounds=1,
        watch=lambda *_: None,
    )
    assert (done.ours, done.baseline, done.ratio) == (2.0, 0.5, pytest.approx(4.0))


def test_parts_in_turn_take_the_sum_of_their_times():
    assert in_turn(10.0, 10.0, 5.0) == pytest.approx(2.5)
