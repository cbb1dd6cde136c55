"""The program of MLflow: it asks every client for a name and a password, and only the flows may write."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import httpx

from flows.local_stack import backends
from flows.local_stack.backends import s3_keys
from flows.local_stack.databases import database_url, prepare_databases
from flows.local_stack.state import HOST, Program, port_of, read_secrets
from flows.local_stack.variables import MLFLOW_READER, MLFLOW_USER, QUIET_MLFLOW
from vitau.errors import StackError

AUTHORIZATION: Final = "vitau.registry.access:authenticate"
_DEFAULT: Final = "0"  # number of the experiment "Default"
_CACHED_LOG_INS_S: Final = 300  # a password's digest takes 50 ms, and a training writes many metrics


def mlflow(state: Path, addresses: Mapping[str, str], *, full: bool) -> Program:
    """Return the program of MLflow, on SQLite and a folder, or in the profile ``full`` on PostgreSQL and S3."""
    url, kept, folder = addresses["mlflow"], read_secrets(state), state / "mlflow"
    # its job runners serve language models and start six processes
    extra = {**QUIET_MLFLOW, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", **_log_ins(folder, kept)}
    if full:
        extra |= {
            "MLFLOW_BACKEND_STORE_URI": database_url(state, addresses, "mlflow", driver="psycopg"),
            "MLFLOW_ARTIFACTS_DESTINATION": f"s3://{backends.MLFLOW_BUCKET}",
            "MLFLOW_S3_ENDPOINT_URL": addresses["seaweedfs"],
            **s3_keys(addresses, backends.MLFLOW, kept["mlflow_s3_secret"]),
        }
        users = database_url(state, addresses, "mlflow", driver="psycopg")
    else:
        extra |= {
            "MLFLOW_BACKEND_STORE_URI": f"sqlite:///{folder / 'mlflow.db'}",
            "MLFLOW_ARTIFACTS_DESTINATION": str(folder / "artifacts"),
        }
        users = f"sqlite:///{folder / 'users.db'}"

    def prepare() -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        write_access(folder, users)
        if full:
            prepare_databases(state, addresses, backends.postgresql_programs())
            backends.make_buckets(addresses, kept["s3_admin_secret"])

    return Program(
        name="mlflow",
        command=[
            *(sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port_of(url))),
            *("--workers", "1", "--app-name", "basic-auth"),
        ],
        environment=extra,
        health=f"{url}/health",
        after=("postgresql", "seaweedfs") if full else (),
        prepare=prepare,
        finish=set_up(url, kept),
    )


def _log_ins(folder: Path, kept: Mapping[str, str]) -> dict[str, str]:
    return {
        "MLFLOW_AUTH_CONFIG_PATH": str(folder / "access.ini"),
        "MLFLOW_AUTH_ADMIN_USERNAME": MLFLOW_USER,
        "MLFLOW_AUTH_ADMIN_PASSWORD": kept["mlflow_password"],
        "MLFLOW_FLASK_SERVER_SECRET_KEY": kept["mlflow_secret"],
    }


def write_access(folder: Path, users: str) -> None:
    """Write the configuration of MLflow's authentication; ``users`` is the address of the database with the log-ins."""
    access = folder / "access.ini"
    access.touch(mode=0o600)
    access.write_text(
        "[mlflow]\n"
        f"database_uri = {users.replace('%', '%%')}\n"
        f"authorization_function = {AUTHORIZATION}\n"
        "default_permission = READ\n"
        f"auth_cache_ttl_seconds = {_CACHED_LOG_INS_S}\n"
    )


def set_up(url: str, kept: Mapping[str, str]) -> Callable[[], None]:
    """Return a function that creates the log-in of the people who use models, and deletes the empty experiment "Default"."""

    def finish() -> None:
        try:
            with httpx.Client(
                base_url=f"{url}/api/2.0/mlflow", auth=(MLFLOW_USER, kept["mlflow_password"]), timeout=30
            ) as client:
                _make_reader(client, kept["mlflow_reader_password"])
                _delete_default(client)
        except httpx.HTTPError as error:
            raise StackError(f"MLflow cannot be set up ({type(error).__name__}); see its log") from error

    return finish


def _make_reader(client: httpx.Client, password: str) -> None:
    answer = client.post("/users/create", json={"username": MLFLOW_READER, "password": password})
    if answer.is_error and "RESOURCE_ALREADY_EXISTS" not in answer.text:
        raise StackError(f"MLflow does not create the log-in {MLFLOW_READER} ({answer.status_code})")


def _delete_default(client: httpx.Client) -> None:
    """Delete the experiment that MLflow creates at its first start, unless it has a run; people look for theirs in it."""
    found = client.get("/experiments/get", params={"experiment_id": _DEFAULT}).json().get("experiment", {})
    if found.get("lifecycle_stage") != "active":
        return
    wanted = {"experiment_ids": [_DEFAULT], "run_view_type": "ALL", "max_results": 1}
    if not client.post("/runs/search", json=wanted).raise_for_status().json().get("runs"):
        client.post("/experiments/delete", json={"experiment_id": _DEFAULT}).raise_for_status()
