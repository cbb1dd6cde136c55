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
METRICS = "vitau/evaluation/metrics.py"


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


def check(root: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "COV"))}
    command = [sys.executable, ROOT / "infra" / "mutants.py", "--root", root, *arguments]
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)


def leave_results(root: Path, module: str, codes: dict[str, int | None]) -> None:
    meta = root / "mutants" / module.removesuffix(".py").replace("/", ".") / "mutants" / f"{module}.meta"
    meta.parent.mkdir(parents=True, exist_ok=True)
    meta.write_text(json.dumps({"exit_code_by_key": codes}))


def test_at_least_90_percent_of_a_sample_of_the_metrics_mutants_are_killed_and_other_results_are_kept(tmp_path: Path) -> None:
    for name in ("pyproject.toml", "vitau/__init__.py", "vitau/errors.py", "tests/evaluation/test_metrics.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    for folder in ("evaluation", "schema"):
        shutil.copytree(ROOT / "vitau" / folder, tmp_path / "vitau" / folder, ignore=shutil.ignore_patterns("__pycache__"))
    leave_results(tmp_path, "vitau/store/s3.py", {"s.x__1": 1})
    done = check(tmp_path, "--sample", "40", METRICS)
    log = tmp_path / "mutants" / "vitau.evaluation.metrics" / "mutmut.log"
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:] + log.read_text()[-3000:]
    assert [line.split()[0] for line in done.stdout.splitlines()[1:4]] == ["vitau/store/s3.py", METRICS, "all"]
    codes = json.loads((log.parent / "mutants" / f"{METRICS}.meta").read_text())["exit_code_by_key"]
    assert len([code for code in codes.values() if code is not None]) == 40
    assert f"40/{len(codes)}" in done.stdout
    (tmp_path / METRICS).write_text((tmp_path / METRICS).read_text() + "\n")
    report = check(tmp_path, "--report")
    assert f"  changed since it was measured: {METRICS}\n" in report.stdout


def test_mutants_are_sorted_by_their_exit_codes_and_only_survivors_are_accepted(mutants: ModuleType) -> None:
    codes = {"a.x__1": 1, "a.x__2": 0, "a.x__3": 33, "a.x__4": None, "a.x__5": 36, "a.x__6": 0, "a.x__7": -11}
    result = mutants.sort_mutants("a.py", codes, {"a.x__[16]": "a reason"})
    assert (result.killed, result.timed_out, result.survived) == (("a.x__1",), ("a.x__5",), ("a.x__2", "a.x__7"))
    assert (result.without_test, result.accepted, result.not_run) == (("a.x__3",), ("a.x__6",), ("a.x__4",))
    assert (result.number, result.share) == (6, 0.4)


def test_less_than_90_percent_of_any_module_fails_and_the_survivors_are_listed(tmp_path: Path) -> None:
    def report(killed: int, survived: int) -> subprocess.CompletedProcess[str]:
        leave_results(tmp_path, METRICS, {f"m.x__{number}": int(number < killed) for number in range(killed + survived)})
        return check(tmp_path, "--report")

    leave_results(tmp_path, "vitau/store/s3.py", {f"s.x__{number}": 1 for number in range(100)} | {"s.x__100": None})
    assert report(9, 1).returncode == 0
    failed = report(8, 2)
    assert failed.returncode == 1
    assert "  survived: m.x__8\n  survived: m.x__9\n" in failed.stdout
    assert "100/101" in failed.stdout
    assert "  not measured: vitau/media/crops.py\n" in failed.stdout
    assert failed.stderr == (
        "90% of a module's mutants must be killed: 80.0% in vitau/evaluation/metrics.py; add tests for the survivors\n"
    )


def test_without_any_result_the_report_fails(tmp_path: Path) -> None:
    assert check(tmp_path, "--report").stderr == "no mutant was run: run it without --report\n"


def test_a_module_outside_of_the_list_is_refused(tmp_path: Path) -> None:
    refused = check(tmp_path, "vitau/cli.py")
    assert refused.returncode == 1
    assert refused.stderr == (
        "vitau/cli.py is not in the list of modules; add it to MODULES in infra/mutants.py, with its tests\n"
    )


def test_every_module_of_the_list_and_every_test_file_exists(mutants: ModuleType) -> None:
    files = {*mutants.MODULES, *(test for tests in mutants.MODULES.values() for test in tests)}
    assert [name for name in files if not (ROOT / name).is_file()] == []


def test_every_accepted_mutant_has_a_reason() -> None:
    accepted = json.loads((ROOT / "tests" / "mutants.json").read_text())
    assert all(len(reason) > 20 for reason in accepted.values())
