"""The registered model as an MLflow model: images in, one row per face out.

MLflow executes this file (models from code) instead of loading a pickle. It needs the packages of its requirements, not this
repository.
"""

import logging
from collections.abc import Mapping
from typing import Any, Final

import mlflow
import pandas as pd
from mlflow.pyfunc import PythonModel

from vitau.errors import ClipError
from vitau.media.inputs import RecordingOptions
from vitau.schema import SCORE_COLUMNS
from vitau.scoring.predict import Predictor

BUNDLE: Final = "bundle"
"""Name of the artifact with the model folder."""

logger = logging.getLogger(__name__)


class FaceScorer(PythonModel):
    """Detects, aligns and scores faces.

    Input: a DataFrame with ``image`` (encoded bytes of a photo) or ``path`` (of a photo or a clip) in each row, and optionally
    ``mirrored``, ``start_s``, ``end_s`` and ``fps``, the attributes of :class:`RecordingOptions`. Output: a DataFrame of
    ``SCORE_COLUMNS``, one row per usable face; ``input`` is the path, or the position of the row. An input that cannot be read
    or has no usable face has no row, and a warning in the log of ``vitau.scoring``.
    """

    def load_context(self, context: Any) -> None:
        """Load the model folder."""
        self.predictor = Predictor(context.artifacts[BUNDLE])

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Score every row; ``params={"analyse_all": True}`` analyzes the regions of healthy faces too."""
        del context
        analyse_all = bool((params or {}).get("analyse_all", False))
        rows: list[dict[str, Any]] = []
        for position, row in enumerate(model_input.to_dict("records")):
            try:
                rows += self._score(position, row, analyse_all=analyse_all)
            except (ClipError, ValueError) as error:
                logger.warning("input %d has no scores: %s", position, error)
        return pd.DataFrame(rows, columns=list(SCORE_COLUMNS))

    def _score(self, position: int, row: dict[str, Any], *, analyse_all: bool) -> list[dict[str, Any]]:
        data, path = row.get("image"), row.get("path")
        if not isinstance(data, bytes) and not isinstance(path, str):
            raise ClipError("the row has neither image bytes nor a path; give one of them")
        source: Any = data if isinstance(data, bytes) else path
        name = str(position) if isinstance(data, bytes) else None
        faces = self.predictor.score(source, name, analyse_all=analyse_all, options=recording_options(row))
        return [face.row for face in faces]


def recording_options(row: Mapping[str, Any]) -> RecordingOptions:
    """Read the options of a row; a missing column or value is the default.

    Raises:
        ValueError: the range is empty, or a number is negative or not finite.
    """
    numbers = {name: float(row[name]) for name in ("start_s", "end_s", "fps") if not pd.isna(row.get(name))}
    mirrored = row.get("mirrored")
    return RecordingOptions(mirrored=not pd.isna(mirrored) and bool(mirrored), **numbers)


mlflow.models.set_model(FaceScorer())
