"""Two processes train as one: the same losses, the same weights, and only one writes."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from vitau.data.dataset import Crops
from vitau.errors import TrainingError
from vitau.models.regions import RegionConfig, build_regions
from vitau.models.vit import build_vit
from vitau.schema import Split
from vitau.store import Store
from vitau.training import parallel
from vitau.training.checkpoint import Checkpoint
from vitau.training.config import Recipe
from vitau.training.fit import Observer, fit
from vitau.training.losses import WithSides
from vitau.training.recipes import RECIPES
from vitau.training.tasks import CropBatches, objective

MakeSnapshot = Callable[..., tuple[Store, str]]
CPU = torch.device("cpu")
STEPS = 5
ROOT = Path(__file__).resolve().parents[2]


def together(code: str, *arguments: object, num_processes: int = 2) -> subprocess.CompletedProcess[str]:
    """Run a program in processes that torchrun starts together."""
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={num_processes}"]
    return subprocess.run(
        [sys.executable, *torchrun, *code.split(), *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


def small(kind: str) -> Recipe:
    """Return a tiny recipe with sides, batch normalization and accumulation of two batches; only dropout would differ."""
    recipe = RECIPES[f"tiny-{kind}"]()
    train = replace(recipe.train, epochs=1, batch_size=10, accumulate=2, side_weight=1.0, lr=1e-3)
    return replace(recipe, train=train)


def losses_of(kind: str, crops: Crops, folder: Path) -> tuple[list[float], nn.Module]:
    """Train for a few steps; return the loss of each, and the model."""
    recipe, losses = small(kind), []
    torch.manual_seed(3)
    regions = isinstance(recipe.model, RegionConfig)
    model = build_regions(recipe.model) if regions else build_vit(recipe.model)  # type: ignore[arg-type]
    fit(
        WithSides(model),
        objective(recipe.kind, recipe.train, recipe.model.sigma if regions else None),  # type: ignore[union-attr]
        CropBatches(crops, recipe.train, 64, CPU),
        lambda _model: {"selection": 0.0},
        recipe.train,
        Checkpoint(folder=folder, identity=""),
        Observer(batch=lambda _done, _steps, loss: losses.append(loss)),
    )
    return losses, model


def random_crops(num: int = 9 + 10 * (STEPS - 1)) -> Crops:
    """Frames of noise with labels, some unknown; the last batch is smaller than the others, and odd."""
    rng = np.random.default_rng(0)
    affected_NA = rng.random((num, 8)) < 0.5
    return Crops(
        pixels_MSS3=rng.integers(0, 255, (num, 64, 64, 3), dtype=np.uint8),
        row_N=np.arange(num),
        landmarks_NL2=rng.uniform(60, 200, (num, 68, 2)).astype(np.float32),
        palsied_N=affected_NA[:, 0],
        affected_NA=affected_NA,
        known_NA=rng.random((num, 8)) < 0.8,
        sided_NA2=affected_NA[..., None] & np.array([True, False]),
        subject_N=np.array([f"s{row}" for row in range(num)]),
        split_N=np.array([str(Split.TRAIN)] * num),
    )


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train both kinds with two processes, which are started once; return the folder of what they wrote."""
    folder = tmp_path_factory.mktemp("together")
    done = together(__file__, folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["palsy", "regions"])
def test_two_processes_take_the_steps_of_one(kind: str, two_processes: Path, tmp_path: Path) -> None:
    alone, model = losses_of(kind, random_crops(), tmp_path / "alone")
    assert len(alone) == STEPS
    for rank in (0, 1):
        losses = json.loads((two_processes / f"{kind}-{rank}.json").read_text())
        assert losses == pytest.approx(alone, abs=1e-4), f"process {rank}"
        state = torch.load(two_processes / f"{kind}-{rank}.pt", weights_only=True)
        apart = {name: (state[name].float() - tensor.float()).abs().ravel() for name, tensor in model.state_dict().items()}
        assert torch.cat(list(apart.values())).mean() < 1e-5
        for (
            name,
            difference,
        ) in apart.items():  # AdamW makes a step of any gradient, were it a rounding error: 5 steps go up to 5e-3
            assert difference.mean() < 2e-4, name
    assert max(abs(a - b) for a, b in pairwise(alone)) > 1e-3  # the steps did something


@pytest.mark.slow
def test_torchrun_trains_a_recipe_and_one_process_writes(
    make_snapshot: MakeSnapshot, command: Callable[..., tuple[object, str, str]], tmp_path: Path
) -> None:
    store, digest = make_snapshot(12)
    arguments = ("--recipe", "tiny-regions", "--store", store.uri, "--snapshot", digest)
    done = together("-m vitau.training", *arguments, "--out", tmp_path / "two")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("epoch 1/4") == 1
    assert command(*arguments, "--out", tmp_path / "one")[0] == 0
    two, one = (json.loads((tmp_path / name / "history.json").read_text()) for name in ("two", "one"))
    losses = [[epoch["train_loss"] for epoch in history["epochs"]] for history in (two, one)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)
    assert sorted(path.name for path in (tmp_path / "two").iterdir()) == ["history.json", "metrics.json", "model"]


@pytest.mark.slow
def test_a_batch_that_cannot_be_shared_is_one_sentence(two_processes: Path) -> None:
    sentences = {(two_processes / f"too-small-{rank}.txt").read_text() for rank in (0, 1)}
    assert sentences == {"a batch of 1 is too small for 2 processes: raise the batch size or start fewer"}


def test_alone_a_process_is_the_first_and_has_everything() -> None:
    assert (parallel.world_size(), parallel.rank(), parallel.is_main_process()) == (1, 0, True)
    assert parallel.shard(7) == slice(0, 7)
    assert parallel.all_gather({"a": 1}) == {"a": 1}
    assert parallel.broadcast_from_main(lambda: 5) == 5
    assert parallel.mean(torch.tensor(6.0), torch.tensor(4)) == 1.5
    assert parallel.mean(torch.tensor(0.0), 0) == 0
    model = nn.Sequential(nn.BatchNorm2d(3))
    parallel.sync_batch_norm(model)
    assert parallel.unwrap(parallel.wrap(model)) is model
    assert type(model[0]) is nn.BatchNorm2d


def test_torch_shares_the_statistics_of_a_batch_on_gpus_and_ours_does_elsewhere() -> None:
    assert parallel.shared_norm(torch.device("cuda", 1)) is nn.SyncBatchNorm
    assert parallel.shared_norm(CPU) is parallel.SyncBatchNorm
    (ours, theirs) = (kind(3, 1e-3, 0.2) for kind in (parallel.SyncBatchNorm, nn.SyncBatchNorm))
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    assert (ours.eps, ours.momentum) == (theirs.eps, theirs.momentum)


def _main(folder: Path) -> None:
    """Run one of the processes."""
    torch.set_num_threads(1)
    with parallel.process_group():
        rank = parallel.rank()
        with pytest.raises(TrainingError) as caught:
            next(iter(CropBatches(random_crops(), replace(small("palsy").train, batch_size=1), 64, CPU).epoch(0)))
        (folder / f"too-small-{rank}.txt").write_text(str(caught.value))
        for kind in ("palsy", "regions"):
            losses, model = losses_of(kind, random_crops(), folder / kind)
            (folder / f"{kind}-{rank}.json").write_text(json.dumps(losses))
            torch.save(model.state_dict(), folder / f"{kind}-{rank}.pt")


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
