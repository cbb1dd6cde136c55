"""Computing again instead of keeping: the same numbers, less kept."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from vitau.models.recompute import Recomputing, set_recompute
from vitau.models.regions import RegionConfig, build_regions
from vitau.models.vit import build_vit
from vitau.training.recipes import RECIPES

Trained = tuple[Tensor, dict[str, Tensor], dict[str, Tensor], int]


def _trained(build: Callable[[], nn.Module], size: int, *, recompute: bool) -> Trained:
    """One backward pass: the loss, the gradients, the buffers, and how many bytes were kept for it."""
    torch.manual_seed(0)
    model, kept = build().train(), 0
    set_recompute(model, recompute)

    def count(tensor: Tensor) -> Tensor:
        nonlocal kept
        kept += tensor.numel() * tensor.element_size()
        return tensor

    crop_BCHW = torch.rand(4, 3, size, size) * 2 - 1
    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        loss = model(crop_BCHW).square().mean()
    loss.backward()
    gradients = {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}
    return loss, gradients, dict(model.named_buffers()), kept


def _regions() -> nn.Module:
    config = RECIPES["tiny-regions"]().model
    assert isinstance(config, RegionConfig)
    return build_regions(RegionConfig(**{**vars(config), "dropout": 0.2}))


def _vit() -> nn.Module:
    config = RECIPES["tiny-palsy"]().model
    return build_vit(type(config)(**{**vars(config), "dropout": 0.2}))  # type: ignore[arg-type]


@pytest.mark.parametrize("build", [_regions, _vit])
def test_loss_gradients_and_statistics_are_those_of_one_call_and_less_is_kept(build: Callable[[], nn.Module]) -> None:
    loss, gradients, buffers, kept = _trained(build, 64, recompute=False)
    again, gradients_again, buffers_again, kept_again = _trained(build, 64, recompute=True)
    assert torch.equal(loss, again)
    assert gradients.keys() == gradients_again.keys()
    assert all(torch.allclose(gradients[name], gradients_again[name], atol=1e-7) for name in gradients)
    assert all(torch.equal(buffers[name], buffers_again[name]) for name in buffers)
    assert any("num_batches_tracked" in name for name in buffers)
    assert kept_again < 0.6 * kept


def test_without_gradients_nothing_is_prepared() -> None:
    class Network(Recomputing):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.BatchNorm2d(2)

        def forward(self, x_BCHW: Tensor) -> Tensor:
            return self.stage(self.layer, x_BCHW)

    model = Network()
    set_recompute(model, recompute=True)
    with torch.no_grad():
        assert not model(torch.rand(2, 2, 3, 3)).requires_grad
    assert model.layer.momentum == 0.1
