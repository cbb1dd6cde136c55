from dataclasses import replace

import pytest
import torch

from vitau.baselines.fitting import Settings
from vitau.baselines.recognition.networks.ssd import build_ssd, face_boxes, improved_ssd, score_of


def test_the_box_surrounds_the_landmarks_within_the_image():
    landmarks = torch.tensor([[[64.0, 32.0], [128.0, 200.0]], [[-8.0, 16.0], [300.0, 64.0]]])
    assert face_boxes(landmarks, 64).tolist() == [[16.0, 8.0, 32.0, 50.0], [0.0, 4.0, 64.0, 16.0]]


def test_a_box_outside_the_image_becomes_its_nearest_pixel():
    assert face_boxes(torch.full((1, 68, 2), 300.0), 64).tolist() == [[63.0, 63.0, 64.0, 64.0]]
    assert face_boxes(torch.full((1, 68, 2), -9.0), 64).tolist() == [[0.0, 0.0, 1.0, 1.0]]


def test_the_score_is_that_of_the_best_box():
    def found(*pairs):
        return {"scores": torch.tensor([pair[0] for pair in pairs]), "labels": torch.tensor([pair[1] for pair in pairs])}

    assert score_of(found((0.3, 1), (0.8, 2))).item() == pytest.approx(0.8)
    assert score_of(found((0.9, 1), (0.8, 2))).item() == pytest.approx(0.1)
    assert score_of(found()).item() == 0.5


def test_the_detector_works_at_the_size_of_the_budget():
    assert build_ssd(96).transform.fixed_size == (96, 96)


def test_it_learns_eight_people(check_learning):
    method = replace(improved_ssd(), settings=Settings(lr=6e-3, grad_clip=5.0))
    one_frame = {"tasks": (4,), "frames_per_person": 1, "batch_size": 8}
    check_learning(method, epochs=25, image_px=32, at_least=0.6, **one_frame)
