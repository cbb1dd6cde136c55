"""An intruder on this machine: requests without credentials to every port on which services listen."""

import json
import ssl
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Final

import httpx
import psutil
import psycopg

from flows.local_stack.databases import ROLES, SUPERUSER

ORIGIN: Final = {"Origin": "https://evil.example"}
PREFECT: Final = (
    *(("POST", "/api/deployments/"), ("POST", "/api/flow_runs/filter"), ("GET", "/api/csrf-token?client=intruder")),
    *(("GET", "/api/admin/settings"), ("POST", "/api/work_pools/"), ("PATCH", "/api/work_pools/cpu")),
)
MLFLOW: Final = (
    *(("GET", "/"), ("GET", "/api/2.0/mlflow/experiments/search?max_results=3"), ("POST", "/graphql"), ("POST", "/v1/traces")),
    *(("POST", "/api/2.0/mlflow/registered-models/create"), ("GET", "/api/2.0/mlflow-artifacts/artifacts")),
    *(("PUT", "/api/2.0/mlflow-artifacts/artifacts/intruder"), ("GET", "/get-artifact?path=MLmodel&run_uuid=1")),
)
LABEL_STUDIO: Final = (
    *(("GET", "/api/projects/"), ("POST", "/api/projects/"), ("GET", "/api/tasks"), ("GET", "/data/local-files/?d=subjects")),
    *(("GET", "/api/storages/"), ("GET", "/api/current-user/token")),
)
SEAWEEDFS: Final = (
    *(("GET", "/"), ("GET", "/buckets/vitau/"), ("GET", "/vitau"), ("GET", "/vitau/intruder"), ("PUT", "/vitau/intruder")),
    *(("DELETE", "/vitau"), ("DELETE", "/buckets/vitau/?recursive=true"), ("POST", "/buckets/vitau/intruder")),
    *(("GET", "/dir/status"), ("GET", "/dir/assign"), ("GET", "/vol/vacuum"), ("GET", "/col/delete?collection=vitau")),
    *(("GET", "/status"), ("GET", "/ui/index.html"), ("DELETE", "/1,01637037d6"), ("POST", "/1,01637037d6")),
)
WORKER: Final = (("GET", "/"), ("POST", "/"), ("POST", "/shutdown"))
RECEIVER: Final = (("GET", "/"), ("POST", "/"), ("POST", "/webhook"))
ENDPOINTS: Final = {
    "prefect": PREFECT,
    "mlflow": MLFLOW,
    "label-studio": LABEL_STUDIO,
    "seaweedfs": SEAWEEDFS,
    "worker": WORKER,
    "receiver": RECEIVER,
}


def listening_ports(pid: int) -> set[int]:
    """Return the ports on which a process or one of its children listens."""
    found = set()
    parent = psutil.Process(pid)
    for process in (parent, *parent.children(recursive=True)):
        for connection in process.net_connections(kind="inet"):
            if connection.status == psutil.CONN_LISTEN:
                assert connection.laddr.ip == "127.0.0.1", f"{process.name()} listens on {connection.laddr.ip}"
                found.add(connection.laddr.port)
    return found


def requests_that_pass(name: str, port: int) -> Iterator[str]:
    """Yield the requests that a service answers, although they carry no credentials."""
    if name == "postgresql":
        for role, password in product(("postgres", SUPERUSER, *ROLES), ("", "vitau", "postgres")):
            try:
                psycopg.connect(host="127.0.0.1", port=port, user=role, password=password, dbname="vitau", connect_timeout=10)
                yield f"postgresql:{port} as {role} with the password {password!r}"
            except psycopg.OperationalError as error:
                if "password" not in str(error) and "no pg_hba.conf entry" not in str(error):
                    raise
        return
    anonymous = ssl.create_default_context()
    anonymous.check_hostname, anonymous.verify_mode = False, ssl.CERT_NONE
    for scheme in ("http", "https"):
        with httpx.Client(base_url=f"{scheme}://127.0.0.1:{port}", verify=anonymous, timeout=30, headers=ORIGIN) as client:
            for method, path in ENDPOINTS[name.split("-", maxsplit=1)[0] if name.startswith("worker") else name]:
                try:
                    answer = client.request(method, path, json={"name": "intruder"} if method == "POST" else None)
                except httpx.HTTPError:
                    continue  # it wants a certificate, speaks TLS or another protocol
                health = method == "GET" and not answer.content
                if answer.status_code < httpx.codes.BAD_REQUEST and not health:
                    yield f"{method} {scheme}://{name}:{port}{path} → {answer.status_code}"


def passed(services: dict[str, int]) -> tuple[dict[str, int], list[str]]:
    """Return the number of listening ports by service, and the requests that were not refused; ``services`` has their pids."""
    ports = {name: listening_ports(pid) for name, pid in services.items()}
    found = [request for name in ports for port in sorted(ports[name]) for request in requests_that_pass(name, port)]
    return {name: len(numbers) for name, numbers in ports.items()}, found


def pids(state: Path) -> dict[str, int]:
    """Return the process of every service of a state folder."""
    return {service["name"]: service["pid"] for service in json.loads((state / "services.json").read_text())}
