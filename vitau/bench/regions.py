"""Benchmark of a training step of the region model against a straightforward one."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final, Literal

import numpy as np
import torch
from torch import Tensor, nn

from vitau.bench.measure import Case, Result, Watch, compare
from vitau.bench.memory import compare_peaks, compare_whole_peaks
from vitau.models.heatmaps import CUT, peaks
from vitau.models.recompute import set_recompute
from vitau.models.regions import RegionConfig, RegionModel, build_regions
from vitau.schema import AUS, CROP_SIZE, NUM_LANDMARKS
from vitau.training.config import Recipe, TrainConfig
from vitau.training.fit import adamw
from vitau.training.losses import REGION_LOSSES
from vitau.training.recipes import RECIPES, tiny_regions
from vitau.training.tasks import Batch, objective

ROUNDS: Final = 15
RECOMPUTED: Final = (1 / 0.6, 1 / 1.35)
"""The wanted ratios of `recompute`: at most 60 % of the memory, in at most 1.35 times the time."""

# B image, A region, C channel, H row, W column, S style, D style width


def bench(rounds: int = ROUNDS, watch: Watch = lambda *_: None, *, name: str = "regions", recipe: str | None = None) -> Result:
    """Train the tiny region model for some steps, all features and the early third, from the same weights on one batch.

    The baseline of the tiny model computes the whole generator with its image, draws the true heatmaps image by image and
    region by region, and leaves every weight in training; everything else is the same. Peak memory is that of a step, above
    what is held between two.

    A recipe other than the tiny one is trained with `recompute` instead, beside the same step with all activations kept. Memory
    is that of the whole processes then.

    Args:
        rounds: paired measurements.
        watch: called after every round.
        name: of the benchmark.
        recipe: name of a region model's recipe, for the comparison of `recompute`.
    """
    if recipe is not None:
        return Result(
            name=name,
            compared="a training step that computes activations again, beside one that keeps them",
            difference="of the loss after one step",
            cases=_recomputed(RECIPES[recipe](), rounds, watch),
        )
    configs = {"all features": _config("all"), "early features": _config("early")}
    train = tiny_regions().train
    timed = [_case(name, config, train, rounds, watch) for name, config in configs.items()]
    held = [
        compare_peaks(
            f"{name}, peak memory",
            prepare_ours,
            prepare_straightforward,
            config,
            train,
            amount=train.batch_size,
            rounds=max(1, rounds // 5),
            watch=watch,
        )
        for name, config in configs.items()
    ]
    return Result(
        name=name,
        compared="a training step of the tiny region model, ours beside one that computes everything",
        difference="of the loss, over all steps",
        cases=(*timed, *held),
    )


def _recomputed(recipe: Recipe, rounds: int, watch: Watch) -> tuple[Case, Case]:
    size = recipe.train.batch_size
    return compare_whole_peaks(
        f"{recipe.name}, batch {size}",
        prepare_recomputed,
        prepare_kept,
        recipe,
        amount=size,
        rounds=rounds,
        watch=watch,
        at_least=RECOMPUTED,
    )


def prepare_recomputed(recipe: Recipe) -> Callable[[], float]:
    """Build a recipe's model and a batch; return a step that computes activations again."""
    return _prepare_step(recipe, recompute=True)


def prepare_kept(recipe: Recipe) -> Callable[[], float]:
    """Build the same model and batch; return a step that keeps all activations."""
    return _prepare_step(recipe, recompute=False)


def _prepare_step(recipe: Recipe, *, recompute: bool) -> Callable[[], float]:
    config = recipe.model
    assert isinstance(config, RegionConfig)
    model, batch = _model(replace(config, dropout=0.0)), _batch(recipe.train.batch_size, config.encoder.input_size)
    set_recompute(model, recompute)
    loss = objective("regions", recipe.train, config.sigma)
    optimizer = adamw(model, recipe.train)
    for weight in model.parameters():
        weight.grad = torch.zeros_like(weight) if weight.requires_grad else None
    optimizer.step()  # allocates its state, so that a single step has the memory of every later one
    return _step_of(model, lambda: loss(model, batch), recipe.train, optimizer)


def _config(features: Literal["all", "early"]) -> RegionConfig:
    config = tiny_regions().model
    assert isinstance(config, RegionConfig)
    return replace(config, features=features)


def _case(name: str, config: RegionConfig, train: TrainConfig, rounds: int, watch: Watch) -> Case:
    return compare(
        name,
        prepare_ours(config, train),
        prepare_straightforward(config, train),
        _judge,
        amount=train.batch_size,
        unit="images/s",
        rounds=rounds,
        watch=watch,
    )


