"""Fixture: train a method on eight drawn people."""

import numpy as np
import pytest

from vitau.baselines.fitting import select
from vitau.baselines.method import Budget
from vitau.media.synthetic.people import TASKS


@pytest.fixture
def all_frames(eight_people):
    """All frames of the eight people, 7 each."""
    return eight_people


@pytest.fixture
def check_learning(all_frames, other_people):
    """Train a method for one step and on eight people until it knows them; return what was fitted last.

    A third of their frames also choose the epoch; with `tasks`, the frames of these tasks alone are learned, and choose. The
    other people are scored, to check the shape and the range of scores.
    """

    def check(method, *, at_least=0.8, tasks=None, **settings):
        task_N = np.arange(len(all_frames)) % len(TASKS)
        eight_people = all_frames if tasks is None else all_frames.where(np.isin(task_N, tasks))
        choosing = all_frames.where(np.arange(len(all_frames)) % 3 == 0) if tasks is None else eight_people
        one_step = Budget(**settings | {"epochs": 1, "batch_size": 64})
        first = method.fit(eight_people, other_people, one_step, seed=0).predict(other_people)
        fitted = method.fit(eight_people, choosing, Budget(**settings), seed=0)
        scores = fitted.predict(other_people)
        for values in (first, scores):
            assert values.shape == (len(other_people),)
            assert values.dtype == np.float32
            assert (values >= 0).all()
            assert (values <= 1).all()
        assert fitted.num_parameters > 0
        learned = select(fitted.predict(eight_people), eight_people, "palsy")
        assert learned > at_least, f"AUROC less Brier score on its own people is {learned:.3f}"
        return fitted

    return check


@pytest.fixture
def few_frames():
    """Settings of `check_learning` with three frames of each person: a network learns them by heart in seconds."""
    return {"tasks": (0, 1, 4), "frames_per_person": 3, "batch_size": 12}
