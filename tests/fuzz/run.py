"""Fuzz the readers of foreign input: ``python -m tests.fuzz.run`` (`make fuzz`).

Each target runs in a process of its own. An exception that is no sentence for the user, a dead process and an input that takes
too long are failures. Their inputs are written to ``tests/fuzz/regressions``, which every later run reads first.
"""

import argparse
import hashlib
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType
from typing import Final

from tests.fuzz.targets import TARGETS, Target, is_expected

REGRESSIONS: Final = Path(__file__).parent / "regressions"
HANG_S: Final = 10.0
MOST_FAILURES: Final = 20
"""Failures with different causes after which a target stops."""


class HangError(BaseException):
    """The input took too long; no ``except Exception`` of a reader catches it."""


@dataclass(kw_only=True)
class Result:
    """The counts of one target; ``failures`` maps the cause to the first input that has it."""

    target: str
    inputs: int = 0
    refused: int = 0
    seconds: float = 0.0
    crashes: int = 0
    hangs: int = 0
    failures: dict[str, bytes] = field(default_factory=dict)


def regressions(target: Target) -> list[Path]:
    """Return the kept inputs of a target."""
    return sorted((REGRESSIONS / target.name).glob("*.bin"))


def run_input(target: Target, data: bytes, folder: Path) -> str | None:
    """Run one input; return the cause of its failure, ``refused`` for an expected error, or ``None``."""
    try:
        with _limited(HANG_S):
            target.run(data, folder)
    except HangError:
        return "hang"
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is what is looked for
        return "refused" if is_expected(error) else _cause(error)
    return None


def fuzz(target: Target, number: int, seed: int) -> Result:
    """Run a target's regressions and ``number`` mutated inputs, in processes that are replaced when they die."""
    result, start = Result(target=target.name), 0
    began = time.monotonic()
    context = get_context("spawn")
    while start < number and len(result.failures) < MOST_FAILURES:
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=_work, args=(target.name, seed, start, number, theirs))
        process.start()
        theirs.close()
        last = start - 1
        for last, cause in _received(ours):
            result.inputs += 1
            _count(result, target, seed, last, cause)
        process.join()
        start = last + 1
        if process.exitcode != 0 and start < number:
            result.inputs += 1
            _count(result, target, seed, start, f"died with exit code {process.exitcode}")
            start += 1
    result.seconds = time.monotonic() - began
    return result


def main() -> None:
    """Print the table, and exit 1 if an input crashed or hung."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}; by default all")
    parser.add_argument("--text", type=int, default=100_000, help="inputs for each target of text")
    parser.add_argument("--media", type=int, default=2_000, help="inputs for each target of images or video")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    print(f"{'target':12}{'inputs':>9}{'refused':>9}{'crashes':>9}{'hangs':>7}{'seconds':>9}", flush=True)
    results = []
    for name in arguments.targets or TARGETS:
        target = TARGETS[name]
        result = fuzz(target, arguments.media if target.media else arguments.text, arguments.seed)
        counts = f"{result.inputs:>9}{result.refused:>9}{result.crashes:>9}{result.hangs:>7}{result.seconds:>9.0f}"
        print(f"{name:12}{counts}", flush=True)
        results.append(result)
    for result in results:
        for cause, data in result.failures.items():
            where = keep(result.target, data).relative_to(REGRESSIONS.parent) if data else "one of its regressions"
            print(f"  {result.target}: {cause}: {where}")
    sys.exit(any(result.failures for result in results))


def keep(target: str, data: bytes) -> Path:
    """Write an input to the regressions; return its path."""
    path = REGRESSIONS / target / f"{hashlib.sha256(data).hexdigest()[:12]}.bin"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    return path


def _work(name: str, seed: int, start: int, number: int, results: Connection) -> None:
    target = TARGETS[name]
    with tempfile.TemporaryDirectory() as folder:
        if start == 0:
            for path in regressions(target):
                results.send((-1, run_input(target, path.read_bytes(), Path(folder))))
        for index in range(start, number):
            results.send((index, run_input(target, target.input(seed, index), Path(folder))))
    results.close()


def _received(results: Connection) -> Iterator[tuple[int, str | None]]:
    try:
        while True:
            yield results.recv()
    except EOFError:
        return


def _count(result: Result, target: Target, seed: int, index: int, cause: str | None) -> None:
    if cause == "refused":
        result.refused += 1
    elif cause is not None:
        result.hangs += cause == "hang"
        result.crashes += cause != "hang"
        result.failures.setdefault(cause, target.input(seed, index) if index >= 0 else b"")  # a kept one is kept already


def _cause(error: BaseException) -> str:
    """Return the kind of an error and the innermost line of ours that raised it."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "/site-packages/" not in frame.filename]
    return f"{type(error).__name__} at {Path(frames[-1].filename).name}:{frames[-1].lineno}"


@contextmanager
def _limited(seconds: float) -> Iterator[None]:
    """Raise HangError inside the block after the time; a block that holds the interpreter ends later."""

    def stop(_: int, __: FrameType | None) -> None:
        raise HangError

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


if __name__ == "__main__":
    main()
