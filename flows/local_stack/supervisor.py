"""``python -m flows.local_stack.supervisor STATE``: start services in dependency order, and restart those that crash.

The supervisor itself may be killed: the services keep running, and the next `up` starts another one that takes them over.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from flows.local_stack import services as definitions
from flows.local_stack import stack
from flows.local_stack.stack import Service
from flows.local_stack.state import PRIVATE, SECRET_VARIABLES, Profile, Program, as_user
from vitau.errors import VitauError
from vitau.processes import process_identity

_CHECK_INTERVAL_S: Final = 0.3
_STOP_TIMEOUT_S: Final = 20.0
_LONGEST_BACKOFF_S: Final = 30.0


@dataclass(kw_only=True, slots=True)
class ManagedService:
    """A service with the program that the supervisor keeps running.

    ``process`` is the child of this supervisor, None if another one started the service. ``ready`` is set once the service
    answers, ``not_before`` (seconds, monotonic) is the end of the backoff.
    """

    program: Program
    service: Service
    process: subprocess.Popen[bytes] | None = None
    ready: bool = False
    not_before: float = 0.0


def supervise(state: Path, stopping: threading.Event) -> None:
    """Keep the services of a state folder running until ``stopping`` is set, then stop them."""
    recorded = stack.recorded_services(state)
    profile = stack.profile_of(state) or Profile.EMBEDDED
    urls = {service.name: service.url for service in recorded}
    managed = [
        ManagedService(program=definitions.program(service.name, state, profile, urls), service=service) for service in recorded
    ]
    while not stopping.wait(_CHECK_INTERVAL_S):
        for service in managed:
            check_service(service, managed, state)
    stop_services(managed)


def check_service(managed: ManagedService, everything: Sequence[ManagedService], state: Path) -> None:
    """Start a service that is due, or record that it is ready or has crashed; a change is written to the state folder."""
    before = managed.service
    if is_alive(managed):
        if not managed.ready and stack.is_healthy(managed.service):
            managed.ready, managed.service = True, replace(managed.service, deaths=0)
            log(f"{managed.program.name} answers")
            finish(managed.program)
        elif managed.ready and managed.program.restart is not None and managed.program.restart():
            stop_for_restart(managed)
    elif managed.service.pid:
        record_crash(managed)
    elif time.monotonic() >= managed.not_before and all(
        other.ready for other in everything if other.program.name in managed.program.after
    ):
        start_service(managed, state)
    if managed.service != before:
        stack.record_services(state, [other.service for other in everything])


def stop_for_restart(managed: ManagedService) -> None:
    """Stop a service that is to be started again at once; that is no crash."""
    log(f"{managed.program.name} is restarted")
    stop_services([managed])
    managed.service = replace(managed.service, pid=0, identity="")
    managed.process, managed.ready, managed.not_before = None, False, 0.0


def finish(program: Program) -> None:
    """Run the step of a program after its first answer; a failure is logged, and the next start tries again."""
    if program.finish is not None:
        try:
            program.finish()
        except (VitauError, OSError) as error:
            log(f"{program.name}: {error}")


def is_alive(managed: ManagedService) -> bool:
    """Return whether a service runs; a child that ended is reaped."""
    if managed.process is not None:
        return managed.process.poll() is None
    return stack.process_of(managed.service) is not None


def record_crash(managed: ManagedService) -> None:
    """Kill the orphaned processes of a crashed service and schedule its restart with exponential backoff."""
    stack.signal_group(managed.service, signal.SIGKILL)
    deaths = managed.service.deaths + 1
    backoff_s = min(2.0 ** (deaths - 1), _LONGEST_BACKOFF_S)
    how = "" if managed.process is None else f" with exit code {managed.process.returncode}"
    log(f"{managed.program.name} ended{how}: restart in {backoff_s:.0f} s")
    managed.service = replace(managed.service, pid=0, identity="", deaths=deaths)
    managed.process, managed.ready, managed.not_before = None, False, time.monotonic() + backoff_s


def start_service(managed: ManagedService, state: Path) -> None:
    """Prepare and start a program; a failure counts as a crash."""
    program = managed.program
    log_file = stack.log_path(state, program.name)
    log_file.parent.mkdir(exist_ok=True)
    with log_file.open("ab") as file:
        try:
            if program.prepare is not None:
                program.prepare()
            process = subprocess.Popen(
                program.command,
                env={**inherited(os.environ), **program.environment},
                cwd=state if program.user is None else "/",
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,  # its own process group, so that its children can be stopped with it
                umask=PRIVATE,
                **as_user(program.user),
            )
        except (VitauError, OSError) as error:
            file.write(f"Error: {error}\n".encode())
            record_crash(managed)
            return
    managed.process = process
    managed.service = replace(managed.service, pid=process.pid, identity=process_identity(process.pid) or "")
    log(f"{program.name} started")


def inherited(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that a service takes from the operator's environment: no secrets, which its program names itself."""
    return {name: value for name, value in environ.items() if name not in SECRET_VARIABLES}


def stop_services(everything: Sequence[ManagedService]) -> None:
    """Stop services in reverse dependency order: first those that no other running service needs."""
    left = [managed for managed in everything if is_alive(managed)]
    while left:
        needed = {name for managed in left for name in managed.program.after}
        free = [managed for managed in left if managed.program.name not in needed]
        for managed in free:
            with contextlib.suppress(ProcessLookupError):
                os.kill(managed.service.pid, managed.program.stop)
        deadline = time.monotonic() + _STOP_TIMEOUT_S
        while time.monotonic() < deadline and any(map(is_alive, free)):
            time.sleep(0.05)
        for managed in free:
            stack.signal_group(managed.service, signal.SIGKILL)
            if managed.process is not None:
                managed.process.wait()
        left = [managed for managed in left if managed not in free]


def log(sentence: str) -> None:
    """Write a line to the supervisor's log."""
    print(time.strftime("%Y-%m-%d %H:%M:%S"), sentence, flush=True)


def main() -> None:
    """Supervise the services of the state folder in the first argument until SIGTERM."""
    os.umask(PRIVATE)
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    supervise(Path(sys.argv[1]), stopping)


if __name__ == "__main__":
    main()
