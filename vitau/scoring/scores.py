"""A scored face: its row of the score table, and the same as values with names."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitau.schema import AU, AUS


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ScoredFace:
    """One face with its row of ``SCORE_COLUMNS`` and the crop (256, 256, 3) uint8 RGB that was scored."""

    row: dict[str, Any]
    crop: NDArray[np.uint8]

    @property
    def palsy_score(self) -> float:
        """Probability of a palsy, 0 to 1."""
        return float(self.row["palsy_score"])

    @property
    def palsied(self) -> bool:
        """Whether the probability reaches the model's threshold."""
        return bool(self.row["palsied"])

    @property
    def regions(self) -> dict[AU, float]:
        """The scores of the regions, −1 to 1, affected above 0; empty where the region model was not asked."""
        return {au: float(self.row[au]) for au in AUS if self.row[au] is not None}

    @property
    def right_side(self) -> float | None:
        """Probability that the person's right is the affected side; ``None`` unless a sided model was asked."""
        right: float | None = self.row["right_side"]
        return right

    @property
    def sides(self) -> dict[AU, tuple[float, float]]:
        """Probabilities that the right and the left of each region are affected; empty unless a sided model was asked."""
        pairs = {au: (self.row[f"{au}_right"], self.row[f"{au}_left"]) for au in AUS}
        return {au: (float(right), float(left)) for au, (right, left) in pairs.items() if right is not None}
