"""Parts that the local services of one state folder share: profile, secrets, ports, and the description of a program."""

import json
import os
import pwd
import secrets
import signal
import socket
import stat
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from vitau.store.atomic import write_atomic

HOST: Final = "127.0.0.1"
_SECRETS: Final = (
    *("pseudonym_key", "signing_key", "label_studio_token", "label_studio_password", "label_studio_secret"),
    *("postgresql_password", "s3_secret", "mlflow_s3_secret", "webhook_secret"),
    *("database_catalog_owner", "database_catalog_writer", "database_eraser"),  # the roles of infra/databases.sql
    *("database_prefect", "database_mlflow", "database_label_studio"),
    *("prefect_password", "mlflow_password", "mlflow_reader_password", "mlflow_secret"),
    *("s3_admin_secret", "pages_s3_secret", "scoring_s3_secret"),
)
SECRET_VARIABLES: Final = frozenset(
    {
        *("VITAU_CATALOG", "VITAU_CATALOG_OWNER", "VITAU_CATALOG_ERASER"),
        *("VITAU_PSEUDONYM_KEY", "VITAU_NEW_PSEUDONYM_KEY", "VITAU_SIGNING_KEY", "VITAU_LABEL_STUDIO_TOKEN"),
        "VITAU_WEBHOOK_SECRET",
        *("PREFECT_API_AUTH_STRING", "PREFECT_API_KEY", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"),
        *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"),
    }
)
"""Variables with secrets: a service gets those that its own program names, and none from the operator's environment."""
PRIVATE: Final = 0o077
"""The umask of every program: what it writes about patients is for the current user only."""


class Profile(StrEnum):
    """Set of services and the backends that hold their data."""

    EMBEDDED = "embedded"
    FULL = "full"


@dataclass(frozen=True, kw_only=True, slots=True)
class Program:
    """Description of a service's program: its command, its dependencies, and a step before each start.

    ``health`` is an HTTP address that answers 200, or the address of a PostgreSQL server. ``after`` names the services that
    must answer first, ``stop`` is the signal that ends the program, and ``finish`` runs once it answers. While ``restart`` is
    true, the running program is stopped, so that ``prepare`` can do what must be done in between.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    health: str
    after: Sequence[str] = ()
    prepare: Callable[[], None] | None = None
    finish: Callable[[], None] | None = None
    restart: Callable[[], bool] | None = None
    user: int | None = None
    stop: signal.Signals = signal.SIGTERM


def read_secrets(state: Path) -> dict[str, str]:
    """Return the secrets of a state folder; missing ones are made at random, and only the owner can read the file."""
    path = state / "secrets.json"
    kept: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    lacking = [name for name in _SECRETS if name not in kept]
    if lacking:
        kept |= {name: secrets.token_hex(20) for name in lacking}
        write_atomic(path, json.dumps(kept, indent=1), mode=0o600)
    return kept


def replace_secret(state: Path, name: str, value: str) -> None:
    """Replace a secret of a state folder, atomically."""
    write_atomic(state / "secrets.json", json.dumps(read_secrets(state) | {name: value}, indent=1), mode=0o600)


def restrict_modes(state: Path) -> int:
    """Take every permission of the group and of others from the files of a state folder; return the number of changes.

    A folder of an earlier version was readable by every local user. Files of another user, such as PostgreSQL's, are left
    to that user's program, which keeps them private itself.
    """
    changed = 0
    own, server = os.geteuid(), state / "postgresql"
    shared = server.exists() and server.stat().st_uid != own  # see backends.admit
    for folder, _, names in os.walk(state):
        for path in (Path(folder), *(Path(folder, name) for name in names)):
            try:
                found = path.lstat()
                excess = found.st_mode & (PRIVATE & ~stat.S_IXGRP if path == state and shared else PRIVATE)
                if excess and found.st_uid == own and not stat.S_ISLNK(found.st_mode):
                    path.chmod(stat.S_IMODE(found.st_mode) & ~excess)
                    changed += 1
            except FileNotFoundError:  # a running service removed it
                continue
    return changed


def as_user(user: int | None) -> dict[str, Any]:
    """Return the arguments of `subprocess` for another user with none of this one's groups; none for the current user."""
    return {} if user is None else {"user": user, "group": pwd.getpwuid(user).pw_gid, "extra_groups": []}


def free_ports(number: int) -> list[int]:
    """Return free ports."""
    with ExitStack() as probes:
        sockets = [probes.enter_context(socket.socket()) for _ in range(number)]
        for probe in sockets:
            probe.bind((HOST, 0))
        return [int(probe.getsockname()[1]) for probe in sockets]


def port_of(address: str) -> int:
    """Return the port of an address."""
    port = urlsplit(address).port
    assert port is not None, "addresses of the stack name their ports"
    return port
