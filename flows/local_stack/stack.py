"""The local services on loopback: start, wait, find and stop them; a supervisor restarts those that crash.

One state folder holds all their data. Its secrets are random, made on the first start, and readable by the owner only.
"""

import contextlib
import fcntl
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Final

import httpx
import psutil

from flows.local_stack import services as definitions
from flows.local_stack import variables
from flows.local_stack.backends import postgresql_programs
from flows.local_stack.state import HOST, PRIVATE, Profile, read_secrets, restrict_modes
from flows.settings import ROOT
from vitau.errors import StackError
from vitau.processes import process_identity
from vitau.store.atomic import write_atomic

_FIRST_START_S: Final = 300.0  # Label Studio migrates its database, which takes minutes on PostgreSQL
_STOP_TIMEOUT_S: Final = 20.0
_STOP_ALL_TIMEOUT_S: Final = 90.0  # the supervisor stops the services one after the other
_MOST_DEATHS: Final = 3
"""Crashes before the first answer after which `wait` gives up."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Service:
    """A service: its address and its process, by number and by :func:`vitau.processes.process_identity`.

    The pid is 0 before the first start; ``deaths`` counts the crashes since the service last answered.
    A service that an earlier version started has no identity, and its start (seconds since 1970) instead.
    """

    name: str
    url: str
    health: str
    pid: int
    started: float = 0.0
    deaths: int = 0
    identity: str = ""


def start(state: Path, ports: Mapping[str, int] | None = None, profile: Profile | None = None) -> list[Service]:
    """Start the services that do not run yet, without waiting for them.

    Args:
        state: the folder that holds all data of the services.
        ports: service name → port; every other service gets a free port.
        profile: by default that of the folder, or embedded for a new one.

    Raises:
        StackError: a given port is taken, a program is missing, or the folder has another profile.
    """
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _exclusive_lock(state):
        restrict_modes(state)
        profile = _choose_profile(state, profile)
        if is_supervised(state):
            return running(state)
        known = {service.name: service for service in recorded_services(state)}
        alive = {name: service for name, service in known.items() if process_of(service) is not None}
        wanted = {
            name: choose_port(name, (ports or {}).get(name)) for name in definitions.names(profile) if name not in alive
        }  # before any service starts, so that a taken port changes nothing
        for name in wanted:
            if (program := definitions.missing_program(name)) is not None:
                raise StackError(f"{name} is not installed ({program} is missing): {definitions.install_hint(name)}")
        urls = {name: service.url for name, service in alive.items()}
        urls |= {name: definitions.address(name, port) for name, port in wanted.items()}
        services = [
            alive.get(name) or _not_started(name, state.resolve(), profile, urls) for name in definitions.names(profile)
        ]
        (state / "profile").write_text(profile)
        record_services(state, services)
        _start_supervisor(state)
    return services


def wait(
    services: Sequence[Service], state: Path, *, timeout_s: float = _FIRST_START_S, tell: Callable[[str], None] = print
) -> None:
    """Wait until every service answers.

    Raises:
        StackError: a service crashed or did not answer in time; the message names its log.
    """
    waiting = [service.name for service in services]
    deadline = time.monotonic() + timeout_s
    while waiting:
        now = {service.name: service for service in recorded_services(state)}
        supervised = is_supervised(state)
        for name in tuple(waiting):
            service = now[name]
            if service.pid and is_healthy(service):
                tell(f"{name} answers at {service.url}")
                waiting.remove(name)
            elif service.deaths >= _MOST_DEATHS or (process_of(service) is None and not supervised):
                raise StackError(f"{name} stopped while starting: read {log_path(state, name)}")
        if waiting and time.monotonic() > deadline:
            raise StackError(f"{waiting[0]} did not answer within {timeout_s:.0f} s: read {log_path(state, waiting[0])}")
        time.sleep(0.3 if waiting else 0)


def running(state: Path) -> list[Service]:
    """Return the services of a state folder that run or that its supervisor will start."""
    supervised = is_supervised(state)
    return [service for service in recorded_services(state) if supervised or process_of(service) is not None]


def stop(state: Path) -> list[str]:
    """Stop the services of a state folder and return their names; SIGKILL follows SIGTERM after a timeout."""
    stopped = [service.name for service in running(state)]
    supervisor = _recorded_supervisor(state)
    if supervisor is not None and (process := process_of(supervisor)) is not None:
        with contextlib.suppress(psutil.Error):  # it ended meanwhile, or it hangs and gets SIGKILL below
            process.terminate()
            process.wait(_STOP_ALL_TIMEOUT_S)
        signal_group(supervisor, signal.SIGKILL)
    left = [
        service for service in recorded_services(state) if process_of(service) is not None
    ]  # orphans of a killed supervisor
    for service in left:
        signal_group(service, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_TIMEOUT_S
    for service in left:
        if (process := process_of(service)) is not None:
            with contextlib.suppress(psutil.TimeoutExpired):  # it gets SIGKILL below
                process.wait(max(0.1, deadline - time.monotonic()))
        signal_group(service, signal.SIGKILL)
    for name in ("services.json", "supervisor.json"):
        (state / name).unlink(missing_ok=True)
    return stopped


def is_supervised(state: Path) -> bool:
    """Return whether a supervisor runs for a state folder."""
    supervisor = _recorded_supervisor(state)
    return supervisor is not None and process_of(supervisor) is not None


def profile_of(state: Path) -> Profile | None:
    """Return the profile of a state folder, None for a new one."""
    path = state / "profile"
    if path.exists():
        return Profile(path.read_text().strip())
    return Profile.EMBEDDED if (state / "catalog.db").exists() else None  # older than the profiles


def environment(state: Path, services: Sequence[Service]) -> dict[str, str]:
    """Return the variables that point the settings, Prefect and MLflow at the services of a state folder."""
    urls = {service.name: service.url for service in services}
    return variables.environment(state.resolve(), profile_of(state) or Profile.EMBEDDED, urls)


def holds_catalog(state: Path) -> bool:
    """Return whether a state folder has its catalog in SQLite, which needs no service."""
    return profile_of(state) is Profile.EMBEDDED and (state / "catalog.db").exists()


def environment_at_rest(state: Path) -> dict[str, str]:
    """Return the variables of a state folder whose services do not run; the addresses of these lead nowhere."""
    urls = {name: definitions.address(name, 0) for name in definitions.names(Profile.EMBEDDED)}
    return variables.environment(state.resolve(), Profile.EMBEDDED, urls)


@dataclass(frozen=True, kw_only=True, slots=True)
class LogIn:
    """A log-in of a service's page."""

    service: str
    user: str
    password: str


