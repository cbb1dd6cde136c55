"""The choice of a landmark backend by name."""

import os
from pathlib import Path
from typing import Final

from vitau.errors import quoted
from vitau.measures.landmarks.backend import LandmarkBackend
from vitau.measures.landmarks.predictors import SETTING, DlibBackend, ShapePredictorBackend
from vitau.measures.landmarks.tables import TableBackend

BACKENDS: Final = ("dlib", "refined", "shape_predictor", "csv")
"""Names of the backends."""


def open_backend(name: str | None = None, *, table: Path | None = None, shape_predictor: Path | None = None) -> LandmarkBackend:
    """Open a landmark backend.

    Args:
        name: one of ``BACKENDS``; by default ``csv`` with a table, ``shape_predictor`` with a predictor or the setting
            ``VITAU_SHAPE_PREDICTOR``, else the best of our own.
        table: CSV with points, for ``csv``.
        shape_predictor: file of dlib, for ``shape_predictor``; by default the environment's ``VITAU_SHAPE_PREDICTOR``.

    Raises:
        ValueError: an unknown name, a missing argument, or a file that is no shape predictor.
        SourceError: the table cannot be read.
        CheckpointError: the weights of the refinement cannot be loaded.
    """
    setting = os.environ.get(SETTING, "")
    predictor = shape_predictor or (Path(setting) if setting else None)
    if name is None:
        name = "csv" if table is not None else "shape_predictor" if predictor is not None else "refined"
    if name == "csv":
        if table is None:
            raise ValueError("the landmarks csv need a table of points; give its path")
        return TableBackend(table)
    if name == "shape_predictor":
        if predictor is None:
            raise ValueError(f"the landmarks shape_predictor need a file of dlib; set {SETTING} to its path")
        return ShapePredictorBackend(predictor)
    if name == "dlib":
        return DlibBackend()
    if name == "refined":
        from vitau.measures.landmarks.refinement.refined import RefinedBackend

        return RefinedBackend()
    raise ValueError(f"there are no landmarks {quoted(name)!r}; give one of {', '.join(BACKENDS)}")
