from dataclasses import replace

from vitau.baselines.fitting import Settings
from vitau.baselines.recognition.clips.phcnn_lstm import phcnn_lstm


def test_it_learns_eight_people(check_learning):
    method = replace(phcnn_lstm(), settings=Settings(lr=3e-3), num_frames=4)
    check_learning(method, epochs=25, image_px=64, width=0.5)


def test_it_reads_16_frames():
    assert phcnn_lstm().num_frames == 16
