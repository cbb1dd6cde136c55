"""Backends of the profile ``full``: PostgreSQL for the databases, SeaweedFS for the objects."""

import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from flows.erasure.volumes import REQUEST
from flows.local_stack.certificates import AUTHORITY, CERTIFICATE, KEY, make_certificates
from flows.local_stack.databases import SUPERUSER, access_rules
from flows.local_stack.object_index import WEED, clean_if_requested
from flows.local_stack.state import HOST, Program, as_user, free_ports, port_of, read_secrets
from flows.settings import ROOT
from vitau.errors import StackError
from vitau.store.atomic import atomic_path, remove_partials, write_atomic

BUCKET: Final = "vitau"
MLFLOW_BUCKET: Final = "mlflow"
ADMIN, FLOWS, SCORING, PAGES, MLFLOW = "admin", "vitau", "scoring", "pages", "mlflow"
"""The identities of S3, which are also their access keys."""
RESULTS: Final = (
    *("scores/", "reports/", "monitoring/", "snapshots/", "checkpoints/", "pretrained/", "models/", "validation/"),
    "subjects/*/keyframes/",  # monitoring asks the readers about people
    "subjects/*/clips/*/faces-",  # gate 3 compares several faces of near clips, before each training
)
"""Beginnings of the keys that training and scoring write."""
INTERNAL: Final = ("master", "volume", "filer", "master grpc", "volume grpc", "filer grpc", "s3 grpc")
_DEBIAN: Final = Path("/usr/lib/postgresql")


def postgresql_programs() -> Path:
    """Return the folder of PostgreSQL's programs, from the PATH or from Debian; its extension pg_trgm is needed too."""
    found = shutil.which("postgres")
    if found is not None:
        return Path(found).resolve().parent
    return max(_DEBIAN.glob("*/bin"), key=lambda path: int(path.parent.name), default=_DEBIAN)


def postgresql(state: Path, addresses: Mapping[str, str]) -> Program:
    """Return the program of PostgreSQL, on loopback only and with a password."""
    data, programs, port = state / "postgresql", postgresql_programs(), port_of(addresses["postgresql"])
    user = _server_user()

    def prepare() -> None:
        if user is not None:
            admit(state, user)
        if not data.exists():
            create()
        rules = data / "pg_hba.conf"
        write_atomic(rules, access_rules(), mode=0o600)
        if user is not None:
            os.chown(rules, user, -1)

    def create() -> None:
        remove_partials(state, data.name)
        with atomic_path(data) as partial:
            partial.mkdir(mode=0o700)
            password = state / "postgresql.password"
            password.touch(mode=0o600)
            password.write_text(read_secrets(state)["postgresql_password"])
            for path in (partial, password):
                if user is not None:
                    os.chown(path, user, -1)
            made = subprocess.run(
                [
                    *(programs / "initdb", "--pgdata", partial, "--username", SUPERUSER, "--pwfile", password),
                    *("--auth", "scram-sha-256", "--encoding", "UTF8", "--no-locale"),
                ],
                capture_output=True,
                text=True,
                check=False,
                cwd="/",
                **as_user(user),
            )
            password.unlink()
            if made.returncode:
                reason = (made.stderr.strip().splitlines() or ["no message"])[-1]
                raise StackError(
                    f"PostgreSQL cannot make its folder {data} ({reason}): choose a state folder that its user can enter"
                )

    return Program(
        name="postgresql",
        command=[
            *(str(programs / "postgres"), "-D", str(data), "-h", HOST, "-p", str(port)),
            *("-c", "unix_socket_directories=", "-c", "max_connections=200"),
        ],
        health=addresses["postgresql"],
        prepare=prepare,
        user=user,
        stop=signal.SIGINT,  # SIGTERM would wait for every client to disconnect
    )


def admit(state: Path, user: int) -> None:
    """Add PostgreSQL's group to those who may pass through a state folder, without listing it; others may not."""
    os.chown(state, -1, pwd.getpwuid(user).pw_gid)
    state.chmod(0o710)


