"""The local services on loopback: Label Studio, MLflow and Prefect, started, waited for, found again, stopped.

Everything they keep lies under one state folder. Secrets are drawn at random on the first start and kept there, readable by
the owner only.
"""

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import httpx
import psutil

from flows.settings import ROOT
from vitau.errors import StackError

_HOST: Final = "127.0.0.1"
_FIRST_START_S: Final = 300.0  # Label Studio migrates a fresh database for up to 130 s on two busy cores
_STOP_S: Final = 20.0
_USER: Final = "annotator@vitau.local"
NAMES: Final = ("label-studio", "mlflow", "prefect")


@dataclass(frozen=True, kw_only=True, slots=True)
class Service:
    """A running service: where it answers, and the process that is it (its pid and the time that the kernel started it)."""

    name: str
    url: str
    health: str
    pid: int
    started: float


def start(state: Path, ports: Mapping[str, int] | None = None) -> list[Service]:
    """Start the services that do not run yet, without waiting for them.

    Args:
        state: the folder that keeps everything the services know.
        ports: service name → port; a free one is chosen for every name that is absent.

    Raises:
        StackError: a given port is taken, or a program is missing.
    """
    state.mkdir(parents=True, exist_ok=True)
    services = running(state)
    known = {service.name for service in services}
    wanted = {name: _port(name, (ports or {}).get(name)) for name in NAMES if name not in known}  # all, before any starts
    for name, port in wanted.items():
        services.append(_start_one(name, state.resolve(), port))
        _remember(state, services)
    return services


def wait(
    services: Sequence[Service], state: Path, *, timeout_s: float = _FIRST_START_S, tell: Callable[[str], None] = print
) -> None:
    """Wait until every service answers.

    Raises:
        StackError: one died or did not answer in time; the sentence names its log.
    """
    waiting = list(services)
    deadline = time.monotonic() + timeout_s
    while waiting:
        for service in tuple(waiting):
            if _healthy(service):
                tell(f"{service.name} answers at {service.url}")
                waiting.remove(service)
            elif _process(service) is None:
                raise StackError(f"{service.name} stopped while starting: read {_log(state, service.name)}")
        if waiting and time.monotonic() > deadline:
            late = waiting[0]
            raise StackError(f"{late.name} did not answer within {timeout_s:.0f} s: read {_log(state, late.name)}")
        time.sleep(0.3 if waiting else 0)


def running(state: Path) -> list[Service]:
    """Return the services of a state folder whose processes are alive."""
    path = state / "services.json"
    if not path.exists():
        return []
    services = [Service(**entry) for entry in json.loads(path.read_text())]
    return [service for service in services if _process(service) is not None]


def stop(state: Path) -> list[str]:
    """Stop the services of a state folder, first politely, and return their names."""
    services = running(state)
    for service in services:
        _signal_group(service, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_S
    for service in services:
        process = _process(service)
        if process is not None:
            with contextlib.suppress(psutil.TimeoutExpired):  # SIGKILL below reaches it
                process.wait(max(0.1, deadline - time.monotonic()))
        _signal_group(service, signal.SIGKILL)
    (state / "services.json").unlink(missing_ok=True)
    return [service.name for service in services]


def environment(state: Path, services: Sequence[Service]) -> dict[str, str]:
    """Return the variables that point the settings, Prefect and MLflow at the services of a state folder."""
    state = state.resolve()
    kept = _secrets(state)
    urls = {service.name: service.url for service in services}
    return {
        "VITAU_STORE": (state / "store").as_uri(),
        "VITAU_CATALOG": f"sqlite:///{state / 'catalog.db'}",
        "VITAU_PSEUDONYM_KEY": kept["pseudonym_key"],
        "VITAU_SIGNING_KEY": kept["signing_key"],
        "VITAU_LABEL_STUDIO_URL": urls["label-studio"],
        "VITAU_LABEL_STUDIO_TOKEN": kept["label_studio_token"],
        "VITAU_MLFLOW_URL": urls["mlflow"],
        "VITAU_WORK": str(state / "work"),
        "PREFECT_API_URL": f"{urls['prefect']}/api",
        **_prefect_environment(state),
        **_MLFLOW_ENVIRONMENT,
    }


def log_in(state: Path) -> tuple[str, str]:
    """Return the name and the password of Label Studio's first user."""
    return _USER, _secrets(state.resolve())["label_studio_password"]


_MLFLOW_ENVIRONMENT: Final = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "1",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # the demo says once where everything is
    "MLFLOW_LOGGING_LEVEL": "WARNING",
}


