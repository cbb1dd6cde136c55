from dataclasses import replace

from vitau.baselines.fitting import Settings
from vitau.baselines.recognition.networks.resnet50 import resnet50


def test_it_learns_eight_people(check_learning, few_frames):
    check_learning(replace(resnet50(), settings=Settings(lr=2e-3)), epochs=10, image_px=32, width=0.125, **few_frames)
