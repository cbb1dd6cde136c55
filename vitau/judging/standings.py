"""The standings of a benchmark: metrics per judge, style and difficulty, with intervals over people.

A person who is not judged counts as neither right nor wrong in the AUROC, and as no alarm in sensitivity and specificity.

Axes: S people, R resamples, A regions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from vitau.evaluation.bootstrap import Array, defined, percentile_interval, resample_weights, weighted_mean, with_point_estimate
from vitau.evaluation.measure import auroc_within
from vitau.evaluation.metrics import Estimate
from vitau.judging.benchmark import Judged
from vitau.judging.difficulties import DIFFICULTIES
from vitau.judging.judges import JUDGED, Outcome
from vitau.media.synthetic.values import OUT_OF_STYLE, Style
from vitau.schema import AUS

NUM_RESAMPLES: Final = 1000
IN_STYLE: Final = "in style"
OUTSIDE: Final = "out of style"
METRICS: Final = ("auroc", "sensitivity", "specificity", "side", "regions")


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """The metrics of a judge on some cases.

    ``side`` is the share of judged palsied people whose side is named correctly. ``regions`` is the mean AUROC over the regions
    within palsied people, undefined for a judge without regions.
    """

    judge: str
    style: str
    difficulty: str
    num_people: int
    num_judged: int
    auroc: Estimate
    sensitivity: Estimate
    specificity: Estimate
    side: Estimate
    regions: Estimate

    def record(self) -> dict[str, Any]:
        """Return the standing as JSON values."""
        row: dict[str, Any] = {
            name: getattr(self, name) for name in ("judge", "style", "difficulty", "num_people", "num_judged")
        }
        for name in METRICS:
            found: Estimate = getattr(self, name)
            row[name] = None if found.value is None else round(found.value, 4)
            row[f"{name}_interval"] = None if found.interval is None else [round(end, 4) for end in found.interval]
        return row


def standings(judge: str, judged: Sequence[Judged]) -> list[Standing]:
    """Return the metrics in style, out of style and in each style, over all people and per difficulty."""
    groups = {IN_STYLE: (Style.PAINTED,), OUTSIDE: OUT_OF_STYLE, **{style.value: (style,) for style in OUT_OF_STYLE}}
    rows = []
    for name, styles in groups.items():
        for difficulty in ("all", *(one.name for one in DIFFICULTIES)):
            own = [one for one in judged if one.case.style in styles and difficulty in ("all", one.case.difficulty.name)]
            if own:
                rows.append(standing(judge, name, difficulty, own))
    return rows


def standing(judge: str, style: str, difficulty: str, judged: Sequence[Judged]) -> Standing:
    """Compute the metrics of one group; a person in two styles is resampled as one person."""
    people, person_S = np.unique([one.case.index for one in judged], return_inverse=True)
    weight_RS = with_point_estimate(resample_weights(len(people), NUM_RESAMPLES, seed=0))[:, person_S]
    truth_S = np.array([one.palsied for one in judged])
    alarm_S = np.array([one.outcome is Outcome.ALARM for one in judged])
    known_S = np.array([one.outcome in JUDGED for one in judged])
    score_S = np.array([np.nan if one.score is None else one.score for one in judged])
    sided_S = np.array([one.side is not None and one.palsied for one in judged])
    right_S = np.array([one.side == one.true_side for one in judged])
    return Standing(
        judge=judge,
        style=style,
        difficulty=difficulty,
        num_people=len(people),
        num_judged=len({one.case.index for one, known in zip(judged, known_S, strict=True) if known}),
        auroc=_estimate(_auroc(truth_S[known_S], score_S[known_S], weight_RS[:, known_S])),
        sensitivity=_estimate(_share(alarm_S, truth_S, weight_RS)),
        specificity=_estimate(_share(~alarm_S, ~truth_S, weight_RS)),
        side=_estimate(_share(right_S, sided_S, weight_RS)),
        regions=_estimate(_region_auroc(judged, weight_RS)),
    )


def _auroc(truth_S: Array, score_S: Array, weight_RS: Array) -> Array:
    if not len(truth_S):
        return np.full(len(weight_RS), np.nan)
    return auroc_within(truth_S, score_S, np.zeros(len(truth_S), dtype=int), weight_RS)


def _share(right_S: Array, among_S: Array, weight_RS: Array) -> Array:
    return weighted_mean(weight_RS[:, among_S], right_S[among_S].astype(float))


def _region_auroc(judged: Sequence[Judged], weight_RS: Array) -> Array:
    scored_S = np.array([bool(one.regions) and one.palsied for one in judged])
    own = [one for one, scored in zip(judged, scored_S, strict=True) if scored]
    if not own:
        return np.full(len(weight_RS), np.nan)
    found_AR = np.stack(
        [
            _auroc(
                np.array([au in one.affected for one in own]),
                np.array([one.regions[au] for one in own]),
                weight_RS[:, scored_S],
            )
            for au in AUS
        ]
    )
    known_AR = np.isfinite(found_AR)
    mean_R: Array = np.full(found_AR.shape[1], np.nan)
    np.divide(np.where(known_AR, found_AR, 0).sum(0), known_AR.sum(0), out=mean_R, where=known_AR.any(0))
    return mean_R


def _estimate(value_R: Array) -> Estimate:
    value = defined(value_R[0])
    return Estimate(value=value, interval=None if value is None else percentile_interval(value_R[1:]))
