"""What the champion says of people, as the last scoring left it in the catalog: no model is loaded and no registry asked."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flows.workspace import Workspace
from vitau.schema import AU, AUS


@dataclass(frozen=True, kw_only=True)
class Champion:
    """The model that scored somebody last, under its name and version, and the summary of everybody whom it scored."""

    name: str
    summaries: Mapping[str, Mapping[str, Any]]

    def suggestions(self, subject: str) -> dict[AU, float] | None:
        """Return the score of each region, above 0 for affected; ``None`` for a person not scored, or judged healthy."""
        regions = self.summaries.get(subject, {}).get("regions") or {}
        return {AU(au): float(region["score"]) for au, region in regions.items()} or None

    def probabilities(self, subject: str) -> NDArray[np.float64] | None:
        """Return the share of frames that call each region affected, (8,), ``None`` for a person not scored.

        1/2 everywhere for a patient whom recognition judged healthy: the regions were not looked at.
        """
        if subject not in self.summaries:
            return None
        regions = self.summaries[subject].get("regions") or {}
        return np.array([float(regions[au]["share_affected"]) if au in regions else 0.5 for au in AUS])


def scored_champion(workspace: Workspace) -> Champion | None:
    """Find what the last scoring said; ``None`` if nobody was ever scored."""
    digest = workspace.catalog.last_scored_by()
    if digest is None:
        return None
    names = workspace.catalog.merged_names()
    summaries = {each.subject: each.summary for each in workspace.catalog.scores(digest) if each.subject not in names}
    training = workspace.catalog.training_of(digest)
    name = f"{training.model}/{training.version}" if training else f"model {digest[:12]}"
    return Champion(name=name, summaries=summaries)
