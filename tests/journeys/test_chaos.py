"""A short form of `make chaos`: flows that are killed, and two at once, lose nothing and write nothing twice."""

from collections.abc import Iterator

import pytest

from tests.chaos.bench import Bench, cell
from tests.chaos.faults import TWO_RUNS, Fault, kill_at

pytestmark = [pytest.mark.journey, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def bench(demos, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """Return the bench on the demo that was not disturbed."""
    with Bench.on(demos.whole, tmp_path_factory.mktemp("chaos")) as opened:
        yield opened


@pytest.mark.parametrize(("flow", "fault"), [("ingest", TWO_RUNS), ("freeze", kill_at(0.6)), ("rescore", kill_at(0.5))])
def test_a_disturbed_flow_ends_as_an_undisturbed_one(flow: str, fault: Fault, bench: Bench) -> None:
    row = cell(flow, fault, bench)
    assert row.passed, row
