"""Progress on stderr: a bar with rate and time left on a terminal, plain lines or nothing elsewhere; and a stopwatch."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Final, Protocol, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

T = TypeVar("T")

LINE_INTERVAL_S: Final = 15.0
"""A :class:`Reporter` without a terminal writes a line about its task after this long without one."""


class Update(Protocol):
    """Callback that shows how much is done."""

    def __call__(self, done: int, total: int, description: str | None = None, /) -> None:
        """Show ``done`` of ``total``, under another description if one is given."""


def stderr_console(*, quiet: bool = False) -> Console:
    """Build a console for messages: it wraps no line and colors no number."""
    return Console(stderr=True, highlight=False, soft_wrap=True, quiet=quiet)


def bars(console: Console | None = None, *, transient: bool = False) -> Progress:
    """Build a group of progress bars, silent where the console is not a terminal.

    Args:
        console: on stderr by default.
        transient: remove the bars at the end.
    """
    console = console or stderr_console()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn())
    return Progress(*columns, console=console, disable=not console.is_terminal, transient=transient)


@contextmanager
def bar(
    description: str, total: int | None = None, *, console: Console | None = None, transient: bool = False
) -> Iterator[Update]:
    """Show one progress bar; yields the callback that moves it."""
    with bars(console, transient=transient) as group:
        task = group.add_task(description, total=total)

        def update(done: int, total: int, description: str | None = None, /) -> None:
            group.update(task, completed=done, total=total, description=description)

        yield update


def track(items: Iterable[T], description: str, total: int, *, transient: bool = False) -> Iterator[T]:
    """Yield the items and show on a progress bar how many of ``total`` were yielded."""
    with bars(transient=transient) as group:
        yield from group.track(items, total=total, description=description)


@contextmanager
def stopwatch(seconds: dict[str, float], name: str, *, digits: int = 1) -> Iterator[None]:
    """Measure how long a block takes; write the seconds under its name unless it raises."""
    start = time.monotonic()
    yield
    seconds[name] = round(time.monotonic() - start, digits)


class Reporter:
    """Messages and progress of long work, on stderr by default.

    Args:
        console: where to write.
        clock: seconds from any start.
        quiet: write nothing.
    """

    def __init__(
        self, console: Console | None = None, clock: Callable[[], float] = time.monotonic, *, quiet: bool = False
    ) -> None:
        self.console = console or stderr_console(quiet=quiet)
        self.clock = clock
        self._last_line_at = clock()

    def line(self, text: str) -> None:
        """Write a line, above the progress bar if there is one."""
        self._last_line_at = self.clock()
        self.console.print(text, markup=False)

    @contextmanager
    def task(self, description: str) -> Iterator[Update]:
        """Show the progress of a task: a bar on a terminal, a plain line now and then elsewhere; yields the callback."""
        if self.console.is_terminal and not self.console.quiet:
            with bar(description, console=self.console, transient=True) as update:
                yield update
            return
        self.line(description)
        yield self._lines(description)

    def _lines(self, first_description: str) -> Update:
        started = self.clock()

        def update(done: int, total: int, description: str | None = None, /) -> None:
            now = self.clock()
            if now - self._last_line_at >= LINE_INTERVAL_S and 0 < done < total:
                left_s = (now - started) * (total - done) / done
                self.line(f"{description or first_description}: {done} of {total}, about {left_s:.0f} s left")

        return update


class _Rate(ProgressColumn):
    """Column of the items per second."""

    def render(self, task: Task) -> Text:
        """Render the rate; it is empty until it is known."""
        return Text(f"{task.speed:.1f}/s" if task.speed else "")