def log_ins(state: Path) -> list[LogIn]:
    """Return the log-ins that people use: of Label Studio, Prefect, and MLflow for the operator and for readers of models."""
    kept = read_secrets(state.resolve())
    return [
        LogIn(service="Label Studio", user=definitions.USER, password=kept["label_studio_password"]),
        LogIn(service="MLflow", user=variables.MLFLOW_USER, password=kept["mlflow_password"]),
        LogIn(service="MLflow, models only", user=variables.MLFLOW_READER, password=kept["mlflow_reader_password"]),
        LogIn(service="Prefect", user=variables.PREFECT_USER, password=kept["prefect_password"]),
    ]


def describe(log_in: LogIn) -> str:
    """Return a log-in as a page asks for it; Prefect's page has one field for both parts."""
    return f"{log_in.user}{':' if log_in.service == 'Prefect' else '  '}{log_in.password}"


def record_services(state: Path, services: Sequence[Service]) -> None:
    """Write the services of a state folder to `services.json`, by an atomic rename."""
    write_atomic(state / "services.json", json.dumps([asdict(service) for service in services], indent=1))


def process_of(service: Service) -> psutil.Process | None:
    """Return the process of a service if it is alive; another process with a reused pid does not count."""
    if not service.pid:
        return None
    try:
        process = psutil.Process(service.pid)
        if service.identity:  # the clock may have been set since
            alive = process_identity(service.pid) == service.identity
        else:
            alive = process.status() != psutil.STATUS_ZOMBIE and abs(process.create_time() - service.started) < 1
    except psutil.NoSuchProcess:
        return None
    return process if alive else None


