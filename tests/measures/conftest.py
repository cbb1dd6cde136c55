"""Fixtures: series of drawn people from their exact landmarks. No picture is drawn, so that a person takes milliseconds."""

import numpy as np
import pytest

from vitau.measures.geometry import measure_points
from vitau.measures.results import Series
from vitau.media.synthetic.drawing import draw_landmarks
from vitau.media.synthetic.people import TASKS, draw_person


def _series_of(columns, *, time_s=None, task=None, part=None, usable=None):
    length = len(next(iter(columns.values())))
    return Series(
        item="person",
        frame_index=np.arange(length),
        time_s=np.arange(length) / 6 if time_s is None else np.asarray(time_s),
        part=np.zeros(length, dtype=np.int64) if part is None else np.asarray(part),
        task=(None,) * length if task is None else tuple(task),
        columns=columns,
        points=np.zeros((length, 68, 2), dtype=np.float32),
        usable=np.ones(length, dtype=bool) if usable is None else np.asarray(usable),
        frame_size=(640, 480),
    )


def _drawn_series(seed, index, *, palsied=None, order=TASKS, **options):
    """Return a person and the series of a recording as ``vitau synth`` writes it: two frames of each task."""
    person = draw_person(seed, index, palsied)
    rng = np.random.default_rng([seed, index, 4])
    points = [
        draw_landmarks(person, task, float((number + 1) / 2 + rng.uniform(-0.1, 0)), rng)
        for task in order
        for number in range(2)
    ]
    return person, _series_of(measure_points(np.stack(points)), **options)


@pytest.fixture
def series_of():
    """Build a series from columns of measures."""
    return _series_of


@pytest.fixture
def drawn_series():
    """Draw a person, and build the series of a recording with two frames of each task."""
    return _drawn_series