def _prefect_environment(state: Path) -> dict[str, str]:
    return {
        "PREFECT_HOME": str(state / "prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
        "DO_NOT_TRACK": "1",
    }


def _start_one(name: str, state: Path, port: int) -> Service:
    url = f"http://{_HOST}:{port}"
    command, extra, health = {"label-studio": _label_studio, "mlflow": _mlflow, "prefect": _prefect}[name](state, port)
    if not Path(command[0]).exists():
        raise StackError(f"{name} is not installed ({command[0]} is missing): run `make setup`")
    _log(state, name).parent.mkdir(exist_ok=True)
    with _log(state, name).open("ab") as log:
        process = subprocess.Popen(
            command,
            env={**os.environ, **extra},
            cwd=state,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # its own group, so that all of it can be stopped, and Ctrl-C reaches only us
        )
    _LEFT_RUNNING.append(process)
    return Service(name=name, url=url, health=url + health, pid=process.pid, started=psutil.Process(process.pid).create_time())


_LEFT_RUNNING: Final[list[subprocess.Popen[bytes]]] = []
"""Our children outlive the objects that started them on purpose; kept here, Python does not warn of it."""


def _label_studio(state: Path, port: int) -> tuple[list[str], dict[str, str], str]:
    kept = _secrets(state)
    store = state / "store"
    store.mkdir(exist_ok=True)
    program = ROOT / ".venv-label-studio" / "bin" / "label-studio"
    command = [str(program), "start", "--no-browser", "--internal-host", _HOST, "--port", str(port)]
    extra = {
        "LABEL_STUDIO_BASE_DATA_DIR": str(state / "label-studio"),
        "LABEL_STUDIO_HOST": f"http://{_HOST}:{port}",
        "LABEL_STUDIO_USERNAME": _USER,
        "LABEL_STUDIO_PASSWORD": kept["label_studio_password"],
        "LABEL_STUDIO_USER_TOKEN": kept["label_studio_token"],
        "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
        "LABEL_STUDIO_DISABLE_SIGNUP_WITHOUT_LINK": "true",
        "LOCAL_FILES_SERVING_ENABLED": "true",
        "LOCAL_FILES_DOCUMENT_ROOT": str(store),
        "SECRET_KEY": kept["label_studio_secret"],
        "SSRF_PROTECTION_ENABLED": "false",  # the services are on loopback, which it would block
        "COLLECT_ANALYTICS": "false",
        "LATEST_VERSION_CHECK": "false",
        "SENTRY_DSN": "",
        "FRONTEND_SENTRY_DSN": "",
    }
    return command, extra, "/health"


def _mlflow(state: Path, port: int) -> tuple[list[str], dict[str, str], str]:
    (state / "mlflow").mkdir(exist_ok=True)
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--host", _HOST, "--port", str(port), "--workers", "1"),
        *("--backend-store-uri", f"sqlite:///{state / 'mlflow' / 'mlflow.db'}"),
        *("--artifacts-destination", str(state / "mlflow" / "artifacts")),
    ]
    # its job runners are for language models: six processes, 20 s of processor time at each start, nothing of ours
    return command, {**_MLFLOW_ENVIRONMENT, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}, "/health"


def _prefect(state: Path, port: int) -> tuple[list[str], dict[str, str], str]:
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", _HOST, "--port", str(port)]
    extra = {**_prefect_environment(state), "PREFECT_UI_API_URL": f"http://{_HOST}:{port}/api", "PREFECT_API_URL": ""}
    return command, extra, "/api/health"


def _port(name: str, wanted: int | None) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, wanted or 0))
        except OSError as error:
            raise StackError(
                f"port {wanted} for {name} is taken: stop what uses it, or leave the port out and a free one is chosen"
            ) from error
        return int(probe.getsockname()[1])


def _secrets(state: Path) -> dict[str, str]:
    """Return the state folder's secrets, drawn on the first call; one that an older state lacks is drawn when it is missed."""
    path = state / "secrets.json"
    kept = dict(json.loads(path.read_text())) if path.exists() else {}
    names = ("pseudonym_key", "signing_key", "label_studio_token", "label_studio_password", "label_studio_secret")
    drawn = {name: secrets.token_hex(20) for name in names if name not in kept}
    if drawn:
        partial = path.with_suffix(".partial")
        partial.touch(mode=0o600)
        partial.write_text(json.dumps(kept | drawn, indent=1))
        partial.replace(path)
    return kept | drawn


def _remember(state: Path, services: Sequence[Service]) -> None:
    partial = state / "services.json.partial"
    partial.write_text(json.dumps([asdict(service) for service in services], indent=1))
    partial.replace(state / "services.json")


def _process(service: Service) -> psutil.Process | None:
    try:
        process = psutil.Process(service.pid)
        alive = process.status() != psutil.STATUS_ZOMBIE and abs(process.create_time() - service.started) < 1
    except psutil.NoSuchProcess:
        return None
    return process if alive else None


def _signal_group(service: Service, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):  # already gone, which is what was wanted
        os.killpg(service.pid, number)


def _healthy(service: Service) -> bool:
    try:
        return httpx.get(service.health, timeout=5).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


def _log(state: Path, name: str) -> Path:
    return state / "logs" / f"{name}.log"
