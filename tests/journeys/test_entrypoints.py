"""The entrypoints of `compose.yaml` as the user of the containers, behind a real Caddy with HTTPS.

There is no container engine here. Namespaces of Linux stand in: the services have the names, ports, environments, secrets, user
and (no) capabilities of the compose file. What differs: they share one network and the host's file system, volumes are folders
elsewhere, programs come from the virtual environments, and Label Studio, MLflow and Prefect keep their rows in SQLite.
"""

import ctypes
import fcntl
import os
import re
import shutil
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from flows.local_stack import stack
from flows.local_stack.services import EMPTY_DATABASE, EMPTY_PREFECT
from flows.settings import ROOT

pytestmark = [pytest.mark.journey, pytest.mark.timeout(300)]

INFRA = ROOT / "infra"
COMPOSE = yaml.safe_load((INFRA / "compose.yaml").read_text())
DOMAIN = "vitau.localhost"  # Caddy makes the certificates of such a name itself
USER = 10001
STARTED = ("proxy", "seaweedfs", "label-studio", "mlflow", "prefect")
CAUGHT = re.compile(r"\$\{VITAU_DOMAIN[^}]*\}")
ORIGIN = {name: f"https://{name}.{DOMAIN}" for name in ("label-studio", "mlflow", "prefect", "s3")}
EVIL = "https://evil.example"


