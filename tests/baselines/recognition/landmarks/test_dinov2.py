import pytest
import timm
import torch
from safetensors.torch import save_file

from vitau.baselines.method import Budget
from vitau.baselines.recognition.landmarks.dinov2 import dinov2
from vitau.errors import TrainingError
from vitau.store import open_store

BACKBONE = "vit_tiny_patch16_224"


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file of random weights in timm's layout, and a store."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("weights")
    save_file(timm.create_model(BACKBONE, pretrained=False).state_dict(), folder / "vit.safetensors")
    return [str(folder / "vit.safetensors")], open_store(folder / "store")


def test_without_weights_it_refuses(eight_people, other_people):
    with pytest.raises(TrainingError, match=r"^the method dinov2 needs weights of timm's vit_small_patch14_dinov2, and none"):
        dinov2().fit(eight_people, other_people, Budget(epochs=1), seed=0)


def test_it_learns_eight_people_with_the_users_weights_which_stay_as_they_are(check_learning, weights, eight_people):
    method = dinov2(*weights, backbone=BACKBONE)
    few = Budget(epochs=1, image_px=40)
    before = method.features(eight_people.where(eight_people.row_N < 2), few)
    assert before.shape == (2, 192)
    check_learning(method, epochs=2, image_px=40, at_least=0.7)
    assert (method.features(eight_people.where(eight_people.row_N < 2), few) == before).all()
