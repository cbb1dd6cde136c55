"""Fixture: train a method on eight drawn people."""

import numpy as np
import pytest

from vitau.baselines.fitting import select
from vitau.baselines.method import Budget


@pytest.fixture
def check_learning(eight_people, other_people):
    """Train a method for one step and on eight people until it knows them; return what was fitted last.

    A third of their frames also choose the epoch. The other people are scored, to check the shape and the range of scores.
    """
    choosing = eight_people.where(np.arange(len(eight_people)) % 3 == 0)

    def check(method, *, at_least=0.8, **settings):
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
