"""Compute metrics by person, each with an interval from a bootstrap over people.

Frames of one person are not independent, so a person counts once: a person's score is the mean over the person's frames, of
recognition by a calibrated model the mean of log-odds (:mod:`vitau.evaluation.decision`).
AUROC is the Mann–Whitney statistic (Hanley and McNeil, Radiology 1982). ECE is the binned calibration error of Guo et al.
(ICML 2017). The tests compare all of them to scikit-learn. They are vectorized over many weighted resamples.

Axes: N frames, S people, K questions, R resamples.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from vitau.evaluation.bootstrap import (
    Array,
    defined,
    mean_of_defined,
    percentile_interval,
    ratio,
    resample_weights,
    with_point_estimate,
)
from vitau.evaluation.metrics import (
    DECISION_METRICS,
    UNDEFINED,
    DecisionMetrics,
    Estimate,
    PalsyMetrics,
    RegionDecisionMetrics,
    RegionMetrics,
    RegionSideMetrics,
    SideMetrics,
    SourceMetrics,
    WithinSource,
)
from vitau.evaluation.rates import NUM_BINS, average_precision, count_outcomes, rates
from vitau.evaluation.subjects import by_subject
from vitau.schema import AUS, PAPER_AUS, Protocol

NUM_RESAMPLES: Final = 2000


def palsy_metrics(  # noqa: PLR0913 - the scores, and how they are averaged, decided and resampled
    subjects: Sequence[str],
    palsied: Array,
    score: Array,
    *,
    threshold: float | Array = 0.5,
    averages_log_odds: bool = False,
    source: Array | None = None,
    protocol: Protocol = Protocol.SUBJECTS,
    seed: int = 0,
    num_resamples: int = NUM_RESAMPLES,
) -> PalsyMetrics:
    """Compute how well recognition separates palsied people from others.

    Args:
        subjects: N pseudonyms, one per frame.
        palsied: (N,) bool.
        score: (N,) probability of a palsy, 0 to 1.
        threshold: A person is classified as palsied if the mean score is at or above it. An array (N,) has one for each frame,
            of the model that predicted it; then the mean over a person's frames counts.
        averages_log_odds: The mean score is that of the mean log-odds.
        source: (N,) names of the sources, for the metrics within a source; a person's first one counts.
        protocol: How people were split; recorded in the result.
        seed: Of the bootstrap.
        num_resamples: Number of resamples of people.
    """
    people = by_subject(subjects, palsied, score, averages_log_odds=averages_log_odds)
    own = threshold if np.ndim(threshold) == 0 else by_subject(subjects, palsied, np.asarray(threshold)).score_SK[:, 0]
    within = None
    if source is not None:
        _, first_S = np.unique(np.asarray(subjects, dtype=str), return_index=True)
        source_S = np.asarray(source, dtype=str)[first_S]
        within = within_source(people.truth_SK[:, 0], people.score_SK[:, 0], source_S, own, seed, num_resamples)
    return PalsyMetrics(
        **_binary(people.truth_SK[:, 0], people.score_SK[:, 0], own, seed, num_resamples),
        within_source=within,
        protocol=protocol,
        num_frames=len(subjects),
        num_palsied=int(people.truth_SK.sum()),
        threshold=float(np.mean(own)),
    )


def region_metrics(  # noqa: PLR0913 (all but the first three have defaults)
    subjects: Sequence[str],
    affected: Array,
    score: Array,
    known: Array | None = None,
    *,
    threshold: float = 0.0,
    scale: float | None = None,
    protocol: Protocol = Protocol.SUBJECTS,
    seed: int = 0,
    num_resamples: int = NUM_RESAMPLES,
) -> RegionMetrics:
    """Compute how well the affected regions of palsied people are found.

    Args:
        subjects: N pseudonyms, one per frame, of palsied people only.
        affected: (N, 8) bool in the order of ``AUS``.
        score: (N, 8) mean of the heatmap, −1 to 1.
        known: (N, 8) bool, False where there is no label; all known by default.
        threshold: A region is classified as affected if the mean score is above it.
        scale: Slope of the logistic curve from the mean score to a probability, fitted on other people.
        protocol: How people were split; recorded in the result.
        seed: Of the bootstrap.
        num_resamples: Number of resamples of people.
    """
    people = by_subject(subjects, affected, score, known)
    num_people = len(people.subjects)
    weight_RS = resample_weights(num_people, num_resamples, seed)
    points, spreads, by_au = [], [], {}
    for column, au in enumerate(AUS):
        known_S = people.known_SK[:, column]
        truth_S, score_S = people.truth_SK[known_S, column], people.score_SK[known_S, column]
        called_S = score_S > threshold
        probability_S = None if scale is None else 1 / (1 + np.exp(-scale * (score_S - threshold)))
        points.append(_region(truth_S, called_S, score_S, probability_S, np.ones((1, len(truth_S)))))
        spreads.append(_region(truth_S, called_S, score_S, probability_S, weight_RS[:, known_S]))
        by_au[au] = RegionDecisionMetrics(
            **_estimates(points[-1], spreads[-1]), num_subjects=len(truth_S), num_affected=int(truth_S.sum())
        )
    return RegionMetrics(
        **_means(points, spreads),
        protocol=protocol,
        num_subjects=num_people,
        num_frames=len(subjects),
        threshold=float(threshold),
        scale=scale,
        regions_without_auroc=sum(bool(np.isnan(point["auroc"]).any()) for point in points),
        mean_of_paper_7=DecisionMetrics(**_means(points[-len(PAPER_AUS) :], spreads[-len(PAPER_AUS) :], DECISION_METRICS)),
        by_au=by_au,
    )


def side_metrics(
    subjects: Sequence[str], sided: Array, right: Array, *, seed: int = 0, num_resamples: int = NUM_RESAMPLES
) -> SideMetrics:
    """Compute how well the affected side of the face is named, over the people with exactly one affected side.

    The threshold is a half. All metrics are undefined if no person has exactly one affected side.

    Args:
        subjects: N pseudonyms, one per frame.
        sided: (N, 8, 2) bool, which regions are affected on the person's right and left.
        right: (N,) probability that the right is the affected side, 0 to 1.
        seed: Of the bootstrap.
        num_resamples: Number of resamples of people.
    """
    side_N2 = np.asarray(np.asarray(sided).any(1))
    chosen_N = side_N2.sum(1) == 1
    if not chosen_N.any():
        return SideMetrics(num_subjects=0, num_right=0, num_frames=0)
    chosen = [subject for subject, is_chosen in zip(subjects, chosen_N, strict=True) if is_chosen]
    people = by_subject(chosen, side_N2[chosen_N, 0], np.asarray(right)[chosen_N])
    return SideMetrics(
        **_binary(people.truth_SK[:, 0], people.score_SK[:, 0], 0.5, seed, num_resamples),
        protocol=Protocol.SUBJECTS,
        num_frames=len(chosen),
        num_right=int(people.truth_SK.sum()),
    )


def region_side_metrics(
    subjects: Sequence[str],
    sided: Array,
    probability: Array,
    known: Array,
    *,
    seed: int = 0,
    num_resamples: int = NUM_RESAMPLES,
) -> RegionSideMetrics:
    """Compute how well the sides of all regions are named together; the bootstrap is over people, not over sides.

    Args:
        subjects: N pseudonyms, one per frame.
        sided: (N, 8, 2) bool, which regions are affected on the person's right and left.
        probability: (N, 8, 2) that they are.
        known: (N, 8) bool, False where the sides have no label.
        seed: Of the bootstrap.
        num_resamples: Number of resamples of people.
    """
    num_frames, num_regions, _ = np.shape(sided)
    flat = (np.asarray(values).reshape(num_frames, -1) for values in (sided, probability, np.repeat(known, 2, axis=1)))
    people = by_subject(subjects, *flat)
    shape = (len(people.subjects), num_regions, 2)
    truth_SA2, score_SA2, known_SA2 = (values.reshape(shape) for values in (people.truth_SK, people.score_SK, people.known_SK))
    one_SA = known_SA2[..., 0] & (truth_SA2.sum(-1) == 1)
    named_SA = (score_SA2[..., 0] > score_SA2[..., 1]) == truth_SA2[..., 0]
    bin_SA2 = np.minimum((score_SA2 * NUM_BINS).astype(int), NUM_BINS - 1)
    gap_SB = np.stack([((truth_SA2 - score_SA2) * (known_SA2 & (bin_SA2 == b))).sum((1, 2)) for b in range(NUM_BINS)], axis=1)
    num_S, num_one_S = known_SA2.sum((1, 2)), one_SA.sum(1)
    hits_S = (((score_SA2 > 0.5) == truth_SA2) & known_SA2).sum((1, 2))
    error_S = ((truth_SA2 - score_SA2) ** 2 * known_SA2).sum((1, 2))
    point, spread = (
        {
            "accuracy": ratio(weight_RS @ hits_S, weight_RS @ num_S),
            "named": ratio(weight_RS @ (named_SA & one_SA).sum(1), weight_RS @ num_one_S),
            "ece": ratio(np.abs(weight_RS @ gap_SB).sum(1), weight_RS @ num_S),
            "brier": ratio(weight_RS @ error_S, weight_RS @ num_S),
        }
        for weight_RS in (np.ones((1, len(num_S))), resample_weights(len(num_S), num_resamples, seed))
    )
    return RegionSideMetrics(
        **_estimates(point, spread),
        protocol=Protocol.SUBJECTS,
        num_subjects=len(people.subjects),
        num_frames=len(subjects),
        num_sides=int(num_S.sum()),
        num_one_sided=int(num_one_S.sum()),
    )


def decisions(truth_S: Array, called_S: Array, score_S: Array, weight_RS: Array) -> dict[str, Array]:
    """Compute ``DECISION_METRICS`` for R weightings of the people: each (R,), NaN where undefined."""
    score_P, score_Q = score_S[truth_S, None], score_S[None, ~truth_S]
    above_PQ = (score_P > score_Q) + 0.5 * (score_P == score_Q)
    positive_RP, negative_RQ = weight_RS[:, truth_S], weight_RS[:, ~truth_S]
    return {
        **rates(weight_RS @ count_outcomes(truth_S, called_S)),
        "auroc": ratio(((positive_RP @ above_PQ) * negative_RQ).sum(1), positive_RP.sum(1) * negative_RQ.sum(1)),
        "average_precision": average_precision(truth_S, score_S, weight_RS),
    }


def within_source(
    truth_S: Array, score_S: Array, source_S: Array, threshold: float | Array, seed: int = 0, num_resamples: int = NUM_RESAMPLES
) -> WithinSource | None:
    """Compute the metrics on the people of the sources with both cohorts; ``None`` if all people are of one source."""
    sources = np.unique(source_S).tolist()
    if len(sources) < 2:
        return None
    weight_RS = with_point_estimate(resample_weights(len(truth_S), num_resamples, seed))
    called_S = score_S >= threshold
    by_source, mixed_S = {}, np.zeros(len(truth_S), dtype=bool)
    for name in sources:
        own_S = source_S == name
        if len(np.unique(truth_S[own_S])) == 2:
            mixed_S |= own_S
            found = decisions(truth_S[own_S], called_S[own_S], score_S[own_S], weight_RS[:, own_S])
            num_subjects, num_palsied = int(own_S.sum()), int(truth_S[own_S].sum())
            by_source[name] = SourceMetrics(num_subjects=num_subjects, num_palsied=num_palsied, **_split_estimates(found))
    if not by_source:
        return WithinSource(num_sources=len(sources), by_source={})
    truth_M, score_M, weight_RM = truth_S[mixed_S], score_S[mixed_S], weight_RS[:, mixed_S]
    found = decisions(truth_M, called_S[mixed_S], score_M, weight_RM)
    found["auroc"] = auroc_within(truth_M, score_M, source_S[mixed_S], weight_RM)
    return WithinSource(**_split_estimates(found), num_sources=len(sources), by_source=by_source)


def auroc_within(truth_S: Array, score_S: Array, group_S: Array, weight_RS: Array) -> Array:
    """Compute the AUROC over pairs of people of the same group for R weightings of the people: (R,)."""
    score_P, score_Q = score_S[truth_S, None], score_S[None, ~truth_S]
    same_PQ = group_S[truth_S, None] == group_S[None, ~truth_S]
    above_PQ = ((score_P > score_Q) + 0.5 * (score_P == score_Q)) * same_PQ
    positive_RP, negative_RQ = weight_RS[:, truth_S], weight_RS[:, ~truth_S]
    return ratio(((positive_RP @ above_PQ) * negative_RQ).sum(1), ((positive_RP @ same_PQ) * negative_RQ).sum(1))


def calibration(truth_S: Array, score_S: Array, weight_RS: Array) -> dict[str, Array]:
    """Compute ECE (equal-width bins) and Brier score for R weightings of the people: each (R,)."""
    bin_S = np.minimum((score_S * NUM_BINS).astype(int), NUM_BINS - 1)
    in_bin_SB = bin_S[:, None] == np.arange(NUM_BINS)
    gap_RB = np.abs(weight_RS @ (in_bin_SB * (truth_S - score_S)[:, None]))
    total_R = weight_RS.sum(1)
    return {"ece": ratio(gap_RB.sum(1), total_R), "brier": ratio(weight_RS @ (truth_S - score_S) ** 2, total_R)}


def _binary(truth_S: Array, score_S: Array, threshold: float | Array, seed: int, num_resamples: int) -> dict[str, Any]:
    """Compute what the metrics of recognition and of sides share."""
    called_S = score_S >= threshold
    ones_1S, weight_RS = np.ones((1, len(truth_S))), resample_weights(len(truth_S), num_resamples, seed)
    point = {**decisions(truth_S, called_S, score_S, ones_1S), **calibration(truth_S, score_S, ones_1S)}
    spread = {**decisions(truth_S, called_S, score_S, weight_RS), **calibration(truth_S, score_S, weight_RS)}
    undefined_resamples = int(np.isnan(spread["auroc"]).sum())
    return {**_estimates(point, spread), "num_subjects": len(truth_S), "undefined_resamples": undefined_resamples}


def _region(truth_S: Array, called_S: Array, score_S: Array, probability_S: Array | None, weight_RS: Array) -> dict[str, Array]:
    """Compute the metrics of one region: of its decisions and, with probabilities, of their calibration."""
    calibrated = {} if probability_S is None else calibration(truth_S, probability_S, weight_RS)
    return {**decisions(truth_S, called_S, score_S, weight_RS), **calibrated}


def _means(
    points: Sequence[Mapping[str, Array]], spreads: Sequence[Mapping[str, Array]], names: Sequence[str] = ()
) -> dict[str, Any]:
    """Average metrics over regions, by default all that they have."""
    point, spread = (
        {name: mean_of_defined(np.stack([values[name] for values in regions])) for name in names or regions[0]}
        for regions in (points, spreads)
    )
    return _estimates(point, spread)


def _split_estimates(found: Mapping[str, Array]) -> dict[str, Any]:
    """Return the estimates from statistics whose first row is the point estimate."""
    return _estimates(
        {name: value_R[:1] for name, value_R in found.items()}, {name: value_R[1:] for name, value_R in found.items()}
    )


def _estimates(point: Mapping[str, Array], spread: Mapping[str, Array]) -> dict[str, Estimate]:
    values = {name: defined(point_1[0]) for name, point_1 in point.items()}
    return {
        name: UNDEFINED if value is None else Estimate(value=value, interval=percentile_interval(spread[name]))
        for name, value in values.items()
    }
