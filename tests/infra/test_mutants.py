"""Tests of the mutation check, with a short run of it on one module."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
CONFIGURATION = """
[tool.mutmut]
source_paths = ["vitau"]
only_mutate = ["vitau/evaluation/metrics.py"]
pytest_add_cli_args = ["-p", "no:randomly", "-p", "no:cacheprovider", "-q"]
pytest_add_cli_args_test_selection = ["tests/evaluation/test_metrics.py"]
"""


@pytest.fixture(scope="module")
def mutants() -> ModuleType:
    """Load the program, which is no part of a package."""
    spec = importlib.util.spec_from_file_location("mutants", ROOT / "infra" / "mutants.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["mutants"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_at_least_90_percent_of_the_mutants_of_the_metrics_are_killed(tmp_path: Path) -> None:
    for name in ("vitau/__init__.py", "vitau/schema.py", "vitau/errors.py", "tests/evaluation/test_metrics.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copytree(
        ROOT / "vitau" / "evaluation", tmp_path / "vitau" / "evaluation", ignore=shutil.ignore_patterns("__pycache__")
    )
    (tmp_path / "pyproject.toml").write_text(CONFIGURATION)
    command = [sys.executable, ROOT / "infra" / "mutants.py", "--root", tmp_path, "--workers", "2"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "COV"))}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "vitau/evaluation/metrics.py" in done.stdout


def test_mutants_are_sorted_by_their_exit_codes_and_only_survivors_are_accepted(mutants: ModuleType) -> None:
    codes = {"a.x__1": 1, "a.x__2": 0, "a.x__3": 33, "a.x__4": None, "a.x__5": 36, "a.x__6": 0, "a.x__7": -11}
    result = mutants.sort_mutants("a.py", codes, {"a.x__[16]": "a reason"})
    assert (result.killed, result.survived) == (("a.x__1", "a.x__5"), ("a.x__2", "a.x__7"))
    assert (result.without_test, result.accepted) == (("a.x__3",), ("a.x__6",))
    assert (result.number, result.share) == (6, 0.4)


def test_fewer_than_90_percent_fail_and_the_survivors_are_listed(tmp_path: Path) -> None:
    def check(killed: int, survived: int) -> subprocess.CompletedProcess[str]:
        codes = {f"m.x__{number}": int(number < killed) for number in range(killed + survived)}
        (tmp_path / "mutants" / "m.py.meta").write_text(json.dumps({"exit_code_by_key": codes}))
        command = [sys.executable, ROOT / "infra" / "mutants.py", "--report", "--root", tmp_path]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    (tmp_path / "mutants").mkdir()
    assert check(9, 1).returncode == 0
    failed = check(8, 2)
    assert failed.returncode == 1
    assert "  survived: m.x__8\n  survived: m.x__9\n" in failed.stdout
    assert failed.stderr == "80.0% of the mutants are killed, and 90% are required: add tests for the survivors\n"
    assert check(0, 0).returncode == 1


def test_every_accepted_mutant_has_a_reason() -> None:
    accepted = json.loads((ROOT / "tests" / "mutants.json").read_text())
    assert all(len(reason) > 20 for reason in accepted.values())
