"""Run inputs under limits, and judge what a reader did with each of them.

A reader may return or raise a ``VitauError``. Every sentence that it has for people is checked: one line, of a length that
people read, without a word that identifies a person. Warnings, log lines with such a word, other exceptions, a killed process,
too much time and too much memory are failures.
"""

import logging
import re
import resource
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Final

from vitau.errors import VitauError

IDENTITY: Final = "mustermann"
"""The name in all seeds that identifies a person, in small letters."""
CPU_S: Final = {False: 5.0, True: 20.0}
"""Processor time of an input of text and of media; other programs on the machine do not count."""
WALL_S: Final = 120.0
"""Time on the clock of an input, for what waits and does not compute."""
MEMORY_BYTES: Final = {False: 1 << 30, True: 2 << 30}
"""Address space beyond that of the loaded program; a recording's process in an ingest has as much."""
MAX_SENTENCE: Final = 600


class HangError(BaseException):
    """The input took too long; no ``except Exception`` of a reader catches it."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """A reader of foreign input.

    ``run`` reads the bytes with the help of a scratch folder. It returns the sentences that people read about the input, such
    as the reasons of skipped rows. An AssertionError of it is a failure as well.
    """

    name: str
    seeds: Callable[[], Sequence[bytes]]
    run: Callable[[bytes, Path], Iterable[str]]
    mutate: Callable[..., bytes]
    media: bool = False


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Result of an input: ``accepted``, ``refused``, ``crash`` or ``hang``, and the place or the reason."""

    kind: str
    cause: str = ""

    @property
    def failed(self) -> bool:
        """Return whether the input must be kept."""
        return self.kind in {"crash", "hang"}


def run_input(target: Target, data: bytes, folder: Path) -> Outcome:
    """Run one input and judge it."""
    try:
        with _limited(CPU_S[target.media], WALL_S), _watched_log() as logged:
            sentences = [*target.run(data, folder)]
        faults = [fault for sentence in [*sentences, *logged] if (fault := fault_of(sentence))]
        if faults:
            return Outcome(kind="crash", cause=faults[0])
        return Outcome(kind="accepted", cause=re.sub(r"[\d.]+", "N", sentences[-1]) if sentences else "")
    except HangError:
        return Outcome(kind="hang", cause=f"more than {CPU_S[target.media]:g} s")
    except (KeyboardInterrupt, SystemExit):
        raise
    except VitauError as error:
        faults = [fault for line in str(error).split("\n") if (fault := fault_of(line))]
        return Outcome(kind="crash", cause=f"{faults[0]} at {_place(error)}") if faults else _refused(error)
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is what is looked for
        return Outcome(kind="crash", cause=f"{type(error).__name__} at {_place(error)}")


def fault_of(sentence: str) -> str | None:
    """Return why a sentence is not one that people should read, ``None`` if it is fine."""
    if IDENTITY in sentence.casefold():
        return "an identity in a message"
    if not sentence.strip():
        return "an empty message"
    if len(sentence) > MAX_SENTENCE:
        return f"a message of more than {MAX_SENTENCE} characters"
    if "\n" in sentence or not sentence.isprintable():
        return "a message with control characters"
    return None


def limit_memory(target: Target) -> None:
    """Limit the address space of this process, and turn warnings into errors."""
    warnings.simplefilter("error")
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + MEMORY_BYTES[target.media]
    resource.setrlimit(resource.RLIMIT_AS, (most, resource.getrlimit(resource.RLIMIT_AS)[1]))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _refused(error: BaseException) -> Outcome:
    return Outcome(kind="refused", cause=_place(error))


def _place(error: BaseException) -> str:
    """Return the innermost line of ours that raised an error."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "/site-packages/" not in frame.filename]
    ours = [frame for frame in frames if not frame.filename.startswith((sys.base_prefix, "<"))] or frames
    return f"{Path(ours[-1].filename).name}:{ours[-1].lineno}"


class _Log(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


_LOG: Final = _Log()


@contextmanager
def _watched_log() -> Iterator[list[str]]:
    _LOG.lines.clear()
    root = logging.getLogger()
    if _LOG not in root.handlers:
        root.addHandler(_LOG)
    try:
        yield _LOG.lines
    finally:
        root.removeHandler(_LOG)


@contextmanager
def _limited(cpu_s: float, wall_s: float) -> Iterator[None]:
    """Raise HangError inside the block after a time; a block that holds the interpreter ends later."""

    def stop(_: int, __: FrameType | None) -> None:
        raise HangError

    timers = ((signal.SIGPROF, signal.ITIMER_PROF, cpu_s), (signal.SIGALRM, signal.ITIMER_REAL, wall_s))
    before = [signal.signal(number, stop) for number, _, _ in timers]
    for _, timer, seconds in timers:
        signal.setitimer(timer, seconds)
    try:
        yield
    finally:
        for _, timer, _ in timers:
            signal.setitimer(timer, 0)
        for (number, _, _), handler in zip(timers, before, strict=True):
            signal.signal(number, handler)
