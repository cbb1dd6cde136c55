"""Fit a comparison method on one fold and predict the fold's test frames, as a training of ViTAU's recipes does.

Axes: V validation frames, T test frames.
"""

import json
import time

import numpy as np
import pyarrow as pa

from vitau.baselines.fitting import task_frames
from vitau.baselines.method import Budget, Method
from vitau.data.dataset import Crops
from vitau.data.protocols import FrameFold
from vitau.errors import TrainingError
from vitau.training.crossvalidation.fold import predictions

FACTS = b"vitau.fold"
"""Key of the facts of a fit in the metadata of its predictions: ``seconds`` and ``parameters``."""


def fit_fold(method: Method, crops: Crops, fold: FrameFold, budget: Budget, *, seed: int) -> pa.Table:
    """Fit a method on the training people of a fold, and return its predictions of the test frames.

    The method chooses its epoch, and this function calibration and thresholds, on the fold's validation frames.

    Args:
        method: any.
        crops: all frames of the data set.
        fold: of all frames.
        budget: of all methods.
        seed: of the fit.

    Returns:
        A table by :data:`vitau.training.crossvalidation.fold.SCHEMA`, with :data:`FACTS`.

    Raises:
        TrainingError: a part of the fold has no frames for the task, the method cannot be fitted, or a score is not finite.
    """
    valid = task_frames(crops.where(fold.val_N), method.task)
    asked_N = fold.test_N if method.task == "palsy" else fold.test_N & crops.palsied_N & crops.known_NA.any(1)
    test = crops.where(asked_N)
    if not len(valid) or not len(test):
        raise TrainingError(f"a fold has no validation or no test frames for {method.name}: label more people")
    started = time.perf_counter()
    fitted = method.fit(crops.where(fold.train_N), crops.where(fold.val_N), budget, seed=seed)
    score_V, score_T = fitted.predict(valid), fitted.predict(test)
    seconds = time.perf_counter() - started
    if not (np.isfinite(score_V).all() and np.isfinite(score_T).all()):
        raise TrainingError(f"{method.name} gives a score that is not finite: lower its learning rate")
    table = predictions(method.task, valid, score_V, np.flatnonzero(asked_N), score_T)
    facts = {"seconds": round(seconds, 2), "parameters": fitted.num_parameters}
    return table.replace_schema_metadata({FACTS: json.dumps(facts).encode()})