def _server_user() -> int | None:
    """Return the user for PostgreSQL, which refuses to run as root; None for the current user."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("postgres").pw_uid
    except KeyError:
        return pwd.getpwnam("nobody").pw_uid


def seaweedfs(state: Path, addresses: Mapping[str, str]) -> Program:
    """Return the program of SeaweedFS: all its servers in one process.

    S3 asks for keys. The other servers accept only programs with the certificate of this state folder, so that nobody reads
    or deletes objects behind S3. Ports change with every start, and are noted for its shell.
    """
    folder, kept = state / "seaweedfs", read_secrets(state)
    ports = dict(zip(INTERNAL, free_ports(len(INTERNAL)), strict=True)) | {"s3": port_of(addresses["seaweedfs"])}
    services = ("master", "volume", "filer", "s3")

    def prepare() -> None:
        (folder / "data").mkdir(mode=0o700, parents=True, exist_ok=True)
        make_certificates(folder / "certificates")
        write_atomic(folder / "security.toml", security(folder / "certificates"), mode=0o600)
        write_atomic(folder / "s3.json", json.dumps({"identities": identities(kept)}), mode=0o600)
        write_atomic(folder / "ports.json", json.dumps(ports), mode=0o600)
        clean_if_requested(folder, ports)

    return Program(
        name="seaweedfs",
        command=[
            *(str(WEED), "-logdir", str(folder), f"-config_dir={folder}"),
            *("server", f"-ip={HOST}", f"-ip.bind={HOST}", f"-dir={folder / 'data'}"),
            *("-s3", f"-s3.config={folder / 's3.json'}", "-master.telemetry=false"),
            *("-s3.port.iceberg=0", "-s3.port.lance=0"),  # two more catalogs, which nobody uses
            *("-filer.localSocket=seaweedfs/filer.sock", "-s3.localSocket=seaweedfs/s3.sock"),  # short, from the state folder
            *(f"-{name}.port={ports[name]}" for name in services),
            *(f"-{name}.port.grpc={ports[f'{name} grpc']}" for name in services),
            *("-master.volumeSizeLimitMB=256", "-volume.max=500"),
            "-volume.preStopSeconds=1",  # no other server waits for the news
        ],
        environment={"WEED_MASTER_VOLUME_GROWTH_COPY_1": "1", "TMPDIR": str(folder)},
        health=f"{addresses['seaweedfs']}/healthz",
        prepare=prepare,
        restart=(folder / REQUEST).exists,
    )


def security(certificates: Path) -> str:
    """Return SeaweedFS' security.toml: its servers require the certificate of this state folder, and present it."""
    own = f'cert = "{certificates / CERTIFICATE}"\nkey = "{certificates / KEY}"\n'
    authority = f'ca = "{certificates / AUTHORITY}"\n'
    grpc = "".join(f"[grpc.{part}]\n{own}" for part in ("master", "volume", "filer", "s3", "client"))
    https = "".join(f"[https.{part}]\n{own}{authority}" for part in ("master", "volume", "filer"))
    return f"[grpc]\n{authority}{grpc}{https}[https.client]\nenabled = true\n{own}{authority}"


def identities(kept: Mapping[str, str]) -> list[dict[str, object]]:
    """Return the identities of S3, each with the actions that its programs need.

    The flows read and write their bucket. The label pages read pictures and clips. Training and scoring read everything and
    write their results, but no recordings. Only the start of the services makes buckets.
    """
    objects = ("Read", "List", "Tagging", "Write")
    scoring = [f"{action}:{BUCKET}" for action in ("Read", "List")]
    scoring += [f"Write:{BUCKET}/{prefix}*" for prefix in RESULTS]
    head = f"Read:{BUCKET[:-1]}?"  # the bucket itself, which Label Studio asks for, and no object: its path is longer
    pages = [f"List:{BUCKET}", head, *(f"Read:{BUCKET}/subjects/*/{part}/*" for part in ("keyframes", "clips"))]
    return [
        _identity(ADMIN, kept["s3_admin_secret"], ["Admin", *objects]),
        _identity(FLOWS, kept["s3_secret"], [f"{action}:{BUCKET}" for action in objects]),
        _identity(SCORING, kept["scoring_s3_secret"], scoring),
        _identity(PAGES, kept["pages_s3_secret"], pages),
        _identity(MLFLOW, kept["mlflow_s3_secret"], [f"{action}:{MLFLOW_BUCKET}" for action in objects]),
    ]


def _identity(name: str, secret: str, actions: Sequence[str]) -> dict[str, object]:
    return {"name": name, "credentials": [{"accessKey": name, "secretKey": secret}], "actions": actions}


def s3_keys(addresses: Mapping[str, str], name: str, secret: str) -> dict[str, str]:
    """Return the variables that boto3 reads."""
    return {
        "AWS_ENDPOINT_URL_S3": addresses["seaweedfs"],
        "AWS_ACCESS_KEY_ID": name,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_DEFAULT_REGION": "us-east-1",
    }


def make_buckets(addresses: Mapping[str, str], secret: str) -> None:
    """Create the missing buckets.

    Raises:
        StackError: S3 refuses.
    """
    code = "import sys; from vitau.store import make_bucket; [make_bucket(name) for name in sys.argv[1:]]"
    made = subprocess.run(
        [sys.executable, "-c", code, BUCKET, MLFLOW_BUCKET],
        env={**os.environ, **s3_keys(addresses, ADMIN, secret)},  # boto3 reads its keys from the environment
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        raise StackError(f"the buckets cannot be made: {made.stderr.strip().splitlines()[-1]}")
