"""The contributions of movement to a person's score, for tables of scores and the report."""

from typing import Any

from numpy.typing import NDArray

from vitau.asymmetry.explaining.fused import movement_record
from vitau.scoring.predict import Predictor


def contributions(predictor: Predictor, movement_F: NDArray[Any] | None) -> dict[str, Any] | None:
    """Return what movement adds to a person's log-odds of a palsy, as JSON values.

    Args:
        predictor: the model.
        movement_F: features of the person, ``None`` if there were too few frames.

    Returns:
        See :func:`vitau.asymmetry.explaining.fused.movement_record`; an empty record if the network answers alone, and ``None``
        for a model without movement.
    """
    if predictor.recognition_fusion is None:
        return None
    if movement_F is None:
        return {}
    calibration = predictor.rule.calibration
    return movement_record(predictor.recognition_fusion, movement_F, 1.0 if calibration is None else calibration.scale)
