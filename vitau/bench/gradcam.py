"""Benchmark of Grad-CAM on both models against the package `grad-cam`."""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from vitau.bench.measure import Case, Result, Watch, compare
from vitau.errors import BenchError
from vitau.models.regions import RegionConfig, RegionModel, build_regions
from vitau.models.vit import PalsyViT, ViTConfig, build_vit
from vitau.scoring.gradcam import cam, class_differences, gradcam
from vitau.training.recipes import tiny_regions

ROUNDS: Final = 7
BATCH: Final = 4
VIT: Final = ViTConfig(name="vit_tiny_patch16_224", input_size=256)
NUM_ANSWERS: Final = 8

Model = PalsyViT | RegionModel


def bench(rounds: int = ROUNDS, watch: Watch = lambda *_: None, vit: ViTConfig = VIT) -> Result:
    """Compute maps of images: the tiny region model and a ViT of 8 classes, random weights, 1 and 8 targets, batches of 4.

    The baseline is the package as its authors document it: one call per target for the whole batch, hooks set up beforehand.
    Both sides end with maps of the input's side, each divided by its maximum.

    Raises:
        BenchError: the package is not installed.
    """
    cases = [
        _case(f"{kind}, {len(targets)} target{'s' * (len(targets) > 1)}", model, targets, rounds, watch)
        for kind, model in (("region model", _regions()), ("ViT", _vit(vit)))
        for targets in ([0], range(NUM_ANSWERS))
    ]
    return Result(
        name="gradcam",
        compared="Grad-CAM, ours beside the package grad-cam",
        difference="of the maps before normalization, as a share of the largest value",
        cases=tuple(cases),
    )


def _case(name: str, model: Model, targets: Sequence[int], rounds: int, watch: Watch) -> Case:
    crop_BCHW = torch.randn(BATCH, 3, model.input_size, model.input_size, generator=torch.Generator().manual_seed(2))
    reference, raw = _reference(deepcopy(model), crop_BCHW, targets)  # its own copy: its hooks must not slow ours
    expected = raw()
    difference = float(np.abs(cam(model, crop_BCHW, targets).numpy() - expected).max() / expected.max())

    def judge(_ours: Tensor, _theirs: Tensor) -> Mapping[str, float]:
        return {"max_difference": difference}

    return compare(
        name,
        lambda: gradcam(model, crop_BCHW, targets),
        reference,
        judge,
        amount=BATCH,
        unit="images/s",
        rounds=rounds,
        watch=watch,
    )


def _reference(model: Model, crop_BCHW: Tensor, targets: Sequence[int]) -> tuple[Callable[[], Tensor], Callable[[], Any]]:
    """Return the package's finished maps (B, T, H, W), and those before it resizes and normalizes (B, T, h, w)."""
    layer, answer, reshape = parts(model)
    held = grad_cam(model, layer, reshape)

    def ask(target: int) -> Any:
        return held(crop_BCHW, targets=[lambda out: answer(out)[target]] * len(crop_BCHW))

    def finished() -> Tensor:
        return torch.from_numpy(np.stack([ask(target) for target in targets], axis=1))

    def raw() -> Any:
        maps = []
        for target in targets:
            ask(target)
            seen = held.activations_and_grads
            image = held.get_cam_image(crop_BCHW, layer, None, seen.activations[0].numpy(), seen.gradients[0].numpy())
            maps.append(np.maximum(image, 0))
        return np.stack(maps, axis=1)

    return finished, raw


def grad_cam(model: Model, layer: torch.nn.Module, reshape: Callable[[Tensor], Tensor] | None = None) -> Any:
    """Return the package's Grad-CAM of a model; ``reshape`` converts tokens to maps.

    Raises:
        BenchError: the package is not installed.
    """
    try:
        from pytorch_grad_cam import GradCAM
    except ModuleNotFoundError as error:
        raise BenchError(
            "this benchmark compares with the package grad-cam, which is not installed; run `make setup`"
        ) from error
    return GradCAM(model=model, target_layers=[layer], reshape_transform=reshape)


def parts(model: Model) -> tuple[torch.nn.Module, Callable[[Tensor], Tensor], Callable[[Tensor], Tensor] | None]:
    """Return the target layer, and the functions from one image's output to what is explained and from tokens to maps."""
    if isinstance(model, PalsyViT):
        return model.vit.blocks[-2], lambda out: class_differences(out[None])[0], model.token_maps
    return model.interpreter.blocks()[-1][model.interpreter.split - 1], lambda out: out.mean((-2, -1)), None


def _regions() -> RegionModel:
    config = tiny_regions().model
    assert isinstance(config, RegionConfig)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build_regions(config).eval()


def _vit(config: ViTConfig) -> PalsyViT:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = build_vit(config)
        model.vit.head = torch.nn.Linear(model.vit.embed_dim, NUM_ANSWERS)  # eight targets need eight classes
        torch.nn.init.normal_(model.vit.head.weight, std=0.02)
        return model.eval()
