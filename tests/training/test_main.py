"""The command: what it writes, what it leaves alone, what it refuses."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from vitau.models.checkpoint import load_model
from vitau.store import Store
from vitau.training.recipes import RECIPES

MakeSnapshot = Callable[..., tuple[Store, str]]
Command = Callable[..., tuple[object, str, str]]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["palsy", "regions"])
def test_a_killed_training_goes_on_and_a_complete_one_is_left_alone(
    make_snapshot: MakeSnapshot, command: Command, tmp_path: Path, kind: str
) -> None:
    store, digest = make_snapshot(12)
    arguments = ("--recipe", f"tiny-{kind}", "--store", store.uri, "--snapshot", digest, "--out", str(tmp_path / "out"))
    process = subprocess.Popen([sys.executable, "-m", "vitau.training", *arguments], stderr=subprocess.DEVNULL)
    checkpoint = tmp_path / "out/checkpoint/last.safetensors"
    while not checkpoint.exists() and process.poll() is None:
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    code, _, errors = command(*arguments)
    assert code == 0, errors
    assert "epoch 1/" not in errors or process.returncode == 0
    metrics = json.loads((tmp_path / "out/metrics.json").read_text())
    assert (metrics["kind"], metrics["snapshot"], metrics["ledger_offset"]) == (kind, digest, 3)
    assert metrics["synthetic"] is True
    assert metrics["test"]["n_subjects"] == (4 if kind == "palsy" else 2)
    model, card = load_model(tmp_path / "out/model")
    assert card["threshold"] == metrics["threshold"]
    assert model.input_size == 64
    before = (tmp_path / "out/model/weights.safetensors").stat().st_mtime_ns
    code, output, _ = command(*arguments)
    assert (code, output) == (0, "")
    assert (tmp_path / "out/model/weights.safetensors").stat().st_mtime_ns == before
    code, _, errors = command("--recipe", "smoke-palsy", *arguments[2:])
    assert code == 1
    assert errors == f"Error: {tmp_path}/out holds a training with recipe tiny-{kind}, not smoke-palsy: choose another --out\n"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["history.json", "metrics.json", "model"]


def test_a_snapshot_that_is_not_there_is_one_line_and_exit_code_1(
    make_snapshot: MakeSnapshot, command: Command, tmp_path: Path
) -> None:
    store, _ = make_snapshot(6)
    code, _, errors = command("--recipe", "tiny-palsy", "--store", store.uri, "--snapshot", "0" * 64, "--out", tmp_path / "out")
    assert code == 1
    assert errors.startswith("Error: ")
    assert len(errors.splitlines()) == 1


def test_help_imports_nothing_that_takes_seconds() -> None:
    arguments = [sys.executable, "-X", "importtime", "-m", "vitau.training", "--help"]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "--snapshot" in done.stdout
    assert "pretrain" in done.stdout
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "typer" in imported
    assert imported.isdisjoint({"torch", "cv2", "numpy", "pyarrow", "mlflow"})


def test_an_unknown_recipe_is_answered_with_those_there_are(command: Command, tmp_path: Path) -> None:
    code, _, errors = command("pretrain", "--recipe", "huge", "--out", tmp_path)
    assert code == 1
    assert errors == f"Error: no recipe huge; there are {', '.join(RECIPES)}\n"
