"""The interpreter has the public layout and draws heatmaps of its size from any part of the pyramid."""

import pytest
import torch

from vitau.models.interpreter import Interpreter, resize

CHANNELS = (512, 512, 512, 512, 512, 256, 128, 64, 32)
RESOLUTIONS = (4, 8, 16, 32, 64, 128, 256, 512, 1024)


def test_the_interpreter_of_1024_px_has_the_public_keys(reference):
    with torch.device("meta"):
        own = Interpreter(CHANNELS, RESOLUTIONS, num_outputs=32).state_dict()
    assert {key: tuple(tensor.shape) for key, tensor in own.items()} == reference.shapes("interpreter")


@pytest.mark.parametrize("part", [slice(0, 2), slice(2, 4), slice(4, 6), slice(None)], ids=["early", "middle", "late", "all"])
def test_any_part_of_the_pyramid_gives_heatmaps_of_the_size(part):
    resolutions = (4, 8, 16, 32, 64, 128)[part]
    interpreter = Interpreter([3] * len(resolutions), resolutions, size=32, num_outputs=5)
    assert interpreter([torch.randn(2, 3, side, side) for side in resolutions]).shape == (2, 5, 32, 32)


def test_features_are_added_between_the_blocks():
    interpreter = Interpreter([2, 3, 4], [4, 8, 16], size=8, num_outputs=1).eval()
    low, mid, high = torch.randn(1, 2, 4, 4), torch.randn(1, 3, 8, 8), torch.randn(1, 4, 16, 16)
    first, second, last = interpreter.blocks()
    expected = last(second(first(low) + mid) + resize(high, 8))
    assert torch.equal(interpreter([low, mid, high]), expected)


def test_the_split_lies_after_the_activation_of_the_last_convolution_before_the_output():
    interpreter = Interpreter([2, 3], [4, 8], size=8, num_outputs=1).eval()
    seen = []
    interpreter.layer1[1].register_forward_hook(lambda _module, _inputs, out: seen.append(out))
    features = [torch.randn(1, 2, 4, 4), torch.randn(1, 3, 8, 8)]
    assert torch.equal(interpreter.before_output(features), seen[0])
