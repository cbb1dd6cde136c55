import numpy as np
import pytest
import torch
from torch.nn import functional

from vitau.baselines.fitting import FrameItems, Settings
from vitau.baselines.method import Budget
from vitau.baselines.recognition.networks.identity_adversary import (
    STRENGTH,
    AnonymousViT,
    IdentityAdversary,
    palsy_and_identity_loss,
)
from vitau.baselines.recognition.networks.vitau_vit import build


@pytest.fixture
def network(eight_people):
    torch.manual_seed(0)
    _, first = np.unique(eight_people.subject_N, return_index=True)
    return AnonymousViT(build(Budget(epochs=1, width=0.125), 32), torch.from_numpy(eight_people.palsied_N[first])).eval()


@pytest.fixture
def batch(eight_people):
    return FrameItems(eight_people, 32, "cpu").batch(np.arange(0, len(eight_people), 7))


def test_people_of_the_other_cohort_are_not_asked(network, batch):
    feature = network.images.features(network.images.tokens(batch.crop_BCHW))
    probability = network.identify(feature, batch.palsied_B).softmax(1)
    assert batch.person_B.tolist() == list(range(8))
    for row, palsied in zip(probability, batch.palsied_B, strict=True):
        assert (row[network.palsied_P == palsied] > 0).all()
        assert (row[network.palsied_P != palsied] == 0).all()


def test_the_features_unlearn_what_the_second_head_learns(network, batch):
    parameter = network.images.vit.blocks[0].attn.qkv.weight
    network.people.weight.data.mul_(30)  # an adversary that knows something

    def gradients(loss):
        return torch.autograd.grad(loss, [parameter, network.people.weight])

    feature = network.images.features(network.images.tokens(batch.crop_BCHW))
    logits = network.people(feature).masked_fill(batch.palsied_B[:, None] != network.palsied_P, -torch.inf)
    person = gradients(functional.cross_entropy(logits, batch.person_B))
    palsy = torch.autograd.grad(functional.cross_entropy(network(batch.crop_BCHW), batch.palsied_B.long()), parameter)[0]
    own = gradients(palsy_and_identity_loss(network, batch))
    assert person[0].abs().max() > 1e-4
    assert torch.allclose(own[1], person[1], atol=1e-6)
    assert torch.allclose(own[0], palsy - STRENGTH * person[0], atol=1e-5)


def test_it_learns_eight_people(check_learning, few_frames):
    method = IdentityAdversary(settings=Settings(lr=1e-3))
    check_learning(method, epochs=15, image_px=50, width=0.125, **few_frames)
