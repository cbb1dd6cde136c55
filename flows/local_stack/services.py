"""Definitions of the local services: the programs of each profile, with their commands, environments and dependencies.

The profile ``embedded`` uses SQLite and a folder; ``full`` uses PostgreSQL and S3, with workers and the webhook server.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Final

import httpx

from flows.deploy import HEARTBEAT_S, crash_orphaned_runs
from flows.local_stack import backends, object_index
from flows.local_stack.databases import OWNERS, database_url, prepare_databases, upgrade_catalog
from flows.local_stack.mlflow_server import mlflow
from flows.local_stack.state import HOST, Profile, Program, port_of, read_secrets
from flows.local_stack.variables import (
    naming_environment,
    prefect_home,
    prefect_log_in,
    scoring_environment,
    unnamed_environment,
)
from flows.settings import ROOT
from vitau.errors import StackError
from vitau.store.atomic import atomic_path

USER: Final = "annotator@vitau.local"
EMPTY_DATABASE: Final = ROOT / ".venv-label-studio" / "empty" / "label_studio.sqlite3"
"""Label Studio's empty database, made by `make setup`: a new state starts from a copy, because migrations take a minute."""
EMPTY_PREFECT: Final = ROOT / ".venv" / "empty" / "prefect.db"
"""Prefect's empty database, as well: its migrations take two thirds of the time of its first start."""


def names(profile: Profile) -> tuple[str, ...]:
    """Return the names of a profile's services, in the order of the documents."""
    servers = ("label-studio", "mlflow", "prefect")
    if profile is Profile.EMBEDDED:
        return servers
    return ("postgresql", "seaweedfs", *servers, "worker-cpu", *gpu_workers(), "receiver")


def gpu_workers() -> tuple[str, ...]:
    """Return the names of the workers of the pool ``gpu``: one per GPU, each with one run at a time; one without a GPU."""
    lister = shutil.which("nvidia-smi")
    if lister is None:
        return ("worker-gpu",)
    listed = subprocess.run([lister, "--list-gpus"], capture_output=True, text=True, check=False)
    number = sum(line.startswith("GPU ") for line in listed.stdout.splitlines()) if listed.returncode == 0 else 0
    return tuple(f"worker-gpu-{index}" for index in range(number)) or ("worker-gpu",)


def address(name: str, port: int) -> str:
    """Return the address of a service."""
    return f"postgresql://{HOST}:{port}" if name == "postgresql" else f"http://{HOST}:{port}"


def program(name: str, state: Path, profile: Profile, addresses: Mapping[str, str]) -> Program:
    """Return the program of a service.

    Args:
        name: one of :func:`names`.
        state: the folder that holds all data of the services, absolute.
        profile: the profile of the folder.
        addresses: service name → address, of all services of the profile.
    """
    full = profile is Profile.FULL
    programs = {
        "postgresql": lambda: backends.postgresql(state, addresses),
        "seaweedfs": lambda: backends.seaweedfs(state, addresses),
        "label-studio": lambda: label_studio(state, addresses[name], addresses if full else None),
        "mlflow": lambda: mlflow(state, addresses, full=full),
        "prefect": lambda: prefect(state, addresses, full=full),
        "receiver": lambda: _receiver(state, addresses),
    }
    return programs.get(name, lambda: _worker(name, state, addresses))()


def missing_program(name: str) -> str | None:
    """Return the program that a service needs if it is not installed."""
    needed = {
        "label-studio": ROOT / ".venv-label-studio" / "bin" / "label-studio",
        "seaweedfs": object_index.WEED,
        "postgresql": backends.postgresql_programs() / "postgres",
    }.get(name, Path(sys.executable))
    return None if needed.exists() else str(needed)


def install_hint(name: str) -> str:
    """Return the way to install a service."""
    return "install Debian's package postgresql" if name == "postgresql" else "run `make setup`"


