"""ViTAU: recognize facial palsy in photos and clips of faces, name the affected regions and their side, and show why."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vitau.scoring.predict import Predictor as Predictor

__version__ = "0.1.0"
__all__ = ["Predictor", "__version__"]


def __getattr__(name: str) -> object:
    """Import `Predictor` on first use, so that `import vitau` alone does not load torch."""
    if name == "Predictor":
        from vitau.scoring.predict import Predictor

        return Predictor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
