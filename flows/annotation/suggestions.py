"""The champion's latest scores, read from the catalog: neither the model nor the registry is needed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flows.workspace import Workspace
from vitau.schema import AU, AUS


@dataclass(frozen=True, kw_only=True)
class ChampionScores:
    """The name and version of the model that scored last, and its summary of every scored subject."""

    name: str
    summaries: Mapping[str, Mapping[str, Any]]

    def suggestions(self, subject: str) -> dict[AU, float] | None:
        """Return the score of each region, above 0 for affected; ``None`` for a subject not scored or recognized as healthy."""
        regions = self.summaries.get(subject, {}).get("regions") or {}
        return {AU(au): float(region["score"]) for au, region in regions.items()} or None

    def probabilities(self, subject: str) -> NDArray[np.float64] | None:
        """Return the share of frames in which each region is affected, (8,); ``None`` for a subject not scored.

        All shares are 1/2 for a subject recognized as healthy, whose regions were not scored.
        """
        if subject not in self.summaries:
            return None
        regions = self.summaries[subject].get("regions") or {}
        return np.array([float(regions[au]["share_affected"]) if au in regions else 0.5 for au in AUS])


def load_champion_scores(workspace: Workspace) -> ChampionScores | None:
    """Load the scores of the model that scored last; ``None`` if no subject was ever scored."""
    digest = workspace.catalog.last_scored_by()
    if digest is None:
        return None
    merged = workspace.catalog.merged_names()
    summaries = {score.subject: score.summary for score in workspace.catalog.scores(digest) if score.subject not in merged}
    training = workspace.catalog.training_of(digest)
    name = f"{training.model}/{training.version}" if training else f"model {digest[:12]}"
    return ChampionScores(name=name, summaries=summaries)
