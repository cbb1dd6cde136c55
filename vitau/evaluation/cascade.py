"""Metrics of the whole cascade: recognition first, then the regions of the people that it judges palsied.

The metrics of the regions alone are of palsied people. In use, recognition may miss a palsied person, whose regions are then
not analyzed, and may send a healthy one to the region model. Here both count: a region that is not analyzed is not found, and
a region of a control that is called affected is a false alarm.
"""

from dataclasses import fields
from typing import Final

import numpy as np

from vitau.evaluation.bootstrap import Array, defined, percentile_interval, resample_weights, weighted_mean
from vitau.evaluation.measure import NUM_RESAMPLES, region_metrics
from vitau.evaluation.metrics import UNDEFINED, CascadeMetrics, Estimate
from vitau.evaluation.promotion.held_out import Answers, HeldOut
from vitau.schema import Protocol

NOT_ANALYZED: Final = -2.0
"""Score of the regions of a person without a recognized palsy, below every score of a region."""


def cascade_metrics(
    people: HeldOut,
    answers: Answers,
    *,
    protocol: Protocol = Protocol.SUBJECTS,
    seed: int = 0,
    num_resamples: int = NUM_RESAMPLES,
) -> CascadeMetrics:
    """Compute how well the regions of all people are found by both models together.

    Args:
        people: The truth; no region of a person without a palsy is affected.
        answers: Scores of a bundle with regions, those of the regions of all people.
        protocol: How people were split.
        seed: Of the bootstrap.
        num_resamples: Number of resamples of people.

    Raises:
        ValueError: The answers are of recognition alone.
    """
    if answers.region_SA is None:
        raise ValueError("these answers are of recognition alone; a cascade has regions")
    palsied_S, recognized_S = np.asarray(people.palsied_S, bool), np.asarray(answers.palsy_S >= answers.threshold)
    score_SA = np.where(recognized_S[:, None], answers.region_SA, NOT_ANALYZED)
    regions = region_metrics(
        people.subjects,
        people.affected_SA & palsied_S[:, None],
        score_SA,
        people.known_SA | ~palsied_S[:, None],
        protocol=protocol,
        seed=seed,
        num_resamples=num_resamples,
    )
    weight_RS = resample_weights(len(people.subjects), num_resamples, seed)
    return CascadeMetrics(
        **{field.name: getattr(regions, field.name) for field in fields(regions)},
        num_palsied=int(palsied_S.sum()),
        false_alarms=_share(np.asarray((score_SA > 0).any(1)), ~palsied_S, weight_RS),
        missed=_share(~recognized_S, palsied_S, weight_RS),
    )


def _share(event_S: Array, among_S: Array, weight_RS: Array) -> Estimate:
    """Return the share of some people with an event, with its interval over people."""
    if not among_S.any():
        return UNDEFINED
    value = defined(float(event_S[among_S].mean()))
    interval = percentile_interval(weighted_mean(weight_RS[:, among_S], event_S[among_S].astype(float)))
    return Estimate(value=value, interval=interval)
