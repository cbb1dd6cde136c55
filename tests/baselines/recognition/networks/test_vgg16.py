from dataclasses import replace

import timm
import torch

from vitau.baselines.fitting import Settings
from vitau.baselines.method import Budget
from vitau.baselines.recognition.networks.vgg16 import build_vgg16, vgg16


def test_at_width_1_it_has_the_layers_of_timm():
    with torch.device("meta"):
        ours, own = build_vgg16(Budget(epochs=1)), timm.create_model("vgg16_bn", num_classes=2)
    assert {name: value.shape for name, value in ours.state_dict().items()} == {
        name: value.shape for name, value in own.state_dict().items()
    }


def test_it_learns_eight_people(check_learning, few_frames):
    check_learning(replace(vgg16(), settings=Settings(lr=2e-3)), epochs=16, image_px=32, width=0.0625, **few_frames)
