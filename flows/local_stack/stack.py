"""The local services on loopback, started, waited for, found again, stopped; a supervisor keeps them running.

Everything they keep lies under one state folder. Secrets are drawn at random on the first start and kept there, readable by
the owner only.
"""

import contextlib
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import httpx
import psutil

from flows.local_stack import services as definitions
from flows.local_stack.backends import postgresql_programs
from flows.local_stack.state import HOST, Profile, read_secrets
from flows.settings import ROOT
from vitau.errors import StackError
from vitau.store.atomic import write_atomic

_FIRST_START_S: Final = 300.0  # on PostgreSQL Label Studio migrates for up to 130 s on two busy cores
_STOP_S: Final = 20.0
_STOP_ALL_S: Final = 90.0  # the supervisor stops in order; SeaweedFS alone takes 12 s
_DEATHS: Final = 3
"""A service that dies this often before it answers will not answer."""
NAMES: Final = definitions.names(Profile.EMBEDDED)


@dataclass(frozen=True, kw_only=True, slots=True)
class Service:
    """A service: where it answers, and the process that is it (its pid and the time that the kernel started it).

    The pid is 0 before its first start; ``deaths`` counts how often it died since it last answered.
    """

    name: str
    url: str
    health: str
    pid: int
    started: float
    deaths: int = 0


def start(state: Path, ports: Mapping[str, int] | None = None, profile: Profile | None = None) -> list[Service]:
    """Start the services that do not run yet, without waiting for them.

    Args:
        state: the folder that keeps everything the services know.
        ports: service name → port; a free one is chosen for every name that is absent.
        profile: what the state is kept on; by default what it was first, or else embedded.

    Raises:
        StackError: a given port is taken, a program is missing, or the folder is of another profile.
    """
    state.mkdir(parents=True, exist_ok=True)
    with _alone(state):
        profile = _settle(state, profile)
        if supervised(state):
            return running(state)
        known = {service.name: service for service in written(state)}
        alive = {name: service for name, service in known.items() if process_of(service) is not None}
        wanted = {
            name: _port(name, (ports or {}).get(name)) for name in definitions.names(profile) if name not in alive
        }  # all, before any starts
        for name in wanted:
            if (program := definitions.missing(name)) is not None:
                raise StackError(f"{name} is not installed ({program} is missing): {definitions.remedy(name)}")
        urls = {name: service.url for name, service in alive.items()}
        urls |= {name: definitions.address(name, port) for name, port in wanted.items()}
        services = [
            alive.get(name) or _not_started(name, state.resolve(), profile, urls) for name in definitions.names(profile)
        ]
        (state / "profile").write_text(profile)
        remember(state, services)
        _start_supervisor(state)
    return services


def wait(
    services: Sequence[Service], state: Path, *, timeout_s: float = _FIRST_START_S, tell: Callable[[str], None] = print
) -> None:
    """Wait until every service answers.

    Raises:
        StackError: one died or did not answer in time; the sentence names its log.
    """
    waiting = [service.name for service in services]
    deadline = time.monotonic() + timeout_s
    while waiting:
        now = {service.name: service for service in written(state)}
        kept = supervised(state)
        for name in tuple(waiting):
            service = now[name]
            if service.pid and healthy(service):
                tell(f"{name} answers at {service.url}")
                waiting.remove(name)
            elif service.deaths >= _DEATHS or (process_of(service) is None and not kept):
                raise StackError(f"{name} stopped while starting: read {log_of(state, name)}")
        if waiting and time.monotonic() > deadline:
            raise StackError(f"{waiting[0]} did not answer within {timeout_s:.0f} s: read {log_of(state, waiting[0])}")
        time.sleep(0.3 if waiting else 0)


def running(state: Path) -> list[Service]:
    """Return the services of a state folder that run, or that its supervisor is about to start."""
    kept = supervised(state)
    return [service for service in written(state) if kept or process_of(service) is not None]


