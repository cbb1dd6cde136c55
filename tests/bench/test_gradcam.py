import sys

import pytest

from vitau.bench.gradcam import bench
from vitau.errors import BenchError
from vitau.models.vit import ViTConfig

VIT = ViTConfig(input_size=32, patch_size=8, width=32, depth=3, heads=4, register_tokens=1)


def test_our_maps_and_the_reference_s_are_the_same_for_one_and_eight_targets_of_both_models():
    result = bench(1, vit=VIT)
    assert [case.name for case in result.cases] == [
        "region model, 1 target",
        "region model, 8 targets",
        "ViT, 1 target",
        "ViT, 8 targets",
    ]
    assert all(case.max_difference < 1e-5 for case in result.cases)


def test_without_the_reference_one_sentence_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pytorch_grad_cam", None)
    with pytest.raises(
        BenchError,
        match=r"^this benchmark compares with the package grad-cam, which is not installed; run `make setup`$",
    ):
        bench(1, vit=VIT)