def signal_group(service: Service, number: signal.Signals) -> None:
    """Send a signal to the process group of a service: itself and its children."""
    if service.pid:  # 0 would be the group of this process
        with contextlib.suppress(ProcessLookupError):  # it has ended
            os.killpg(service.pid, number)


def is_healthy(service: Service) -> bool:
    """Check the health address of a service."""
    if service.health.startswith("postgresql:"):
        host, port = service.health.removeprefix("postgresql://").split(":")
        command = [str(postgresql_programs() / "pg_isready"), "--quiet", f"--host={host}", f"--port={port}"]
        return subprocess.run(command, check=False).returncode == 0
    try:
        return httpx.get(service.health, timeout=5, verify=certificates()).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


@cache
def certificates() -> ssl.SSLContext:
    """Return the certificates of HTTPS, read once: that takes 20 ms, and all services are asked three times a second."""
    return httpx.create_ssl_context()


def log_path(state: Path, name: str) -> Path:
    """Return the log file of a service."""
    return state / "logs" / f"{name}.log"


@contextlib.contextmanager
def _exclusive_lock(state: Path) -> Iterator[None]:
    """Lock a state folder exclusively: two commands must not start services on the same folder."""
    with (state / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _choose_profile(state: Path, wanted: Profile | None) -> Profile:
    kept = profile_of(state)
    if kept is not None and wanted is not None and kept is not wanted:
        raise StackError(f"{state} was made with profile {kept} and cannot become {wanted}: choose another folder with STATE=…")
    return wanted or kept or Profile.EMBEDDED


def _not_started(name: str, state: Path, profile: Profile, urls: Mapping[str, str]) -> Service:
    health = definitions.program(name, state, profile, urls).health
    return Service(name=name, url=urls[name], health=health, pid=0)


def _start_supervisor(state: Path) -> None:
    log = log_path(state, "supervisor")
    log.parent.mkdir(exist_ok=True)
    with log.open("ab") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "flows.local_stack.supervisor", str(state.resolve())],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,  # Ctrl-C must not reach it
            umask=PRIVATE,
        )
    _LEFT_RUNNING.append(process)
    identity = process_identity(process.pid) or ""
    supervisor = Service(name="supervisor", url="", health="", pid=process.pid, identity=identity)
    (state / "supervisor.json").write_text(json.dumps(asdict(supervisor)))


_LEFT_RUNNING: Final[list[subprocess.Popen[bytes]]] = []
"""Supervisors outlive this process on purpose; references to them keep Python from warning about that."""


def _recorded_supervisor(state: Path) -> Service | None:
    path = state / "supervisor.json"
    return Service(**json.loads(path.read_text())) if path.exists() else None


def recorded_services(state: Path) -> list[Service]:
    """Return the services in `services.json` of a state folder, dead or alive."""
    path = state / "services.json"
    return [Service(**entry) for entry in json.loads(path.read_text())] if path.exists() else []


def choose_port(name: str, wanted: int | None = None) -> int:
    """Return the wanted port if it is free, or any free port.

    Raises:
        StackError: the wanted port is taken.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, wanted or 0))
        except OSError as error:
            raise StackError(
                f"port {wanted} for {name} is taken: stop what uses it, or leave the port out and a free one is chosen"
            ) from error
        return int(probe.getsockname()[1])
