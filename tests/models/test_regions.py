"""The region model answers with 8 heatmaps whatever part of the generator it reads, and learns with all that it reads."""

from dataclasses import replace

import pytest
import torch

from vitau.models.encoder import EncoderConfig
from vitau.models.generator import GeneratorConfig
from vitau.models.regions import RegionConfig, build_regions


@pytest.mark.parametrize("features", ["all", "early", "middle", "late"])
@pytest.mark.parametrize("route", ["wplus", "mapping"])
def test_every_weight_that_is_trained_gets_a_gradient(features, route, small_regions):
    model = build_regions(replace(small_regions, features=features, latent_route=route))
    heatmaps = model(torch.randn(4, 3, 64, 64))
    assert heatmaps.shape == (4, 8, 32, 32)
    heatmaps.square().mean().backward()
    assert not [name for name, weight in model.named_parameters() if weight.requires_grad and weight.grad is None]


def test_thirds_of_nine_resolutions_are_three_each_and_a_remainder_goes_to_the_earlier(small_regions):
    levels = {part: list(RegionConfig(features=part).levels) for part in ("early", "middle", "late", "all")}
    assert levels == {"early": [0, 1, 2], "middle": [3, 4, 5], "late": [6, 7, 8], "all": [*range(9)]}
    of_four = [list(replace(small_regions, features=part).levels) for part in ("early", "middle", "late")]
    assert of_four == [[0, 1], [2], [3]]


def test_the_average_latent_is_added_before_the_route(small_regions):
    model = build_regions(small_regions).eval()
    crop = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        styles = model.styles(crop)
        model.latent_avg += 1
        torch.testing.assert_close(model.styles(crop), styles + 1)


def test_outputs_beyond_the_eight_regions_are_dropped(small_regions):
    model = build_regions(replace(small_regions, num_outputs=32)).eval()
    assert model(torch.randn(1, 3, 64, 64)).shape == (1, 8, 32, 32)


def test_the_paper_s_model_has_256_px_in_and_128_px_heatmaps_out():
    with torch.device("meta"):
        model = build_regions(RegionConfig())
        assert model(torch.randn(2, 3, 256, 256)).shape == (2, 8, 128, 128)


def test_an_encoder_that_does_not_feed_its_generator_is_refused():
    expected = "the encoder gives 18 styles of width 512, the generator of 256 px takes 14 of 512: make them equal"
    with pytest.raises(ValueError, match=expected):
        RegionConfig(encoder=EncoderConfig(), generator=GeneratorConfig(size=256))