def label_studio(state: Path, url: str, full: Mapping[str, str] | None = None) -> Program:
    """Return the program of Label Studio: on SQLite, or with the addresses of the profile ``full`` on PostgreSQL."""
    kept = read_secrets(state)
    store = state / "store"
    store.mkdir(exist_ok=True)
    executable = ROOT / ".venv-label-studio" / "bin" / "label-studio"
    extra = {
        "LABEL_STUDIO_BASE_DATA_DIR": str(state / "label-studio"),
        "LABEL_STUDIO_HOST": url,
        "LABEL_STUDIO_USERNAME": USER,
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
    if full is not None:
        extra |= {
            "DJANGO_DB": "default",
            "POSTGRE_HOST": HOST,
            "POSTGRE_PORT": str(port_of(full["postgresql"])),
            "POSTGRE_USER": OWNERS["label_studio"],
            "POSTGRE_PASSWORD": kept["database_label_studio"],
            "POSTGRE_NAME": "label_studio",
        }
    return Program(
        name="label-studio",
        command=[str(executable), "start", "--no-browser", "--internal-host", HOST, "--port", str(port_of(url))],
        environment=extra,
        health=f"{url}/health",
        after=() if full is None else ("postgresql",),
        prepare=partial(copy_empty_database, EMPTY_DATABASE, state / "label-studio")
        if full is None
        else _prepare_databases(state, full),
    )


def _prepare_databases(state: Path, addresses: Mapping[str, str]) -> Callable[[], None]:
    return partial(prepare_databases, state, addresses, backends.postgresql_programs())


def copy_empty_database(empty: Path, folder: Path) -> None:
    """Copy an empty database into the folder of a new state; without one, the service migrates its own."""
    own = folder / empty.name
    if empty.exists() and not own.exists():
        folder.mkdir(exist_ok=True)
        with atomic_path(own) as partial_database:
            shutil.copyfile(empty, partial_database)


def prefect(state: Path, addresses: Mapping[str, str], *, full: bool) -> Program:
    """Return the program of Prefect's server: it asks for its authentication string, and serves its own page only."""
    url = addresses["prefect"]
    extra = {
        **prefect_home(state),
        "PREFECT_UI_API_URL": f"{url}/api",
        "PREFECT_API_URL": "",
        "PREFECT_SERVER_API_AUTH_STRING": prefect_log_in(state),
        "PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS": url,
        "PREFECT_SERVER_API_CSRF_PROTECTION_ENABLED": "true",
        "PREFECT_SERVER_UI_V2_ENABLED": "false",  # its page contacts a tracking host
    }
    if full:
        extra["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = database_url(state, addresses, "prefect", driver="asyncpg")
    return Program(
        name="prefect",
        command=[sys.executable, "-m", "prefect", "server", "start", "--host", HOST, "--port", str(port_of(url))],
        environment=extra,
        health=f"{url}/api/health",
        after=("postgresql",) if full else (),
        prepare=_prepare_databases(state, addresses)
        if full
        else partial(copy_empty_database, EMPTY_PREFECT, state / "prefect"),
    )


def _worker(name: str, state: Path, addresses: Mapping[str, str]) -> Program:
    """Return the program of a Prefect worker; that of the pool ``cpu`` first applies the deployments."""
    _, pool, *number = name.split("-")
    url = addresses[name]
    variables = naming_environment(state, addresses) if pool == "cpu" else scoring_environment(state, addresses)
    extra = {
        **variables,
        "PYTHONPATH": str(ROOT),  # entrypoints are modules
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_S),
        "PREFECT_WORKER_QUERY_SECONDS": "3",
        "PREFECT_WORKER_WEBSERVER_HOST": HOST,
        "PREFECT_WORKER_WEBSERVER_PORT": str(port_of(url)),
    }
    if number:
        extra["CUDA_VISIBLE_DEVICES"] = number[0]

    def prepare() -> None:
        if pool == "cpu":
            _prepare_databases(state, addresses)()
            upgrade_catalog(state, addresses)
            _deploy(state, extra)
        try:
            crash_orphaned_runs(extra["PREFECT_API_URL"], pool, extra)
        except httpx.HTTPError as error:
            raise StackError(f"Prefect does not list its runs ({type(error).__name__})") from error

    limit = "1" if pool == "gpu" else "2"
    return Program(
        name=name,
        command=[
            *(sys.executable, "-m", "prefect", "worker", "start", "--pool", pool, "--type", "process", "--name", name),
            *("--limit", limit, "--with-healthcheck"),
        ],
        environment=extra,
        health=f"{url}/health",
        after=("prefect",) if pool == "cpu" else ("worker-cpu",),
        prepare=prepare,
    )


def _deploy(state: Path, extra: Mapping[str, str]) -> None:
    """Apply the deployments unless the same ones are applied already."""
    files = (ROOT / "infra" / "prefect.yaml", ROOT / "flows" / "deploy.py")
    digest = sha256(b"".join(path.read_bytes() for path in files)).hexdigest()
    note = state / "deployed"
    if note.exists() and note.read_text() == digest:
        return
    done = subprocess.run(
        [sys.executable, "-m", "flows", "deploy", "--state", str(state)],
        env={**os.environ, **extra},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise StackError(f"the deployments cannot be applied: {reason}")
    note.write_text(digest)


def _receiver(state: Path, addresses: Mapping[str, str]) -> Program:
    url = addresses["receiver"]
    return Program(
        name="receiver",
        command=[
            *(sys.executable, "-m", "flows", "receive", "--state", str(state)),
            *("--host", HOST, "--port", str(port_of(url))),
        ],
        environment={**unnamed_environment(state, addresses), "PYTHONPATH": str(ROOT)},
        health=f"{url}/health",
        after=("label-studio", "mlflow", "worker-cpu"),
    )
