"""The weights that come with the package, learned from drawn people."""

import json
from pathlib import Path
from typing import Final

from vitau.asymmetry.model import AsymmetryModel, model_from_json
from vitau.errors import CheckpointError, quoted

WEIGHTS: Final = Path(__file__).with_name("weights.json")
"""Written by ``python -m vitau.asymmetry fit --out weights.json``."""


def load_weights(path: Path | None = None) -> AsymmetryModel:
    """Load a model, by default that of the package.

    Raises:
        CheckpointError: the file is missing, damaged, or made for other features.
    """
    path = path or WEIGHTS
    try:
        return model_from_json(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"the weights {quoted(path)} cannot be loaded ({error}); write them with `fit`") from error
