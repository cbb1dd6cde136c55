from dataclasses import replace

from vitau.baselines.fitting import Settings
from vitau.baselines.method import Budget
from vitau.baselines.recognition.clips.phcnn import build_features, phcnn


def test_at_width_1_it_has_four_convolutions_on_parts_of_64_px():
    features = build_features(Budget(epochs=1), 256)
    shapes = [tuple(value.shape) for name, value in features.named_parameters() if value.ndim == 4]
    assert shapes == [(32, 3, 3, 3), (64, 32, 3, 3), (128, 64, 3, 3), (128, 128, 3, 3)]
    assert features.encoder.part_px == 64
    assert features.hidden[0].in_features == 6 * 128
    assert features.num_features == 256


def test_it_learns_eight_people(check_learning):
    check_learning(replace(phcnn(), settings=Settings(lr=3e-3)), epochs=25, image_px=64, width=0.5)
