"""The shortcut probe: how well the cohort is predicted from how people were recorded, without looking at their faces.

Axes: S people, F nuisance columns, R resamples.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self

import numpy as np

from vitau.evaluation.bootstrap import Array, defined, percentile_interval, resample_weights, with_point_estimate
from vitau.evaluation.measure import NUM_RESAMPLES, decisions
from vitau.evaluation.metrics import Estimate

SEPARATES: Final = 0.9
"""AUROC of the probe from which on the recordings separate the cohorts: a model may have learned the camera, not the palsy."""
NUM_FOLDS: Final = 5
"""Folds of people, and least number of people of each cohort."""
NUM_REPEATS: Final = 10
"""Divisions into folds; their out-of-fold scores are averaged."""
NUM_NAMED: Final = 3
"""Columns that a sentence names."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ShortcutProbe:
    """The result of the probe on the people of a snapshot.

    Attributes:
        auroc: Out-of-fold by person, with a 95 % interval over people.
        num_people: All people.
        num_palsied: Palsied people among them.
        by_column: AUROC of each column alone, in either direction, the largest first.
    """

    auroc: Estimate
    num_people: int
    num_palsied: int
    by_column: Mapping[str, float] = field(default_factory=dict)

    @property
    def separates(self) -> bool:
        """True if the recordings separate the cohorts."""
        return self.auroc.value is not None and self.auroc.value >= SEPARATES

    @property
    def most_telling(self) -> str:
        """The columns that say most alone, such as ``saturation 1.00, codec_vp9 0.97``."""
        return ", ".join(f"{name} {auroc:.2f}" for name, auroc in list(self.by_column.items())[:NUM_NAMED])

    @property
    def warning(self) -> str | None:
        """The sentence that accompanies every score of a model of these people; ``None`` unless the cohorts are separated."""
        if not self.separates:
            return None
        return (
            f"Confounded sources: how people were recorded separates palsied people from the others (shortcut probe, AUROC "
            f"{self.auroc.value:.2f}), so this model may recognize the camera instead of the palsy."
        )

    def to_json(self) -> dict[str, Any]:
        """Return the stored form."""
        return {
            "n_people": self.num_people,
            "n_palsied": self.num_palsied,
            "auroc": self.auroc.value,
            "auroc_interval": None if self.auroc.interval is None else list(self.auroc.interval),
            "by_column": dict(self.by_column),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Read the stored form."""
        interval = document["auroc_interval"]
        return cls(
            auroc=Estimate(value=document["auroc"], interval=None if interval is None else tuple(interval)),
            num_people=document["n_people"],
            num_palsied=document["n_palsied"],
            by_column=document["by_column"],
        )


def probe_shortcuts(names: Sequence[str], value_SF: Array, palsied_S: Array, *, seed: int = 0) -> ShortcutProbe:
    """Predict the cohort of every person from nuisance columns by a logistic regression on the other people.

    The columns are standardized; a missing value counts as the mean of the training people. Both cohorts have equal weight. The
    AUROC is undefined with fewer than 5 people of a cohort.

    Args:
        names: Of the columns.
        value_SF: float, NaN where missing.
        palsied_S: bool.
        seed: Of the folds and of the bootstrap.
    """
    palsied_S = np.asarray(palsied_S, dtype=bool)
    num_people, num_palsied = len(palsied_S), int(palsied_S.sum())
    highest_F = np.where(np.isnan(value_SF), -np.inf, value_SF).max(0, initial=-np.inf)
    varied_F = highest_F > np.where(np.isnan(value_SF), np.inf, value_SF).min(0, initial=np.inf)
    names, value_SF = [name for name, varied in zip(names, varied_F, strict=True) if varied], value_SF[:, varied_F]
    if min(num_palsied, num_people - num_palsied) < NUM_FOLDS:
        return ShortcutProbe(auroc=Estimate(), num_people=num_people, num_palsied=num_palsied)
    score_S = _out_of_fold(value_SF, palsied_S, seed) if names else np.zeros(num_people)
    weight_RS = with_point_estimate(resample_weights(num_people, NUM_RESAMPLES, seed))
    auroc_R = _auroc(palsied_S, score_S, weight_RS)
    alone = {name: _alone(palsied_S, value_S) for name, value_S in zip(names, value_SF.T, strict=True)}
    return ShortcutProbe(
        auroc=Estimate(value=defined(auroc_R[0]), interval=percentile_interval(auroc_R[1:])),
        num_people=num_people,
        num_palsied=num_palsied,
        by_column=dict(sorted(alone.items(), key=lambda item: -item[1])),
    )


def _out_of_fold(value_SF: Array, palsied_S: Array, seed: int) -> Array:
    """Return the mean log-odds of every person by regressions on other people."""
    from sklearn.linear_model import LogisticRegression  # a second, which most commands need not spend
    from sklearn.model_selection import RepeatedStratifiedKFold

    score_S = np.zeros(len(palsied_S))
    folds = RepeatedStratifiedKFold(n_splits=NUM_FOLDS, n_repeats=NUM_REPEATS, random_state=seed)
    for train, test in folds.split(value_SF, palsied_S):
        known_TF = value_SF[train]
        mean_F = np.array([column[~np.isnan(column)].mean() if not np.isnan(column).all() else 0.0 for column in known_TF.T])
        centered_SF = np.where(np.isnan(value_SF), 0.0, value_SF - mean_F)
        scale_F = centered_SF[train].std(0)
        scaled_SF = centered_SF / np.where(scale_F > 0, scale_F, 1.0)
        model = LogisticRegression(class_weight="balanced").fit(scaled_SF[train], palsied_S[train])
        score_S[test] += model.decision_function(scaled_SF[test]) / NUM_REPEATS
    return score_S


def _alone(palsied_S: Array, value_S: Array) -> float:
    """Return the AUROC of one column in either direction, a half if its known values are of one cohort."""
    known_S = ~np.isnan(value_S)
    auroc_1 = _auroc(palsied_S[known_S], value_S[known_S], np.ones((1, int(known_S.sum()))))
    return 0.5 if np.isnan(auroc_1[0]) else float(max(auroc_1[0], 1 - auroc_1[0]))


def _auroc(palsied_S: Array, score_S: Array, weight_RS: Array) -> Array:
    return decisions(palsied_S, score_S > 0, score_S, weight_RS)["auroc"]
