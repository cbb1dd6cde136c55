"""After SIGKILL in the middle of an epoch, the next process resumes with exactly the same losses."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from tests.training.test_parallel import CPU, ROOT, random_crops
from vitau.models.regions import RegionConfig, build_regions
from vitau.training.checkpoint import FILE, Checkpoint
from vitau.training.fit import Observer, fit
from vitau.training.recipes import RECIPES
from vitau.training.tasks import CropBatches, objective

EPOCHS = 3


def _start(folder: Path) -> subprocess.Popen[bytes]:
    folder.mkdir(exist_ok=True)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, __file__, str(folder)], env=environment)


def _is_within_an_epoch(checkpoint: Path) -> bool:
    if not checkpoint.exists():
        return False
    with safe_open(checkpoint, framework="pt") as file:
        metadata = file.metadata()
    return "position" in metadata and len(json.loads(metadata["history"])["epochs"]) == 1


@pytest.mark.slow
def test_a_loss_curve_goes_on_exactly_after_a_kill_in_the_middle_of_an_epoch(tmp_path: Path) -> None:
    undisturbed, process = _start(tmp_path / "whole"), _start(tmp_path / "killed")
    while not _is_within_an_epoch(tmp_path / "killed" / FILE):
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert _start(tmp_path / "killed").wait() == 0
    assert undisturbed.wait() == 0
    whole, again = (json.loads((tmp_path / name / "losses.json").read_text()) for name in ("whole", "killed"))
    assert len(again) < len(whole)  # it did not begin anew
    assert again == whole[-len(again) :]


def _train(folder: Path) -> None:
    """Train with dropout, augmentation, warm-up and averaged weights; write the loss of every step."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    recipe, losses = RECIPES["tiny-regions"](), []
    assert isinstance(recipe.model, RegionConfig)
    config = replace(recipe.train, epochs=EPOCHS, batch_size=4, save_every=2, accumulate=2, ema=0.9, warmup=0.3)
    fit(
        build_regions(replace(recipe.model, dropout=0.2)),
        objective("regions", config, recipe.model.sigma),
        CropBatches(random_crops(24), config, 64, CPU),
        lambda _model: {"selection": 0.0},
        config,
        Checkpoint(folder=folder, identity=""),
        Observer(batch=lambda _done, _steps, loss: losses.append(loss)),
    )
    (folder / "losses.json").write_text(json.dumps(losses))


if __name__ == "__main__":
    _train(Path(sys.argv[1]))
