"""The champion's latest scores, read from the catalog: neither the model nor the registry is needed."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flows.workspace import Workspace
from vitau.catalog.catalog import Training
from vitau.catalog.promotion_log import approved_versions
from vitau.evaluation.promotion.policy import find_policy
from vitau.schema import AU, AUS, Cohort, Protocol, Split, person_of


@dataclass(frozen=True, kw_only=True)
class ChampionScores:
    """The name and version of the model that scored last, and its summary of every scored subject.

    Readers may see the scores of the ``suggestible`` people only, whose labels judge no model.
    """

    name: str
    summaries: Mapping[str, Mapping[str, Any]]
    suggestible: frozenset[str]

    def suggestions(self, subject: str) -> dict[AU, float] | None:
        """Return the score of each region to show to a reader, above 0 for affected.

        ``None`` for a subject who judges models or may come to judge them, is not scored, or was recognized as healthy.
        """
        if person_of(subject) not in self.suggestible:
            return None
        regions = self.summaries.get(person_of(subject), {}).get("regions") or {}
        return {AU(au): float(region["score"]) for au, region in regions.items()} or None

    def probabilities(self, subject: str) -> NDArray[np.float64] | None:
        """Return the share of frames in which each region is affected, (8,); ``None`` for a subject not scored.

        All shares are 1/2 for a subject recognized as healthy, whose regions were not scored.
        """
        if person_of(subject) not in self.summaries:
            return None
        regions = self.summaries[person_of(subject)].get("regions") or {}
        return np.array([float(regions[au]["share_affected"]) if au in regions else 0.5 for au in AUS])


def load_champion_scores(workspace: Workspace) -> ChampionScores | None:
    """Load the scores of the model that scored last; ``None`` if no subject was ever scored by an approved model."""
    digest = workspace.catalog.last_scored_by()
    if digest is None:
        return None
    training = workspace.catalog.training_of(digest)
    if not is_approved(workspace, training):
        return None
    merged = workspace.catalog.merged_names()
    summaries = {score.subject: score.summary for score in workspace.catalog.scores(digest) if score.subject not in merged}
    name = f"{training.model}/{training.version}" if training else f"model {digest[:12]}"
    return ChampionScores(name=name, summaries=summaries, suggestible=suggestible_people(workspace))


def suggestible_people(workspace: Workspace) -> frozenset[str]:
    """Return the people whose scores readers may see: those recorded for training or validation.

    The labels of test people judge champions, so that a suggestion would let a model judge itself. A person without a split may
    still come into the test split. Where people are left out one at a time, everyone judges, and nobody is left.
    """
    settings = workspace.settings
    cohorts = {subject.pseudonym: subject.cohort for subject in workspace.catalog.subjects()}
    splits = workspace.catalog.splits()
    held_out = Counter(cohorts.get(subject) for subject, split in splits.items() if split is Split.TEST)
    enough = min(held_out[cohort] for cohort in (Cohort.PALSY, Cohort.CONTROL)) >= find_policy(settings.policy).min_people
    if settings.protocol == Protocol.LOPO.value or not (enough or settings.protocol == Protocol.SUBJECTS.value):
        return frozenset()
    return frozenset(subject for subject, split in splits.items() if split is not Split.TEST)


def is_approved(workspace: Workspace, training: Training | None) -> bool:
    """Return whether a signed record made this version champion; true for any before the first record.

    Raises:
        SettingsError: There are records, and no key to verify them.
    """
    records = workspace.catalog.promotions()
    if not records or (training is not None and all(record.model != training.model for record in records)):
        return True
    return training is not None and training.version in approved_versions(records, training.model, workspace.signing_key())
