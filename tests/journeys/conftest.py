"""Fixtures of the journeys: the real services and commands, started once per session."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, sync_playwright

from flows.local_stack import services as definitions
from flows.local_stack import stack
from flows.local_stack.state import Profile, Program
from labeling.label_studio.annotations import ReaderProject
from labeling.label_studio.client import connect
from labeling.label_studio.projects import ensure_project
from vitau.media.synthetic.cohort import write_cohort
from vitau.schema import Stage

ROOT = Path(__file__).resolve().parents[2]
SUBJECTS = 12
SECRETS = """{
 "pseudonym_key": "the same in every state: the same people",
 "signing_key": "signs the decisions of these tests only",
 "label_studio_token": "0123456789abcdef0123456789abcdef01234567",
 "label_studio_password": "only-for-these-tests",
 "label_studio_secret": "signs the sessions of these tests only",
 "prefect_password": "opens the prefect of these tests only",
 "mlflow_password": "opens the mlflow of these tests only",
 "mlflow_reader_password": "reads the models of these tests only"
}"""
FRAMES = "store/subjects/*/clips/*/frames-*.parquet"


@dataclass(frozen=True, kw_only=True)
class Done:
    """Result of a command: exit code, stdout, stderr, and of stderr the line that names the workspace."""

    code: int
    out: str
    err: str
    workspace: str = ""

    @classmethod
    def of(cls, code: int, out: str, err: str) -> "Done":
        """Return the result with the line of the workspace apart."""
        lines = err.splitlines(keepends=True)
        named = [line for line in lines if line.startswith("Working on store ")]
        return cls(code=code, out=out, err="".join(line for line in lines if line not in named), workspace="".join(named))


@dataclass(frozen=True, kw_only=True)
class Services:
    """Running services, the state folder that they keep, and what `up` printed about them."""

    state: Path
    printed: Done
    environment: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class LabelStudioServer:
    """A running Label Studio that serves the files of the folder ``store``."""

    url: str
    token: str
    store: Path


@dataclass(frozen=True, kw_only=True)
class Demos:
    """Two demos of the same people: one undisturbed on running services, one killed three times on services of its own."""

    whole: Path
    killed: Path
    runs: list[Done]


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort journeys last, so that failures of the quick tests appear sooner."""
    items.sort(key=_is_journey)


def _is_journey(item: pytest.Item) -> bool:
    return item.get_closest_marker("journey") is not None


@pytest.fixture(scope="session")
def command() -> Callable[..., Done]:
    """Return a function that runs ``python -m MODULE ARGUMENTS…`` in the repository and waits for it."""
    return _command