def cannot_start() -> str | None:
    """Return why this machine cannot run the entrypoints as another user in namespaces of their own; None if it can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "needs root on Linux, to become the user of the containers"
    missing = [name for name in ("caddy", "unshare", "nsenter", "setpriv") if shutil.which(name) is None]
    if missing:
        return f"needs {', '.join(missing)} (Debian's packages caddy and util-linux)"
    if subprocess.run(["unshare", "--net", "--mount", "true"], capture_output=True, check=False).returncode:
        return "needs namespaces, which this machine forbids"
    return None


class Machine:
    """A network and a view of the file system in which the user of the containers reaches our programs."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.processes = folder, dict[str, subprocess.Popen[bytes]]()
        self.secrets = folder / "secrets"
        self.volumes = {"/etc/hosts": self._hosts()}
        for name in STARTED:
            for volume in COMPOSE["services"][name].get("volumes", ()):
                source, target = volume.split(":")[:2]
                self.volumes[target] = INFRA / source if source.startswith("./") else self._volume(source)
        self.volumes["/var/lib/vitau"] = self._volume("app")
        self._keeper = subprocess.Popen(
            ["unshare", "--net", "--mount", "sh", "-euc", f"{open_interpreters()}\necho ready\nexec cat"],
            stdin=subprocess.PIPE,  # it ends with these tests
            stdout=subprocess.PIPE,
        )
        assert self._keeper.stdout is not None
        assert self._keeper.stdout.readline() == b"ready\n"
        with self.inside():
            switch_loopback_on()
        sysctls = COMPOSE["services"]["proxy"]["sysctls"]
        for name, value in sysctls.items():
            self._enter(["sh", "-euc", f"echo {value} >/proc/sys/{name.replace('.', '/')}"]).wait()

    def _hosts(self) -> Path:
        path = self.folder / "hosts"
        names = " ".join([*COMPOSE["services"], *(f"{name}.{DOMAIN}" for name in ORIGIN)])
        path.write_text(f"127.0.0.1 localhost {names}\n")
        path.chmod(0o644)
        return path

    def _volume(self, name: str) -> Path:
        path = self.folder / "volumes" / name
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.parent.chmod(0o711)
        os.chown(path, USER, USER)
        return path

    def place(self, text: str) -> str:
        """Return a value of the compose file with the domain, and the folders that stand in for the volumes."""
        text = CAUGHT.sub(DOMAIN, text)
        for target, source in self.volumes.items():
            if target != "/etc/caddy/Caddyfile" and re.match(rf"(\S*=)?{target}(/|$)", text):
                return text.replace(target, str(source), 1)
        return text

    def _enter(self, command: list[str], **options: Any) -> subprocess.Popen[bytes]:
        return subprocess.Popen(["nsenter", f"--target={self._keeper.pid}", "--net", "--mount", *command], **options)

    def start(self, name: str, **changed: str) -> None:
        """Start a service of the compose file; ``changed`` are variables with other values than there."""
        service = COMPOSE["services"][name]
        user, _, group = service["user"].partition(":")
        command = [
            *service.get("entrypoint", ["with-secrets"] if "vitau-" in service["image"] else ["weed"]),
            *service.get("command", ()),
        ]
        with (self.folder / f"{name}.log").open("wb") as log:
            self.processes[name] = self._enter(
                [
                    *("unshare", "--mount", "sh", "-euc", f'{self._mounts(service)}\nexec "$@"', name),
                    *("setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups", "--no-new-privs"),
                    *("--inh-caps=-all", "--bounding-set=-all", "env", "-i"),
                    *(f"{key}={value}" for key, value in {**self.environment(name), **changed}.items()),
                    *(self.place(word) for word in command),
                ],
                stdout=log,
                stderr=log,
                cwd="/",
            )

    def environment(self, name: str) -> dict[str, str]:
        """Return the variables of a service: those of its image and of the compose file."""
        service, bin_folder = COMPOSE["services"][name], Path(sys.executable).parent
        if name == "label-studio":
            bin_folder = ROOT / ".venv-label-studio" / "bin"
        given = {"PATH": f"{bin_folder}:{INFRA}:/usr/local/bin:/usr/bin:/bin"}
        if "vitau-" in service["image"]:
            text = (INFRA / "app.Dockerfile").read_text().replace("\\\n", " ")
            given |= dict(pair.split("=", 1) for line in re.findall(r"^ENV (.+)$", text, re.MULTILINE) for pair in line.split())
            given["PYTHONPATH"] = str(ROOT)
        given |= service.get("environment") or {}
        return {key: self.place(value) for key, value in given.items()}

    def _mounts(self, service: dict[str, Any]) -> str:
        """Return the commands that mount the secrets of a service, each with the owner and the mode of its file."""
        lines = [
            "mount -t tmpfs -o mode=755 tmpfs /run",
            "mkdir /run/secrets",
            f"mount --bind {self.volumes['/etc/hosts']} /etc/hosts",
        ]
        if "/etc/caddy/Caddyfile" in {volume.split(":")[1] for volume in service.get("volumes", ())}:
            lines.append(f"mount --bind {INFRA / 'Caddyfile'} /etc/caddy/Caddyfile")
        for secret in service.get("secrets", ()):
            source, target = (secret, secret) if isinstance(secret, str) else (secret["source"], secret["target"])
            file = self.secrets / COMPOSE["secrets"][source]["file"].removeprefix("./secrets/")
            lines += [f"touch /run/secrets/{target}", f"mount --bind {file} /run/secrets/{target}"]
        return "\n".join(lines)

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Open the sockets of this thread in the network of the services."""
        libc = ctypes.CDLL(None, use_errno=True)
        with Path("/proc/thread-self/ns/net").open() as own, Path(f"/proc/{self._keeper.pid}/ns/net").open() as theirs:
            assert libc.setns(theirs.fileno(), 0) == 0, os.strerror(ctypes.get_errno())
            try:
                yield
            finally:
                libc.setns(own.fileno(), 0)

    def client(self, name: str, **options: Any) -> httpx.Client:
        """Return a client of a public name of the proxy; use it inside."""
        authority = self.volumes["/data"] / "caddy" / "pki" / "authorities" / "local" / "root.crt"
        return httpx.Client(
            base_url=ORIGIN[name], verify=ssl.create_default_context(cafile=str(authority)), timeout=60, **options
        )

    def secret(self, name: str) -> str:
        return (self.secrets / name).read_text()

    def processes_of(self, name: str) -> list[Path]:
        """Return the folders in /proc of the processes of a service."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            parent = folder
            while parent.name not in {"0", "1"}:
                if int(parent.name) == self.processes[name].pid:
                    found.append(folder)
                    break
                try:
                    parent = Path("/proc") / re.findall(r"^PPid:\s+(\d+)$", (parent / "status").read_text(), re.MULTILINE)[0]
                except (FileNotFoundError, ProcessLookupError):
                    break
        return found

    def stop(self) -> None:
        for name, process in self.processes.items():
            inner = self.processes_of(name)
            process.terminate()
            for folder in inner:
                with_suppressed_kill(int(folder.name))
            process.wait(timeout=20)
        self._keeper.communicate(timeout=10)


def with_suppressed_kill(pid: int) -> None:
    try:
        os.kill(pid, 9)
    except ProcessLookupError:
        return


def open_interpreters() -> str:
    """Return the commands that show the programs below folders which only root may enter, such as its home."""
    wanted = {Path(sys.base_prefix), ROOT, Path(sys.prefix).resolve(), (ROOT / ".venv-label-studio").resolve()}
    closed: dict[Path, list[Path]] = {}
    for path in sorted(wanted):
        barred = [parent for parent in reversed(path.parents) if not parent.stat().st_mode & 0o001]
        if barred:
            closed.setdefault(barred[0], []).append(path)
    lines, number = ["stage=$(mktemp -d)"], 0
    for folder, paths in closed.items():
        kept = []
        for path in paths:
            number += 1
            lines += [f"mkdir $stage/{number}", f"mount --bind {path} $stage/{number}"]
            kept.append(f"mkdir -p {path}; mount --bind $stage/{number} {path}")
        lines += [f"mount -t tmpfs -o mode=755 tmpfs {folder}", *kept]
    return "\n".join(lines)


