"""A user with nothing but the wheel and an address: pull, go offline, check, score, serve."""

import base64
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import sysconfig
import time
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import httpx
import pytest
import torch

from tests.scoring.conftest import REGIONS, VIT
from vitau.media.synthetic.drawing import draw_frame
from vitau.media.synthetic.people import draw_person
from vitau.models.checkpoint import save_model
from vitau.models.regions import build_regions
from vitau.models.vit import build_vit
from vitau.registry import registry
from vitau.schema import SCORE_COLUMNS
from vitau.scoring.predict import Predictor

pytestmark = [pytest.mark.journey, pytest.mark.timeout(1800)]

ROOT = Path(__file__).resolve().parents[2]
NAME = "vitau-regions"
NO_NETWORK = ("unshare", "--net", "--map-root-user")


@dataclass(frozen=True, kw_only=True)
class Stranger:
    """An environment with the wheel, and a working folder."""

    programs: Path
    home: Path

    def run(self, *command: object, offline: bool = False) -> subprocess.CompletedProcess[str]:
        cut_off = NO_NETWORK if offline else ()
        return subprocess.run(
            [*cut_off, *map(str, command)],
            cwd=self.home,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )

    @property
    def environment(self) -> dict[str, str]:
        """Return an environment without this process's variables, in which MLflow may run no code of a model."""
        return {
            "PATH": "/usr/bin:/bin",
            "HOME": str(self.home),
            "OMP_NUM_THREADS": "1",
            "MLFLOW_ALLOW_MODEL_CODE_EXECUTION": "false",
            "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        }


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel as `make wheel` does, from a copy, so that no build is left in the repository."""
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "vitau", source / "vitau", ignore=shutil.ignore_patterns("__pycache__"))
    build = ("wheel", "--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--wheel-dir", "dist", ".")
    subprocess.run([sys.executable, "-m", "pip", *build], cwd=source, check=True)
    (built,) = (source / "dist").glob("vitau-*.whl")
    return built


@pytest.fixture(scope="module")
def stranger(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Stranger:
    """Create an environment with the wheel and its dependencies.

    The dependencies (torch and the like: gigabytes) are those of this environment, on the path behind the wheel. Its
    editable install of the repository is not used, since Python reads a `.pth` in the first folder only. So this proves
    that the wheel holds all of ViTAU's own files, and that the repository is not needed. It does not prove that
    `dependencies` in pyproject.toml is complete. With VITAU_REALLY_CLEAN=1 pip installs the wheel and its declared
    dependencies only, which takes minutes.
    """
    place = tmp_path_factory.mktemp("stranger")
    really = bool(os.environ.get("VITAU_REALLY_CLEAN"))
    venv.create(place / "venv", with_pip=really)
    programs = place / "venv" / "bin"
    if really:
        pins = place / "pins.txt"  # without digests: pip would want one for the wheel too
        pins.write_text("\n".join(re.findall(r"^\S+==[^\s;\\]+", (ROOT / "constraints.txt").read_text(), re.MULTILINE)))
        install = [programs / "python", "-m", "pip", "install", "-c", pins]
    else:
        install = [sys.executable, "-m", "pip", "--python", programs / "python", "install", "--no-index", "--no-deps"]
        (packages,) = (place / "venv" / "lib").glob("python*/site-packages")
        (packages / "the-rest.pth").write_text(sysconfig.get_path("purelib") + "\n")
    subprocess.run([*install, "--quiet", "--disable-pip-version-check", wheel], check=True, cwd=place)
    (place / "home").mkdir()
    image = draw_frame(draw_person(5, 1), "rest", 0.0).image
    cv2.imwrite(str(place / "home" / "photo.png"), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    return Stranger(programs=programs, home=place / "home")


@pytest.fixture(scope="module")
def registry_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start a real MLflow server on loopback with a champion and yield its address."""
    place = tmp_path_factory.mktemp("registry")
    torch.manual_seed(0)
    card = {"synthetic": True, "recipe": "tiny", "protocol": "subjects", "snapshot": "5" * 64}
    save_model(place / "bundle" / "model", build_regions(REGIONS), REGIONS, threshold=None, **card)
    save_model(place / "bundle" / "recognition", build_vit(VIT), VIT, threshold=0.001, **card)
    port = free_port()
    store = ("--backend-store-uri", f"sqlite:///{place / 'mlflow.db'}", "--artifacts-destination", str(place / "artifacts"))
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1", *store]
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with running(command, f"http://127.0.0.1:{port}/health", place / "mlflow.log", {**os.environ, **quiet}):
        url, numbers = f"http://127.0.0.1:{port}", {"test": {"protocol": "subjects", "auroc": 0.75, "n_subjects": 4}}
        lineage, sheet = {"synthetic": "true", "protocol": "subjects"}, "# Evidence\n"
        version, _ = registry.register(url, NAME, place / "bundle", metrics=numbers, lineage=lineage, reporting_sheet=sheet)
        registry.set_champion(url, NAME, version)
        yield url


@pytest.fixture(scope="module")
def pulled(stranger: Stranger, registry_url: str) -> subprocess.CompletedProcess[str]:
    """Return the result of `vitau pull`."""
    return stranger.run(
        stranger.programs / "vitau", "pull", f"models:/{NAME}@champion", "model", "--tracking-uri", registry_url
    )


@contextmanager
def running(command: list[str], health: str, log: Path, environment: dict[str, str]) -> Iterator[None]:
    with log.open("wb") as sink:
        process = subprocess.Popen(command, cwd=log.parent, env=environment, stdout=sink, stderr=sink, start_new_session=True)
    try:
        deadline = time.monotonic() + 180
        while not healthy(health):
            assert process.poll() is None, log.read_text()[-3000:]
            assert time.monotonic() < deadline, log.read_text()[-3000:]
            time.sleep(0.2)
        yield
    finally:
        os.killpg(process.pid, 15)
        process.wait(30)


def healthy(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def cut_off() -> None:
    """Skip the test where this process may not create a network namespace, which has no network, not even loopback."""
    if subprocess.run([*NO_NETWORK, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this system does not allow network namespaces")


def test_the_wheel_pulls_weights_and_texts_and_no_code(stranger, pulled):
    assert (pulled.returncode, pulled.stdout) == (0, "model\n"), pulled.stderr
    assert (
        pulled.stderr
        == f"{NAME} version 1: 9 of 11 files fetched; its signature was not checked (--key). Read its README.md first.\n"
    )
    names = {path.relative_to(stranger.home / "model").as_posix() for path in (stranger.home / "model").rglob("*")}
    assert {"EVIDENCE.md", "README.md", "LANDMARKS.md", "SHA256SUMS", "thresholds.json", "metrics.json"} <= names
    assert {Path(name).suffix for name in names} == {"", ".md", ".json", ".safetensors"}


def test_offline_the_wheel_scores_a_photo_as_the_repository_does(stranger, pulled, cut_off):
    checked = stranger.run(stranger.programs / "vitau", "check", "model", offline=True)
    assert checked.stdout == "10 files are as registered\n", checked.stderr
    done = stranger.run(stranger.programs / "vitau", "score", "model", "photo.png", "--out", "out", "--json", offline=True)
    assert done.returncode == 0, done.stderr
    (person,) = json.loads(done.stdout)["people"]
    home = stranger.home
    (face,) = Predictor(home / "model", device="cpu").score(home / "photo.png")
    assert person["palsy_score"] == pytest.approx(face.palsy_score, abs=1e-4), "it is printed with four digits"
    assert (home / "out" / "report.html").stat().st_size > 10_000


def test_three_lines_of_python_score_offline_with_the_wheels_own_code(stranger, pulled, cut_off):
    lines = """
import vitau, sys, json
assert "torch" not in sys.modules
from vitau import Predictor
predictor = Predictor("model")
(face,) = predictor.score("photo.png")
import socket
try:
    socket.create_connection(("127.0.0.1", 9), 1)
    network = "there"
except OSError as error:
    network = error.strerror
print(json.dumps([vitau.__file__, face.palsied, len(face.regions), predictor.heatmaps_of(face)["AU12"].shape, network,
                  "mlflow" in sys.modules, [path for path in sys.path if "site-packages" not in path and "lib" not in path]]))
"""
    done = stranger.run(stranger.programs / "python", "-c", lines, offline=True)
    assert done.returncode == 0, done.stderr
    where, palsied, regions, shape, network, mlflow, others = json.loads(done.stdout)
    assert Path(where).is_relative_to(stranger.programs.parent)
    assert (palsied, regions, shape, mlflow) == (True, 8, [32, 32], False)
    assert network == "Network is unreachable"
    assert others == [""], "the repository is on the path"


def test_a_changed_byte_is_one_sentence(stranger, pulled):
    shutil.copytree(stranger.home / "model", stranger.home / "changed")
    weights = stranger.home / "changed" / "model" / "weights.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    done = stranger.run(stranger.programs / "vitau", "score", "changed", "photo.png", "--out", "never")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: model/weights.safetensors in changed was changed (its sha256 is ")
    assert done.stderr.count("\n") == 1


def test_pyfunc_loads_in_that_environment(stranger, registry_url):
    lines = f"""
import json, logging, mlflow, pandas as pd
mlflow.set_tracking_uri({registry_url!r})
model = mlflow.pyfunc.load_model("models:/{NAME}@champion")
print(json.dumps(model.predict(pd.DataFrame({{"path": ["photo.png"]}}))["palsied"].tolist()))
"""
    done = stranger.run(stranger.programs / "python", "-c", lines)
    assert done.stdout.splitlines()[-1:] == ["[true]"], done.stderr


def test_the_model_answers_behind_mlflow_models_serve(stranger, registry_url, tmp_path):
    port = free_port()
    address = ("--host", "127.0.0.1", "--port", str(port), "--env-manager", "local", "--workers", "1")
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--model-uri", f"models:/{NAME}@champion", *address]
    environment = {
        **stranger.environment,
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",  # it starts uvicorn by name
        "MLFLOW_TRACKING_URI": registry_url,
        "TMPDIR": str(tmp_path),
    }
    data = base64.b64encode((stranger.home / "photo.png").read_bytes()).decode()
    with running(command, f"http://127.0.0.1:{port}/ping", tmp_path / "serve.log", environment):
        given = {"dataframe_split": {"columns": ["image"], "data": [[data]]}, "params": {"analyse_all": True}}
        answer = httpx.post(f"http://127.0.0.1:{port}/invocations", json=given, timeout=120)
        assert answer.status_code == 200, answer.text
        (row,) = answer.json()["predictions"]
        assert list(row) == list(SCORE_COLUMNS)
        assert (row["palsied"], len(row["box"]), row["right_side"]) == (True, 4, None)
        assert -1 <= row["AU12"] <= 1
        nothing = httpx.post(f"http://127.0.0.1:{port}/invocations", json={"nothing": []}, timeout=60)
        assert nothing.status_code == 400
