"""The encoder equals the public one and reads any input that halves four times."""

import numpy as np
import pytest
import torch

from vitau.models.encoder import Encoder, EncoderConfig


@pytest.mark.parametrize("num_styles", [10, 14, 18])
def test_encoders_have_the_public_keys(num_styles, reference):
    with torch.device("meta"):
        own = Encoder(EncoderConfig(num_styles=num_styles)).state_dict()
    assert {key: tuple(tensor.shape) for key, tensor in own.items()} == reference.shapes(f"enc_{num_styles}")


@pytest.mark.slow
def test_every_named_activation_and_the_styles_are_the_public_ones(reference):
    with torch.device("meta"):
        encoder = Encoder(EncoderConfig(num_styles=10))
    encoder.to_empty(device="cpu").eval()
    weights = reference.weights(encoder.state_dict(), prefix="encoder.")
    encoder.load_state_dict(weights)
    expected = reference.numbers("enc_10")
    seen = {}
    layers = {"input_layer": encoder.input_layer, **{f"body{i}": unit for i, unit in enumerate(encoder.body)}}
    for name in layers.keys() & expected.keys():
        layers[name].register_forward_hook(lambda _module, _inputs, out, name=name: seen.update({name: reference.samples(out)}))
    image = np.clip(reference.normal("input.image", (1, 3, 256, 256)) * 0.5, -1, 1)
    with torch.no_grad():
        seen["latents"] = encoder(torch.from_numpy(image)).numpy()
    assert seen.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(seen[name], values, rtol=0, atol=1e-4 * np.abs(values).max(), err_msg=name)


@pytest.mark.parametrize("side", [64, 96, 128, 256])
def test_a_small_encoder_gives_one_style_per_layer_at_any_input_size(side):
    encoder = Encoder(EncoderConfig(input_size=side, units=(1, 1, 1, 1), widths=(4, 4, 8, 8), style_dim=6, num_styles=8))
    assert encoder(torch.randn(2, 3, side, side)).shape == (2, 8, 6)


def test_fresh_styles_differ_between_faces():
    torch.manual_seed(0)
    encoder = Encoder(EncoderConfig(input_size=64, units=(1, 1, 1, 1), widths=(8, 16, 32, 32), style_dim=16, num_styles=8))
    assert encoder(torch.randn(8, 3, 64, 64)).std(0).mean() > 0.1


def test_an_input_that_does_not_halve_four_times_is_refused():
    with pytest.raises(ValueError, match="the encoder halves its input four times and 100 px do not: choose a multiple of 16"):
        EncoderConfig(input_size=100)


@pytest.mark.parametrize("kept", [True, False])
def test_kept_statistics_stay_in_training_while_scales_are_trained(kept):
    torch.manual_seed(0)
    encoder = Encoder(EncoderConfig(input_size=32, units=(1, 1, 1, 1), widths=(4, 4, 8, 8), style_dim=8, num_styles=10))
    encoder.keep_statistics = kept
    before = {name: buffer.clone() for name, buffer in encoder.named_buffers()}
    encoder.train()(torch.rand(2, 3, 32, 32)).square().sum().backward()
    same = [torch.equal(buffer, before[name]) for name, buffer in encoder.named_buffers()]
    assert all(same) if kept else not any(same)
    assert encoder.body[0].res_layer[0].weight.grad.any()
    assert not encoder.eval().training