@pytest.fixture(scope="session")
def logged_in() -> Iterator[None]:
    """Log this process in to the Prefect and the MLflow of every fixture, as the commands are by their state folder."""
    kept = json.loads(SECRETS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_API_AUTH_STRING", f"vitau:{kept['prefect_password']}")
        patch.setenv("MLFLOW_TRACKING_USERNAME", "vitau")
        patch.setenv("MLFLOW_TRACKING_PASSWORD", kept["mlflow_password"])
        yield


@pytest.fixture(scope="session")
def services(tmp_path_factory: pytest.TempPathFactory, logged_in: None) -> Iterator[Services]:
    """Start Label Studio, MLflow and Prefect, and stop them when the session ends."""
    state = _state(tmp_path_factory)
    try:
        printed = _command("flows", "up", "--state", state)
        assert printed.code == 0, printed.err
        yield Services(state=state, printed=printed, environment=stack.environment(state, stack.running(state)))
    finally:
        stack.stop(state)


@pytest.fixture(scope="session")
def label_studio(services: Services) -> LabelStudioServer:
    """Return the Label Studio of the session's services."""
    settings = services.environment
    return LabelStudioServer(
        url=settings["VITAU_LABEL_STUDIO_URL"],
        token=settings["VITAU_LABEL_STUDIO_TOKEN"],
        store=services.state / "store",
    )


@pytest.fixture
def client(label_studio: LabelStudioServer) -> Any:
    """Return a client of the session's Label Studio."""
    return connect(label_studio.url, label_studio.token)


@pytest.fixture
def project(client: Any, label_studio: LabelStudioServer, request: pytest.FixtureRequest) -> Callable[..., ReaderProject]:
    """Return a function that creates a project for this test alone."""

    def make(reader: str, stage: Stage = Stage.READER, *, severity: bool = False) -> ReaderProject:
        title, store = f"{request.node.name[5:35]} {reader}", label_studio.store.as_uri()
        return ensure_project(client, title, reader=reader, stage=stage, store_uri=store, severity=severity)

    return make


class OwnLabelStudio:
    """A Label Studio for one test module, which may be killed, restarted, backed up and restored."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.port = stack.choose_port("label-studio")
        self.url, self.token = f"http://127.0.0.1:{self.port}", json.loads(SECRETS)["label_studio_token"]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *, wait: bool = True) -> None:
        program = definitions.label_studio(self.state, self.url)
        self._process = _start_program(program, self.state)
        if wait:
            _wait_for_program(program, self._process, self.state)

    def kill(self) -> None:
        if self._process is not None:
            _kill(self._process)

    def backup(self, path: Path) -> None:
        with closing(sqlite3.connect(_database(self.state))) as now, closing(sqlite3.connect(path)) as kept:
            now.backup(kept)

    def restore(self, path: Path) -> None:
        """Replace the database by a backup; only while the server is stopped."""
        for leftover in _database(self.state).parent.glob(f"{_database(self.state).name}-*"):
            leftover.unlink()
        _database(self.state).write_bytes(path.read_bytes())


@pytest.fixture(scope="module")
def own_label_studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnLabelStudio]:
    """Start a Label Studio apart from the session's services."""
    server = OwnLabelStudio(_state(tmp_path_factory))
    try:
        server.start()
        yield server
    finally:
        server.kill()


@pytest.fixture(scope="module")
def own_mlflow(tmp_path_factory: pytest.TempPathFactory, logged_in: None) -> Iterator[str]:
    """Start an MLflow server for one test module; other tests count the versions in the session's server."""
    state = _state(tmp_path_factory)
    url = f"http://127.0.0.1:{stack.choose_port('mlflow')}"
    program = definitions.program("mlflow", state, Profile.EMBEDDED, {"mlflow": url})
    process = _start_program(program, state)
    try:
        _wait_for_program(program, process, state)
        yield url
    finally:
        _kill(process)


@pytest.fixture(scope="session")
def chromium() -> Callable[[], AbstractContextManager[Browser]]:
    """Return a function that opens Debian's browser.

    Beside flows, call it in a thread: Playwright starts an event loop, which Prefect would use.
    """
    if shutil.which("chromium") is None:
        pytest.fail("there is no chromium to open pages with: install Debian's package chromium")
    return _chromium


@contextmanager
def _chromium() -> Iterator[Browser]:
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=arguments)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Draw short clips of three people, with ``manifest.csv`` and ``truth.csv``."""
    out = tmp_path_factory.mktemp("people")
    write_cohort(out, 3, seed=11, frames_per_task=1, num_processes=1)
    return out


@pytest.fixture
def apart(services: Services, tmp_path: Path) -> dict[str, str]:
    """Return the environment of the session's services, with a store and a catalog for this test alone."""
    return services.environment | {
        "VITAU_STORE": (tmp_path / "store").as_uri(),
        "VITAU_CATALOG": f"sqlite:///{tmp_path / 'catalog.db'}",
        "VITAU_WORK": str(tmp_path / "work"),
        "VITAU_NUM_PROCESSES": "1",
    }


@pytest.fixture(scope="session")
def demos(services: Services, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demos]:
    """Run both demos side by side: two cores are enough for them."""
    killed = _state(tmp_path_factory)
    logs = tmp_path_factory.mktemp("logs")
    whole = _start(services.state, logs / "whole")
    try:
        for number, reached in enumerate([_some_clips_are_in, _some_people_are_labeled, _a_model_is_being_registered]):
            _kill_when(reached, killed, logs / str(number))
        last = _start(killed, logs / "last")
        runs = [_end(whole, logs / "whole"), _end(last, logs / "last")]
        yield Demos(whole=services.state, killed=killed, runs=runs)
    finally:
        _kill(whole)
        stack.stop(killed)