def prepare_ours(config: RegionConfig, train: TrainConfig) -> Callable[[], float]:
    """Build the model and a batch, the same at every call; return our step."""
    model, batch = _model(config), _batch(train.batch_size, config.encoder.input_size)
    loss = objective("regions", train, config.sigma)
    return _stepper(model, lambda: loss(model, batch), train)


def prepare_straightforward(config: RegionConfig, train: TrainConfig) -> Callable[[], float]:
    """Build the same model and batch; return the step that computes everything and trains every weight."""
    model = _model(config).requires_grad_(requires_grad=True)
    batch = _batch(train.batch_size, config.encoder.input_size)
    return _stepper(model, lambda: straightforward_loss(model, batch, train), train)


def _model(config: RegionConfig) -> RegionModel:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build_regions(config).train()


def _judge(ours: float, theirs: float) -> Mapping[str, float]:
    return {"max_difference": abs(ours - theirs), "loss": ours}


def _stepper(model: nn.Module, loss: Callable[[], Tensor], train: TrainConfig) -> Callable[[], float]:
    """Return a function that takes one step as :func:`vitau.training.fit.fit` does and returns the loss."""
    return _step_of(model, loss, train, adamw(model, train))


def _step_of(
    model: nn.Module, loss: Callable[[], Tensor], train: TrainConfig, optimizer: torch.optim.Optimizer
) -> Callable[[], float]:
    def step() -> float:
        value = loss()
        optimizer.zero_grad(set_to_none=True)
        value.backward()  # type: ignore[no-untyped-call]  # torch leaves it without types
        nn.utils.clip_grad_norm_(model.parameters(), train.grad_clip)
        optimizer.step()
        return value.item()

    return step


def _batch(size: int, side: int) -> Batch:
    """Return a batch of noise: the time of a step does not depend on the content of the images."""
    generator = torch.Generator().manual_seed(3)
    crop_BCHW = torch.rand(size, 3, side, side, generator=generator) * 2 - 1
    affected_BA = torch.rand(size, len(AUS), generator=generator) < 0.5
    return Batch(
        crop_BCHW=crop_BCHW.contiguous(memory_format=torch.channels_last),
        landmarks_BL2=torch.rand(size, NUM_LANDMARKS, 2, generator=generator) * CROP_SIZE,
        palsied_B=affected_BA.any(1),
        affected_BA=affected_BA,
        known_BA=torch.ones_like(affected_BA),
        sided_BA2=torch.stack([affected_BA, torch.zeros_like(affected_BA)], dim=-1),
        person_B=torch.arange(size),
    )


def straightforward_loss(model: RegionModel, batch: Batch, train: TrainConfig) -> Tensor:
    """Compute the loss from all features, used or not."""
    style_BSD = model.styles(batch.crop_BCHW)
    features, _image = _everything(model, style_BSD)
    heatmaps_BAHW = model.interpreter([features[level] for level in model.config.levels])[:, : len(AUS)]
    true_BAHW = looped_heatmaps(batch.landmarks_BL2, batch.affected_BA, model.config.heatmap_size, model.config.sigma)
    return REGION_LOSSES[train.loss](heatmaps_BAHW, true_BAHW, batch.known_BA)


def _everything(model: RegionModel, style_BSD: Tensor) -> tuple[list[Tensor], Tensor]:
    """Return all features and the image, in one pass."""
    generator = model.generator
    features = generator.features(style_BSD, range(len(generator.config.resolutions)))
    image: Tensor = generator.to_rgb1(features[0], style_BSD[:, 1])
    for i, (to_rgb, x) in enumerate(zip(generator.to_rgbs, features[1:], strict=True)):
        image = to_rgb(x, style_BSD[:, 2 * i + 3], image)
    return features, image


def looped_heatmaps(landmarks_BL2: Tensor, affected_BA: Tensor, size: int, sigma: float) -> Tensor:
    """Draw the true heatmaps (B, 8, size, size) one by one, directly by the formula."""
    peaks_BAP2 = (peaks(landmarks_BL2) * (size / CROP_SIZE)).numpy()
    y, x = np.mgrid[:size, :size].astype(np.float32)
    maps = np.zeros((*affected_BA.shape, size, size), np.float32)
    for image, regions in enumerate(peaks_BAP2):
        for region, points in enumerate(regions):
            for point_x, point_y in points:
                bell = np.exp(-((x - point_x) ** 2 + (y - point_y) ** 2) / (2 * sigma**2))
                bell[bell < CUT] = 0.0
                maps[image, region] += bell if affected_BA[image, region] else -bell
    return torch.from_numpy(np.clip(maps, -1, 1))