def switch_loopback_on() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, 0x8914, struct.pack("16sh14x", b"lo", 0x1 | 0x40))  # SIOCSIFFLAGS, IFF_UP | IFF_RUNNING


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    """Start the services of the compose file that this module asks."""
    reason = cannot_start()
    if reason is not None:
        pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix="vitau-containers-"))
    folder.chmod(0o711)
    subprocess.run([sys.executable, INFRA / "make_secrets.py", folder / "secrets"], check=True, capture_output=True)
    machine = Machine(folder)
    try:
        with pytest.MonkeyPatch.context() as patch:
            resolve = socket.getaddrinfo
            patch.setattr(
                socket,
                "getaddrinfo",
                lambda host, *rest, **more: resolve("127.0.0.1" if DOMAIN in str(host) else host, *rest, **more),
            )
            start_all(machine)
            yield machine
        shutil.rmtree(folder)
    finally:
        machine.stop()


def start_all(machine: Machine) -> None:
    app = machine.volumes["/var/lib/vitau"]
    rows = {
        "MLFLOW_BACKEND_STORE_URI": f"sqlite:///{app}/mlflow.db",
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{app}/prefect.db",
        "mlflow_access.ini": re.sub(r"postgresql\S+", f"sqlite:///{app}/users.db", machine.secret("mlflow_access.ini")),
    }
    for name, content in rows.items():
        (machine.secrets / name).write_text(content)
    for empty, folder in ((EMPTY_DATABASE, machine.volumes["/label-studio/data"]), (EMPTY_PREFECT, app)):
        if empty.exists():
            own = shutil.copyfile(empty, folder / empty.name)
            os.chown(own, USER, USER)
    machine.start("label-studio", DJANGO_DB="sqlite")
    machine.start("prefect")
    machine.start("mlflow")
    machine.start("seaweedfs")
    machine.start("proxy")
    health = {
        "label-studio": "http://127.0.0.1:8080/health",
        "mlflow": "http://127.0.0.1:5000/health",
        "prefect": "http://127.0.0.1:4200/api/health",
        "seaweedfs": "http://127.0.0.1:8333/healthz",
        "proxy": "http://127.0.0.1:2019/config/",
    }
    deadline = time.monotonic() + 200
    with machine.inside():
        for name, url in health.items():
            while not answers(url):
                log = (machine.folder / f"{name}.log").read_text(errors="replace")
                assert machine.processes[name].poll() is None, log[-3000:]
                assert time.monotonic() < deadline, log[-3000:]
                time.sleep(0.3)


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5, verify=stack.certificates()).is_success
    except httpx.HTTPError:
        return False


@pytest.fixture
def inside(machine: Machine) -> Iterator[Machine]:
    """The machine, with the sockets of the test in its network."""
    with machine.inside():
        yield machine


def test_every_program_runs_as_the_user_of_the_containers_without_capabilities_and_has_its_secrets(machine):
    for name in STARTED:
        found = machine.processes_of(name)
        assert found, name
        for folder in found:
            status = (folder / "status").read_text()
            assert re.search(rf"^Uid:\t{USER}\t{USER}\t{USER}\t{USER}$", status, re.MULTILINE), status
            assert re.search(r"^CapEff:\t0+$", status, re.MULTILINE)
            assert re.search(r"^CapBnd:\t0+$", status, re.MULTILINE)
            assert re.search(r"^NoNewPrivs:\t1$", status, re.MULTILINE)


@pytest.mark.parametrize("name", ["label-studio", "mlflow", "prefect"])
def test_every_secret_of_a_service_is_exported(machine, name):
    environ = (machine.processes_of(name)[0] / "environ").read_bytes().decode().split("\0")
    service = COMPOSE["services"][name]
    targets = {secret if isinstance(secret, str) else secret["target"] for secret in service["secrets"]}
    exported = {line.partition("=")[0] for line in environ}
    assert {target for target in targets if re.fullmatch("[A-Z0-9_]+", target)} <= exported


