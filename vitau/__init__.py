"""ViTAU: facial palsy from clips of faces: recognised, its regions named, the evidence shown."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vitau.scoring.predict import Predictor as Predictor

__version__ = "0.1.0"
__all__ = ["Predictor", "__version__"]


def __getattr__(name: str) -> object:
    """Import what is heavy when it is first asked for: `import vitau` alone costs nothing."""
    if name == "Predictor":
        from vitau.scoring.predict import Predictor

        return Predictor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
