"""Refinement of the 68 points from pixels: brows, lids, nose and lips are localized in aligned patches of each half face."""

from pathlib import Path
from typing import Final

WEIGHTS: Final = Path(__file__).with_name("refinement.safetensors")
"""Our own weights, trained on drawn people by ``python -m vitau.measures.landmarks.training``."""
