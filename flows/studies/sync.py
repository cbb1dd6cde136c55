"""Benchmark of the synchronization with a Label Studio of its own: a pull of the changes beside a pull of everything."""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from flows.local_stack import services, stack
from flows.local_stack.state import read_secrets
from flows.local_stack.supervisor import ManagedService, is_alive, start_service, stop_services
from labeling.label_studio import benchmark
from labeling.label_studio.client import connect
from vitau.bench.measure import Case, Result
from vitau.errors import StackError

NAME: Final = "label-studio"
START_TIMEOUT_S: Final = 300.0


def bench(num_people: int, tell: Callable[[str], None]) -> Result:
    """Answer about generated people, pull everything, change ten answers, and pull these.

    The answers are in a new Label Studio on loopback, which is stopped and deleted at the end.

    Args:
        num_people: each has one task with one answer.
        tell: called with one line per step.

    Raises:
        StackError: Label Studio does not start.
    """
    with tempfile.TemporaryDirectory(prefix="vitau-sync-") as folder:
        state = Path(folder)
        tell("start Label Studio")
        with label_studio(state) as url:
            client = connect(url, read_secrets(state)["label_studio_token"])
            measured = benchmark.measure(client, [num_people], store_uri=(state / "store").as_uri(), report=tell)
    seconds = measured["seconds"][str(num_people)]
    return result_of(num_people, seconds["pull_of_10_changes_s"], seconds["whole_pull_s"])


def result_of(num_people: int, changes_s: float, whole_s: float) -> Result:
    """Return the result of two pulls, in people whose answers are known afterwards per second."""
    case = Case(
        name=f"{benchmark.NUM_CHANGES} changed answers about {num_people} people",
        ratio=whole_s / changes_s,
        ours=num_people / changes_s,
        baseline=num_people / whole_s,
        unit="people/s",
        rounds=1,
        max_difference=0.0,  # the measurement raises unless exactly the changed rows are pulled
        agreement={"our_s": changes_s, "baseline_s": whole_s},
    )
    return Result(
        name="sync",
        compared="a pull of the changed answers from Label Studio beside a pull of all answers",
        difference="of the number of changed rows from that of the changed answers",
        cases=(case,),
    )


@contextmanager
def label_studio(state: Path) -> Iterator[str]:
    """Start a Label Studio on an empty state folder; yield its address, and stop it at the end of the block.

    Raises:
        StackError: it does not answer in time, or its process ends.
    """
    url = f"http://127.0.0.1:{stack.choose_port(NAME)}"
    program = services.label_studio(state, url)
    managed = ManagedService(program=program, service=stack.Service(name=NAME, url=url, health=program.health, pid=0))
    start_service(managed, state)
    try:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not stack.is_healthy(managed.service):
            if time.monotonic() > deadline or not is_alive(managed):
                end = stack.log_path(state, NAME).read_text(encoding="utf-8").strip().splitlines()[-1:]
                raise StackError(f"Label Studio does not start ({''.join(end) or 'it wrote nothing'}): run `make setup`")
            time.sleep(0.2)
        yield url
    finally:
        stop_services([managed])
