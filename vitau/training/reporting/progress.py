"""What a training says while it runs: a bar with rate and time left on a terminal, now and then a plain line elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

SILENCE_S: Final = 15.0
"""After so long without a line, a plain one says how far the work is."""


class Talk:
    """Talks on stderr, or to nobody where ``quiet``."""

    def __init__(
        self, console: Console | None = None, clock: Callable[[], float] = time.monotonic, *, quiet: bool = False
    ) -> None:
        self.console = console or Console(stderr=True, highlight=False, soft_wrap=True, quiet=quiet)
        self.clock = clock
        self.said_at = clock()

    def say(self, line: str) -> None:
        """Print a line, above the bar if there is one."""
        self.said_at = self.clock()
        self.console.print(line, markup=False)

    @contextmanager
    def task(self, name: str) -> Iterator[Callable[[int, int], None]]:
        """Show how far a task is; give the function to call with the steps done of all steps."""
        if not self.console.is_terminal:
            yield self._plain(name)
            return
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self.console, transient=True) as progress:
            bar = progress.add_task(name, total=None)
            yield lambda done, total: progress.update(bar, completed=done, total=total)

    def _plain(self, name: str) -> Callable[[int, int], None]:
        self.say(name)
        started = self.clock()

        def tell(done: int, total: int) -> None:
            now = self.clock()
            if now - self.said_at >= SILENCE_S and 0 < done < total:
                self.say(f"{name}: {done} of {total}, about {(now - started) * (total - done) / done:.0f} s left")

        return tell
