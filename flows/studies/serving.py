"""Services of the local stack for a study, on a state folder of its own."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from flows.local_stack import services, stack
from flows.local_stack.state import Profile
from flows.local_stack.supervisor import ManagedService, finish, is_alive, start_service, stop_services
from vitau.errors import StackError

START_TIMEOUT_S: Final = 300.0


@contextmanager
def serving(state: Path, names: Sequence[str]) -> Iterator[dict[str, str]]:
    """Start services on an empty state folder; yield their addresses by name, and stop them at the end of the block.

    Raises:
        StackError: one does not answer in time, or its process ends.
    """
    urls = {name: f"http://127.0.0.1:{stack.choose_port(name)}" for name in names}
    started: list[ManagedService] = []
    try:
        for name, url in urls.items():
            program = services.program(name, state, Profile.EMBEDDED, urls)
            started.append(
                ManagedService(program=program, service=stack.Service(name=name, url=url, health=program.health, pid=0))
            )
            start_service(started[-1], state)
        for managed in started:
            _wait(managed, state)
            finish(managed.program)
        yield urls
    finally:
        stop_services(started)


def _wait(managed: ManagedService, state: Path) -> None:
    deadline, name = time.monotonic() + START_TIMEOUT_S, managed.program.name
    while not stack.is_healthy(managed.service):
        if time.monotonic() > deadline or not is_alive(managed):
            end = stack.log_path(state, name).read_text(encoding="utf-8").strip().splitlines()[-1:]
            raise StackError(f"{name} does not start ({''.join(end) or 'it wrote nothing'}): run `make setup`")
        time.sleep(0.2)
