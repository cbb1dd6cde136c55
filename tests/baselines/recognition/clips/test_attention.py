from dataclasses import replace

import numpy as np
import pytest
import torch

from vitau.baselines.fitting import Settings
from vitau.baselines.method import Budget
from vitau.baselines.recognition.clips.attention import GatedAttention, clip_attention
from vitau.baselines.recognition.clips.items import ClipItems


def test_the_weights_are_those_of_the_article():
    attention = GatedAttention(3, 2)
    feature = torch.randn(1, 4, 3)
    value, gate, weight = (layer.weight.detach().numpy() for layer in (attention.value, attention.gate, attention.weight))
    value_bias, gate_bias = attention.value.bias.detach().numpy(), attention.gate.bias.detach().numpy()
    scores = []
    for h in feature[0].numpy():
        unit = np.tanh(value @ h + value_bias) / (1 + np.exp(-(gate @ h + gate_bias)))
        scores.append(np.exp(weight[0] @ unit))  # the bias of the score cancels
    assert attention(feature)[0].tolist() == pytest.approx(np.array(scores) / np.sum(scores), abs=1e-6)


def test_a_clip_is_the_weighted_mean_of_its_frames(eight_people):
    torch.manual_seed(0)
    network = clip_attention().build(Budget(epochs=1, width=0.125), 32).eval()
    batch = ClipItems(eight_people, 32, "cpu", 4).batch(np.arange(2))
    with torch.no_grad():
        network.attention.weight.weight.mul_(5000)  # features of fresh weights are alike
        feature = network.images.features(network.images.tokens(batch.frames.crop_BCHW)).unflatten(0, (2, 4))
        weights = network.attention(feature)
        assert weights.std(1).min() > 0.01
        head = network.images.vit.head
        mean = torch.stack([weights[clip] @ feature[clip] for clip in range(2)])
        assert torch.allclose(network(batch), head(mean), atol=1e-5)


def test_it_learns_eight_people(check_learning):
    fitted = check_learning(
        replace(clip_attention(), settings=Settings(lr=1e-3), num_frames=4), epochs=13, image_px=50, width=0.125
    )
    assert fitted.image_px == 48  # whole patches
