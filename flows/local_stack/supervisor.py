"""``python -m flows.local_stack.supervisor STATE``: start the services in order, restart crashed ones, stop in reverse order.

It is itself expendable: killed, it leaves the services running, and the next `up` starts another one that takes them over.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import psutil

from flows.local_stack import services as definitions
from flows.local_stack import stack
from flows.local_stack.stack import Service
from flows.local_stack.state import Profile, Program
from vitau.errors import VitauError

_LOOK_S: Final = 0.3
_STOP_S: Final = 20.0
_LONGEST_WAIT_S: Final = 30.0


@dataclass(kw_only=True, slots=True)
class ManagedService:
    """A program that is kept running."""

    program: Program
    service: Service
    process: subprocess.Popen[bytes] | None = None  # nothing of a service that another supervisor started
    answered: bool = False
    not_before: float = 0.0


def keep(state: Path, over: threading.Event) -> None:
    """Keep the services of a state folder running until ``over`` is set, then stop them."""
    services = stack.written(state)
    profile = stack.profile_of(state) or Profile.EMBEDDED
    urls = {service.name: service.url for service in services}
    kept = [ManagedService(program=definitions.program(each.name, state, profile, urls), service=each) for each in services]
    while not over.wait(_LOOK_S):
        for each in kept:
            look_after(each, kept, state)
    stop(kept)


def look_after(each: ManagedService, kept: Sequence[ManagedService], state: Path) -> None:
    """Start a program whose time has come, or notice that it died."""
    before = each.service
    if alive(each):
        if not each.answered and stack.healthy(each.service):
            each.answered, each.service = True, replace(each.service, deaths=0)
            tell(f"{each.program.name} answers")
    elif each.service.pid:
        note_death(each)
    elif time.monotonic() >= each.not_before and all(
        other.answered for other in kept if other.program.name in each.program.after
    ):
        start(each, state)
    if each.service != before:
        stack.remember(state, [other.service for other in kept])


def alive(each: ManagedService) -> bool:
    """Say whether a program runs; a child of ours that ended is buried by this."""
    if each.process is not None:
        return each.process.poll() is None
    return stack.process_of(each.service) is not None


def note_death(each: ManagedService) -> None:
    """Clear away what a dead program left, and wait longer the more often it died."""
    stack.signal_group(each.service, signal.SIGKILL)
    deaths = each.service.deaths + 1
    pause = min(2.0 ** (deaths - 1), _LONGEST_WAIT_S)
    how = "" if each.process is None else f" with exit code {each.process.returncode}"
    tell(f"{each.program.name} ended{how}: again in {pause:.0f} s")
    each.service = replace(each.service, pid=0, started=0, deaths=deaths)
    each.process, each.answered, each.not_before = None, False, time.monotonic() + pause


def start(each: ManagedService, state: Path) -> None:
    """Prepare and start a program; what goes wrong counts as a death."""
    program = each.program
    log = stack.log_of(state, program.name)
    log.parent.mkdir(exist_ok=True)
    with log.open("ab") as file:
        try:
            if program.prepare is not None:
                program.prepare()
            process = subprocess.Popen(
                program.command,
                env={**os.environ, **program.environment},
                cwd=state if program.user is None else "/",
                user=program.user,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,  # its own group, so that all of it can be stopped
            )
        except (VitauError, OSError) as error:
            file.write(f"Error: {error}\n".encode())
            note_death(each)
            return
    each.process = process
    each.service = replace(each.service, pid=process.pid, started=psutil.Process(process.pid).create_time())
    tell(f"{program.name} started")


def stop(kept: Sequence[ManagedService]) -> None:
    """Stop the programs, those first on which nobody stands."""
    left = [each for each in kept if alive(each)]
    while left:
        needed = {name for each in left for name in each.program.after}
        free = [each for each in left if each.program.name not in needed]
        for each in free:
            with contextlib.suppress(ProcessLookupError):
                os.kill(each.service.pid, each.program.stop)
        deadline = time.monotonic() + _STOP_S
        while time.monotonic() < deadline and any(alive(each) for each in free):
            time.sleep(0.05)
        for each in free:
            stack.signal_group(each.service, signal.SIGKILL)
            if each.process is not None:
                each.process.wait()
        left = [each for each in left if each not in free]


def tell(sentence: str) -> None:
    """Write a line of the log."""
    print(time.strftime("%Y-%m-%d %H:%M:%S"), sentence, flush=True)


def main() -> None:
    """Keep the services of the state folder in the first argument, until SIGTERM."""
    over = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: over.set())
    keep(Path(sys.argv[1]), over)


if __name__ == "__main__":
    main()
