"""The generator equals the public one, and computes no more than it is asked for."""

import numpy as np
import pytest
import torch

from vitau.models.generator import Generator, GeneratorConfig

SHAPES = {"32": GeneratorConfig(size=32), "64cm1": GeneratorConfig(size=64, channel_multiplier=1)}


@pytest.fixture(scope="module", params=SHAPES)
def public(request, reference):
    """A generator with the reference's weights, and the reference's numbers."""
    generator = Generator(SHAPES[request.param]).eval()
    generator.load_state_dict(reference.weights(generator.state_dict()))
    return generator, reference.numbers(f"gen_{request.param}")


@pytest.mark.parametrize("size", [256, 1024])
def test_full_size_generators_have_the_public_keys(size, reference):
    with torch.device("meta"):
        own = Generator(GeneratorConfig(size=size)).state_dict()
    assert {key: tuple(tensor.shape) for key, tensor in own.items()} == reference.shapes(f"gen_{size}")


@pytest.mark.parametrize("name", SHAPES)
def test_small_generators_have_the_public_keys(name, reference):
    with torch.device("meta"):
        own = Generator(SHAPES[name]).state_dict()
    assert {key: tuple(tensor.shape) for key, tensor in own.items()} == reference.shapes(f"gen_{name}")


@pytest.mark.parametrize("route", ["wplus", "zplus"])
def test_every_activation_and_the_image_are_the_public_ones(route, public, reference):
    generator, expected = public
    style = torch.from_numpy(reference.normal("input.wplus", (2, generator.config.num_styles, 512)))
    with torch.no_grad():
        if route == "zplus":
            style = generator.mapping(style)
            np.testing.assert_allclose(style, expected["zplus_w"], atol=1e-4)
        for i, activation in enumerate(generator.activations(style)):
            np.testing.assert_allclose(reference.samples(activation), expected[f"{route}/feat{i}"], rtol=0, atol=1e-4)
        np.testing.assert_allclose(reference.samples(generator.image(style), 256), expected[f"{route}/img"], rtol=0, atol=1e-4)


def test_the_mapping_network_is_the_public_one(public, reference):
    generator, expected = public
    with torch.no_grad():
        w = generator.mapping(torch.from_numpy(reference.normal("input.z", (2, 512))))
    np.testing.assert_allclose(w, expected["w"], rtol=0, atol=1e-4)


def test_features_are_the_second_activations_of_their_resolutions_and_nothing_above_is_computed():
    generator = Generator(GeneratorConfig(size=32, style_dim=8, mapping_layers=1, max_channels=4))
    style = torch.randn(2, generator.config.num_styles, 8)
    everything = list(generator.activations(style))
    ran = []
    for i, layer in enumerate(generator.convs):
        layer.register_forward_hook(lambda *_, i=i: ran.append(i))
    features = generator.features(style, [1, 2])
    assert [tuple(feature.shape) for feature in features] == [(2, 4, 8, 8), (2, 4, 16, 16)]
    assert all(torch.equal(feature, everything[i]) for feature, i in zip(features, (3, 5), strict=True))
    assert ran == [0, 1, 2, 3]


def test_what_the_features_do_not_need_is_frozen():
    generator = Generator(GeneratorConfig(size=16, style_dim=8, mapping_layers=1, max_channels=4))
    generator.freeze_unused([0, 1], mapping=False)
    generator.features(torch.randn(1, 6, 8), [0, 1])[-1].sum().backward()
    trained = {name for name, parameter in generator.named_parameters() if parameter.requires_grad}
    reached = {name for name, parameter in generator.named_parameters() if parameter.grad is not None}
    assert trained == reached
    assert "convs.1.conv.weight" in trained
    assert not any(name.startswith(("to_rgb", "style", "convs.2", "convs.3")) for name in trained)


def test_a_size_that_is_no_power_of_two_is_refused():
    with pytest.raises(ValueError, match="a generator of 48 px is impossible, it doubles from 4: choose a power of two from 8"):
        GeneratorConfig(size=48)
