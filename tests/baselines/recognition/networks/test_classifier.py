import pytest
import timm
import torch

from vitau.baselines.recognition.networks.classifier import build_resnet, narrowed


def test_at_width_1_a_network_is_timms_own():
    with torch.device("meta"):
        ours, own = build_resnet("resnet18", 1.0, num_classes=2), timm.create_model("resnet18", num_classes=2)
    assert {name: value.shape for name, value in ours.state_dict().items()} == {
        name: value.shape for name, value in own.state_dict().items()
    }


def test_a_quarter_of_the_width_has_a_quarter_of_the_channels_in_steps_of_8():
    assert narrowed((64, 128, 512, 24), 0.25) == (16, 32, 128, 8)
    assert build_resnet("resnet18", 0.25, num_classes=2).fc.in_features == 128


@pytest.mark.parametrize("name", ["resnet50", "seresnet50"])
def test_narrow_networks_run(name):
    assert build_resnet(name, 0.125, num_classes=2).eval()(torch.zeros(1, 3, 32, 32)).shape == (1, 2)