def stop(state: Path) -> list[str]:
    """Stop the services of a state folder, first politely, and return their names."""
    stopped = [service.name for service in running(state)]
    supervisor = _supervisor(state)
    if supervisor is not None and (process := process_of(supervisor)) is not None:
        with contextlib.suppress(psutil.Error):  # gone meanwhile; or hanging, and SIGKILL below reaches it
            process.terminate()
            process.wait(_STOP_ALL_S)
        signal_group(supervisor, signal.SIGKILL)
    left = [service for service in written(state) if process_of(service) is not None]  # of a supervisor that was killed
    for service in left:
        signal_group(service, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_S
    for service in left:
        if (process := process_of(service)) is not None:
            with contextlib.suppress(psutil.TimeoutExpired):  # SIGKILL below reaches it
                process.wait(max(0.1, deadline - time.monotonic()))
        signal_group(service, signal.SIGKILL)
    for name in ("services.json", "supervisor.json"):
        (state / name).unlink(missing_ok=True)
    return stopped


def supervised(state: Path) -> bool:
    """Say whether somebody looks after the services of a state folder."""
    supervisor = _supervisor(state)
    return supervisor is not None and process_of(supervisor) is not None


def profile_of(state: Path) -> Profile | None:
    """Return the profile of a state folder, nothing of a new one."""
    path = state / "profile"
    if path.exists():
        return Profile(path.read_text().strip())
    return Profile.EMBEDDED if (state / "catalog.db").exists() else None  # made before there were profiles


def environment(state: Path, services: Sequence[Service]) -> dict[str, str]:
    """Return the variables that point the settings, Prefect and MLflow at the services of a state folder."""
    urls = {service.name: service.url for service in services}
    return definitions.environment(state.resolve(), profile_of(state) or Profile.EMBEDDED, urls)


def log_in(state: Path) -> tuple[str, str]:
    """Return the name and the password of Label Studio's first user."""
    return definitions.USER, read_secrets(state.resolve())["label_studio_password"]


def remember(state: Path, services: Sequence[Service]) -> None:
    """Write the services down, for whoever looks for them."""
    write_atomic(state / "services.json", json.dumps([asdict(service) for service in services], indent=1))


def process_of(service: Service) -> psutil.Process | None:
    """Find the process of a service, if it is alive: not another one with the same pid."""
    if not service.pid:
        return None
    try:
        process = psutil.Process(service.pid)
        alive = process.status() != psutil.STATUS_ZOMBIE and abs(process.create_time() - service.started) < 1
    except psutil.NoSuchProcess:
        return None
    return process if alive else None


def signal_group(service: Service, number: signal.Signals) -> None:
    """Send a signal to a service and to all that it started."""
    if service.pid:  # 0 would be our own group
        with contextlib.suppress(ProcessLookupError):  # already gone, which is what was wanted
            os.killpg(service.pid, number)


def healthy(service: Service) -> bool:
    """Ask a service whether it can work."""
    if service.health.startswith("postgresql:"):
        host, port = service.health.removeprefix("postgresql://").split(":")
        asked = [str(postgresql_programs() / "pg_isready"), "--quiet", f"--host={host}", f"--port={port}"]
        return subprocess.run(asked, check=False).returncode == 0
    try:
        return httpx.get(service.health, timeout=5).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


def log_of(state: Path, name: str) -> Path:
    """Return where a service writes its log."""
    return state / "logs" / f"{name}.log"


@contextlib.contextmanager
def _alone(state: Path) -> Iterator[None]:
    """Let nobody else start services on this folder meanwhile."""
    with (state / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _settle(state: Path, wanted: Profile | None) -> Profile:
    kept = profile_of(state)
    if kept is not None and wanted is not None and kept is not wanted:
        raise StackError(f"{state} was made with profile {kept} and cannot become {wanted}: choose another folder with STATE=…")
    return wanted or kept or Profile.EMBEDDED


def _not_started(name: str, state: Path, profile: Profile, urls: Mapping[str, str]) -> Service:
    health = definitions.program(name, state, profile, urls).health
    return Service(name=name, url=urls[name], health=health, pid=0, started=0)


def _start_supervisor(state: Path) -> None:
    log = log_of(state, "supervisor")
    log.parent.mkdir(exist_ok=True)
    with log.open("ab") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "flows.local_stack.supervisor", str(state.resolve())],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,  # Ctrl-C reaches only us
        )
    _LEFT_RUNNING.append(process)
    started = psutil.Process(process.pid).create_time()
    supervisor = Service(name="supervisor", url="", health="", pid=process.pid, started=started)
    (state / "supervisor.json").write_text(json.dumps(asdict(supervisor)))


_LEFT_RUNNING: Final[list[subprocess.Popen[bytes]]] = []
"""Our children outlive the objects that started them on purpose; kept here, Python does not warn of it."""


def _supervisor(state: Path) -> Service | None:
    path = state / "supervisor.json"
    return Service(**json.loads(path.read_text())) if path.exists() else None


def written(state: Path) -> list[Service]:
    """Return the services of a state folder as they were last written down, dead or alive."""
    path = state / "services.json"
    return [Service(**entry) for entry in json.loads(path.read_text())] if path.exists() else []


def _port(name: str, wanted: int | None) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, wanted or 0))
        except OSError as error:
            raise StackError(
                f"port {wanted} for {name} is taken: stop what uses it, or leave the port out and a free one is chosen"
            ) from error
        return int(probe.getsockname()[1])