def test_the_proxy_keeps_hashes_of_the_passwords_only(machine):
    environ = (machine.processes_of("proxy")[0] / "environ").read_text()
    for name in ("PREFECT_API_AUTH_STRING", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_READER_PASSWORD"):
        assert machine.secret(name).rpartition(":")[2] not in environ
    assert "MLFLOW_READER_HASH=$2a$" in environ


def log_in(client: httpx.Client, password: str, origin: str) -> httpx.Response:
    page = client.get("/user/login/")
    (token,) = set(re.findall(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text))
    form = {"csrfmiddlewaretoken": token, "email": "annotator@vitau.local", "password": password}
    return client.post("/user/login/", data=form, headers={"Origin": origin, "Referer": f"{origin}/user/login/"})


def test_a_reader_logs_in_to_label_studio_over_https(inside):
    with inside.client("label-studio") as client:
        answer = log_in(client, inside.secret("LABEL_STUDIO_PASSWORD"), ORIGIN["label-studio"])
        assert answer.status_code == 302, answer.text[:500]
        assert client.get("/api/projects/").status_code == 200
        assert all(cookie.secure for cookie in client.cookies.jar), list(client.cookies.jar)


def test_label_studio_refuses_the_form_of_another_page(inside):
    with inside.client("label-studio") as client:
        assert log_in(client, inside.secret("LABEL_STUDIO_PASSWORD"), EVIL).status_code == 403
        assert "access-control-allow-origin" not in client.get("/health", headers={"Origin": EVIL}).headers


def mlflow_post(client: httpx.Client, origin: str) -> httpx.Response:
    return client.post(
        "/ajax-api/2.0/mlflow/registered-models/create", json={"name": "from the page"}, headers={"Origin": origin}
    )


def test_the_page_of_mlflow_can_post_and_another_page_cannot(inside):
    log_in = ("vitau", inside.secret("MLFLOW_TRACKING_PASSWORD"))
    with inside.client("mlflow", auth=log_in) as client:
        assert "<html" in client.get("/").text
        assert mlflow_post(client, EVIL).status_code == 403
        assert mlflow_post(client, ORIGIN["mlflow"]).status_code == 200


def test_the_reader_of_models_reads_mlflow_and_writes_nothing(inside):
    service = COMPOSE["services"]["accounts"]
    inside.start("accounts")
    assert inside.processes["accounts"].wait(timeout=60) == 0, (inside.folder / "accounts.log").read_text()[-2000:]
    assert service["restart"] == "no"
    with inside.client("mlflow", auth=("reader", inside.secret("MLFLOW_READER_PASSWORD"))) as client:
        assert client.get("/api/2.0/mlflow/registered-models/search").status_code == 200
        assert mlflow_post(client, ORIGIN["mlflow"]).status_code == 403


def test_prefect_serves_its_page_and_accepts_requests_of_its_own_page_only(inside):
    name, _, password = inside.secret("PREFECT_API_AUTH_STRING").partition(":")
    with inside.client("prefect", auth=(name, password)) as client:
        assert client.get("/ui-settings").json()["api_url"] == f"{ORIGIN['prefect']}/api"
        assert "<html" in client.get("/", headers={"Accept": "text/html"}, follow_redirects=True).text
        assert client.post("/api/flows/filter", json={}).status_code == 403, "without a token against forged requests"
        token = client.get("/api/csrf-token", params={"client": "a test"}).json()["token"]
        headers = {"Prefect-Csrf-Client": "a test", "Prefect-Csrf-Token": token}
        assert client.post("/api/flows/filter", json={}, headers=headers).status_code == 200
        for origin, allowed in ((ORIGIN["prefect"], ORIGIN["prefect"]), (EVIL, None)):
            asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
            assert client.get("/api/health", headers=asked).headers.get("access-control-allow-origin") == allowed


@pytest.mark.parametrize(
    ("name", "path", "status"),
    [
        ("mlflow", "/", 401),
        ("mlflow", "/api/2.0/mlflow/registered-models/search", 401),
        ("mlflow", "/health", 401),
        ("prefect", "/", 401),
        ("prefect", "/api/health", 401),
        ("prefect", "/api/admin/version", 401),
        ("prefect", "/api/events/out", 401),  # a web socket, which the proxy lets pass
        ("label-studio", "/api/projects/", 401),
        ("s3", "/vitau/?list-type=2", 403),
    ],
)
def test_requests_without_a_log_in_are_refused(inside, name, path, status):
    with inside.client(name) as client:
        assert client.get(path).status_code == status


@pytest.mark.parametrize("name", ["mlflow", "prefect"])
def test_a_service_refuses_requests_that_bypass_the_proxy_without_a_log_in(inside, name):
    address = {
        "mlflow": "http://mlflow:5000/api/2.0/mlflow/registered-models/search",
        "prefect": "http://prefect:4200/api/admin/version",
    }[name]
    host = address.split("/")[2]
    assert httpx.get(address.replace(host.split(":")[0], "127.0.0.1"), headers={"Host": host}).status_code == 401


def test_only_s3_of_seaweedfs_listens_to_other_containers(inside):
    def connects(port: int) -> bool:
        with socket.socket() as tried:
            tried.settimeout(5)
            return tried.connect_ex(("127.0.0.2", port)) == 0  # another address of this machine, as of another container

    assert connects(8333)
    assert [port for port in (9333, 19333, 8081, 18081, 8888, 18888) if connects(port)] == []
