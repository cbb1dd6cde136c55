"""The recognition methods by name, in the order of the paper's Table 1; those that the paper leaves out follow."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from vitau.baselines.method import Method
from vitau.baselines.movement import Movement
from vitau.baselines.recognition.clips.attention import clip_attention
from vitau.baselines.recognition.clips.lstm import lstm
from vitau.baselines.recognition.clips.phcnn import phcnn
from vitau.baselines.recognition.clips.phcnn_lstm import phcnn_lstm
from vitau.baselines.recognition.landmarks.autofpr import autofpr, autofpr_boosted
from vitau.baselines.recognition.landmarks.dinov2 import dinov2
from vitau.baselines.recognition.landmarks.fka_gan import fka_gan
from vitau.baselines.recognition.landmarks.fnpa_rcelm import FnpaRcelm
from vitau.baselines.recognition.landmarks.landmarks_alone import landmarks_alone
from vitau.baselines.recognition.networks.dhn import dhn
from vitau.baselines.recognition.networks.identity_adversary import IdentityAdversary
from vitau.baselines.recognition.networks.mirror_difference import mirror_difference
from vitau.baselines.recognition.networks.mobilenet_mesh import mobilenet_mesh
from vitau.baselines.recognition.networks.resnet50 import resnet50
from vitau.baselines.recognition.networks.senet import senet
from vitau.baselines.recognition.networks.ssd import improved_ssd
from vitau.baselines.recognition.networks.vgg16 import vgg16
from vitau.baselines.recognition.networks.vitau_vit import vitau
from vitau.store import Store


def recognition_methods(dinov2_weights: Sequence[str] = (), store: Store | None = None) -> Mapping[str, Method]:
    """Return the methods by name: the rows of Table 1 in its order, ViTAU last of them, then what it leaves out.

    Gradient boosting follows autoFPR, whose features it shares.

    Args:
        dinov2_weights: sources of the user's weights; without them fitting ``dinov2`` raises :class:`TrainingError`.
        store: of ``store:`` in the sources.
    """
    methods: list[Method] = [
        lstm(),
        senet(),
        dhn(),
        phcnn(),
        phcnn_lstm(),
        FnpaRcelm(),
        improved_ssd(),
        mobilenet_mesh(),
        fka_gan(),
        autofpr(),
        autofpr_boosted(),
        vgg16(),
        vitau(),
        resnet50(),
        dinov2(dinov2_weights, store),
        landmarks_alone(),
        mirror_difference(),
        clip_attention(),
        IdentityAdversary(),
        Movement(task="palsy"),
    ]
    return MappingProxyType({method.name: method for method in methods})
