"""Benchmark of the synchronization with a Label Studio of its own: a pull of the changes beside a pull of everything."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from flows.local_stack.state import read_secrets
from flows.studies.serving import serving
from labeling.label_studio import benchmark
from labeling.label_studio.client import connect
from vitau.bench.measure import Case, Result

NAME: Final = "label-studio"


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
        with serving(state, [NAME]) as urls:
            client = connect(urls[NAME], read_secrets(state)["label_studio_token"])
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
