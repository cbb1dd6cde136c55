from dataclasses import replace

from vitau.baselines.fitting import Settings
from vitau.baselines.recognition.networks.senet import senet


def test_it_learns_eight_people(check_learning, few_frames):
    check_learning(replace(senet(), settings=Settings(lr=2e-3)), epochs=12, image_px=32, width=0.125, **few_frames)