def _some_clips_are_in(state: Path) -> bool:
    return 3 <= len(list(state.glob(FRAMES))) < SUBJECTS


def _some_people_are_labeled(state: Path) -> bool:
    with closing(sqlite3.connect(f"file:{_database(state)}?mode=ro", uri=True)) as database:
        return database.execute("SELECT count(*) FROM task_completion").fetchone()[0] >= 3


def _a_model_is_being_registered(state: Path) -> bool:
    return any(state.glob("work/bundles/*/model"))


def _kill_when(reached: Callable[[Path], bool], state: Path, log: Path) -> None:
    """Run the demo until a condition holds, then send SIGKILL to it and all its child processes."""
    process = _start(state, log)
    try:
        deadline = time.monotonic() + 600
        while not reached(state):
            assert process.poll() is None, f"it ended before {reached.__name__}: {log.with_suffix('.err').read_text()}"
            assert time.monotonic() < deadline, f"not {reached.__name__} after 600 s"
            time.sleep(0.05)
    finally:
        _kill(process)


def _start(state: Path, log: Path) -> subprocess.Popen[bytes]:
    arguments = ["demo", "--state", str(state), "--subjects", str(SUBJECTS), "--size", "smoke"]
    with log.with_suffix(".out").open("wb") as out, log.with_suffix(".err").open("wb") as err:
        return subprocess.Popen(
            [sys.executable, "-m", "flows", *arguments],
            cwd=ROOT,
            env=_quiet(os.environ),
            stdout=out,
            stderr=err,
            start_new_session=True,  # a group of its own, to be killed together
        )


def _end(process: subprocess.Popen[bytes], log: Path) -> Done:
    code = process.wait(timeout=900)
    return Done.of(code, log.with_suffix(".out").read_text(), log.with_suffix(".err").read_text())


def _kill(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _command(
    module: str,
    *arguments: object,
    env: dict[str, str] | None = None,
    before: Callable[[], None] | None = None,
    timeout_s: float = 600,
) -> Done:
    done = subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        cwd=ROOT,
        env=_quiet(os.environ) | (env or {}),
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout_s,
        preexec_fn=before,
    )
    return Done.of(done.returncode, done.stdout, done.stderr)


def _quiet(environment: "os._Environ[str]") -> dict[str, str]:
    """Return the environment without an operator's settings, and with one thread per process, since several run at once."""
    kept = {name: value for name, value in environment.items() if not name.startswith(("VITAU_", "PREFECT_", "MLFLOW_"))}
    return kept | {"OMP_NUM_THREADS": "1"}


def _start_program(program: Program, state: Path) -> subprocess.Popen[bytes]:
    """Start a service without a supervisor."""
    if program.prepare is not None:
        program.prepare()
    with (state / f"{program.name}.log").open("ab") as log:
        return subprocess.Popen(
            program.command, env=_quiet(os.environ) | program.environment, stdout=log, stderr=log, start_new_session=True
        )


def _wait_for_program(program: Program, process: subprocess.Popen[bytes], state: Path) -> None:
    deadline = time.monotonic() + 300
    while True:
        try:
            if httpx.get(program.health, timeout=5, verify=stack.certificates()).status_code == 200:
                return
        except httpx.HTTPError:
            assert process.poll() is None, (state / f"{program.name}.log").read_text()[-2000:]
        assert time.monotonic() < deadline, f"{program.name} did not start"
        time.sleep(0.2)


def _state(factory: pytest.TempPathFactory) -> Path:
    state = factory.mktemp("state")
    (state / "secrets.json").write_text(SECRETS)
    return state


def _database(state: Path) -> Path:
    return state / "label-studio" / "label_studio.sqlite3"
