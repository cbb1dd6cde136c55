"""A short form of `make chaos`: flows that are killed, and two at once, lose nothing and write nothing twice."""

from pathlib import Path

import pytest

from tests.chaos.bench import Bench, cell
from tests.chaos.faults import TWO_RUNS, Fault, kill_at

pytestmark = [pytest.mark.journey, pytest.mark.timeout(900)]


@pytest.mark.parametrize(("flow", "fault"), [("ingest", TWO_RUNS), ("freeze", kill_at(0.6)), ("rescore", kill_at(0.5))])
def test_a_disturbed_flow_ends_as_an_undisturbed_one(flow: str, fault: Fault, demos, tmp_path: Path) -> None:
    with Bench.on(demos.whole, tmp_path) as bench:
        row = cell(flow, fault, bench)
    assert row.passed, row
