"""What the local services of one state folder share: the profile, the secrets, the ports, and the form of a program."""

import json
import secrets
import signal
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from vitau.store.atomic import write_atomic

HOST: Final = "127.0.0.1"
_SECRETS: Final = (
    *("pseudonym_key", "signing_key", "label_studio_token", "label_studio_password", "label_studio_secret"),
    *("postgresql_password", "s3_secret", "mlflow_s3_secret", "webhook_secret"),
)


class Profile(StrEnum):
    """Which services there are, and on what they keep their state."""

    EMBEDDED = "embedded"
    FULL = "full"


@dataclass(frozen=True, kw_only=True, slots=True)
class Program:
    """How a service is run: its command, the services that must answer before, and what is done before each start.

    ``health`` is an address that answers 200, or a PostgreSQL server's.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    health: str
    after: Sequence[str] = ()
    prepare: Callable[[], None] | None = None
    user: int | None = None
    stop: signal.Signals = signal.SIGTERM


def read_secrets(state: Path) -> dict[str, str]:
    """Return the state folder's secrets, drawn at random on the first call and readable by the owner only."""
    path = state / "secrets.json"
    kept: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    lacking = [name for name in _SECRETS if name not in kept]
    if lacking:
        kept |= {name: secrets.token_hex(20) for name in lacking}
        write_atomic(path, json.dumps(kept, indent=1), mode=0o600)
    return kept


def free_ports(number: int) -> list[int]:
    """Find ports that nobody uses."""
    with ExitStack() as probes:
        sockets = [probes.enter_context(socket.socket()) for _ in range(number)]
        for probe in sockets:
            probe.bind((HOST, 0))
        return [int(probe.getsockname()[1]) for probe in sockets]


def port_of(address: str) -> int:
    """Return the port of an address."""
    port = urlsplit(address).port
    assert port is not None, "our own addresses name their ports"
    return port
