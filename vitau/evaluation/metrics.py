"""Numbers by subject, each with its interval from a bootstrap over subjects.

Frames of one person are not independent, so a person counts once: the score of a person is the mean over the person's frames.
AUROC is the Mann–Whitney statistic (Hanley and McNeil, Radiology 1982), ECE the binned calibration error of Guo et al. (ICML
2017); all agree with scikit-learn, which the tests compare them to. They are written for many weighted resamples at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from vitau.evaluation.bootstrap import defined, mean_of_defined, percentile_interval, ratio, resample_weights
from vitau.schema import AUS, PAPER_AUS, Protocol

Array = npt.NDArray[Any]

NUM_RESAMPLES: Final = 2000
NUM_BINS: Final = 10
DECISION_METRICS: Final = ("accuracy", "balanced_accuracy", "f1", "auroc")
CALIBRATION_METRICS: Final = ("ece", "brier")


@dataclass(frozen=True, kw_only=True, slots=True)
class SubjectScores:
    """One row per person: truth and mean score, both (S, K) for K questions; ``known`` is False where there is no label."""

    subjects: tuple[str, ...]
    truth_SK: Array
    score_SK: Array
    known_SK: Array


def by_subject(subjects: Sequence[str], truth: Array, score: Array, known: Array | None = None) -> SubjectScores:
    """Average the frame scores of each person.

    Args:
        subjects: N pseudonyms, one per frame.
        truth: (N,) or (N, K) bool, the same in all frames of a person.
        score: (N,) or (N, K) float.
        known: (N,) or (N, K) bool, False where the truth is not known; all known by default.

    Raises:
        ValueError: if there is no frame, the lengths differ, or a person has two truths.
    """
    truth_NK, score_NK = _columns(truth).astype(bool), _columns(score).astype(np.float64)
    known_NK = np.ones_like(truth_NK) if known is None else _columns(known).astype(bool)
    if not len(subjects):
        raise ValueError("no frames were given; metrics need at least one")
    if not len(subjects) == len(truth_NK) == len(score_NK) == len(known_NK):
        raise ValueError(f"{len(subjects)} subjects, {len(truth_NK)} truths and {len(score_NK)} scores must be equally many")
    names, index = np.unique(np.asarray(subjects, dtype=str), return_inverse=True)
    first = np.array([int(np.argmax(index == row)) for row in range(len(names))])
    truth_SK, known_SK = truth_NK[first], known_NK[first]
    if (truth_NK != truth_SK[index]).any() or (known_NK != known_SK[index]).any():
        raise ValueError("a person has different labels in different frames; labels belong to people")
    frames_S = np.bincount(index)
    score_SK = np.stack([np.bincount(index, column) / frames_S for column in score_NK.T], axis=1)
    return SubjectScores(subjects=tuple(names.tolist()), truth_SK=truth_SK, score_SK=score_SK, known_SK=known_SK)


def palsy_metrics(
    subjects: Sequence[str],
    palsied: Array,
    score: Array,
    *,
    threshold: float = 0.5,
    protocol: Protocol = Protocol.SUBJECTS,
    seed: int = 0,
    num_resamples: int = NUM_RESAMPLES,
) -> dict[str, Any]:
    """Say how well recognition separates palsied people from others.

    Args:
        subjects: N pseudonyms, one per frame.
        palsied: (N,) bool.
        score: (N,) probability of a palsy, 0 to 1.
        threshold: a person is called palsied where the mean score is at or above it.
        protocol: how people were divided; it stands in the result.
        seed: of the bootstrap.
        num_resamples: people are drawn with replacement so many times.

    Returns:
        ``accuracy``, ``balanced_accuracy``, ``f1``, ``auroc``, ``ece``, ``brier``, each with ``…_interval`` (95 %, a list of
        two), ``protocol``, ``n_subjects``, ``n_palsied``, ``n_frames``, ``threshold``. What one class alone leaves undefined is
        ``None``; ``undefined_resamples`` counts the resamples without an AUROC.
    """
    people = by_subject(subjects, palsied, score)
    truth_S, score_S = people.truth_SK[:, 0], people.score_SK[:, 0]
    weight_RS = resample_weights(len(truth_S), num_resamples, seed)
    ones_1S = np.ones((1, len(truth_S)))
    result: dict[str, Any] = {
        "protocol": str(protocol),
        "n_subjects": len(truth_S),
        "n_palsied": int(truth_S.sum()),
        "n_frames": len(subjects),
        "threshold": float(threshold),
    }
    called_S = score_S >= threshold
    point = {**decisions(truth_S, called_S, score_S, ones_1S), **calibration(truth_S, score_S, ones_1S)}
    spread = {**decisions(truth_S, called_S, score_S, weight_RS), **calibration(truth_S, score_S, weight_RS)}
    for name in (*DECISION_METRICS, *CALIBRATION_METRICS):
        result |= _with_interval(name, point[name], spread[name])
    return result | {"undefined_resamples": int(np.isnan(spread["auroc"]).sum())}


def region_metrics(
    subjects: Sequence[str],
    affected: Array,
    score: Array,
    known: Array | None = None,
    *,
    threshold: float = 0.0,
    protocol: Protocol = Protocol.SUBJECTS,
    seed: int = 0,
    num_resamples: int = NUM_RESAMPLES,
) -> dict[str, Any]:
    """Say how well the affected regions of palsied people are found.

    Args:
        subjects: N pseudonyms, one per frame, of palsied people only.
        affected: (N, 8) bool in the order of ``AUS``.
        score: (N, 8) mean of the heatmap, −1 to 1.
        known: (N, 8) bool, False where there is no label; all known by default.
        threshold: a region is called affected where the mean score is above it.
        protocol: how people were divided; it stands in the result.
        seed: of the bootstrap.
        num_resamples: people are drawn with replacement so many times.

    Returns:
        The means over the 8 regions as ``accuracy``, ``balanced_accuracy``, ``f1``, ``auroc`` with ``…_interval``; the same
        over the paper's 7 regions under ``mean_of_paper_7``; ``by_au`` with one such dict per region. A region in which all
        people are alike has no AUROC (``None``), is left out of the mean and counted in ``regions_without_auroc``.
    """
    people = by_subject(subjects, affected, score, known)
    num_people = len(people.subjects)
    weight_RS = resample_weights(num_people, num_resamples, seed)
    points, spreads, by_au = [], [], {}
    for column, au in enumerate(AUS):
        known_S = people.known_SK[:, column]
        truth_S, score_S = people.truth_SK[known_S, column], people.score_SK[known_S, column]
        called_S = score_S > threshold
        points.append(decisions(truth_S, called_S, score_S, np.ones((1, len(truth_S)))))
        spreads.append(decisions(truth_S, called_S, score_S, weight_RS[:, known_S]))
        by_au[str(au)] = {"n_subjects": len(truth_S), "n_affected": int(truth_S.sum())}
        for name in DECISION_METRICS:
            by_au[str(au)] |= _with_interval(name, points[-1][name], spreads[-1][name])
    return {
        "protocol": str(protocol),
        "n_subjects": num_people,
        "n_frames": len(subjects),
        "threshold": float(threshold),
        "mean_of": f"{len(AUS)} regions",
        **_means(points, spreads),
        "regions_without_auroc": sum(bool(np.isnan(point["auroc"]).any()) for point in points),
        "mean_of_paper_7": _means(points[-len(PAPER_AUS) :], spreads[-len(PAPER_AUS) :]),
        "by_au": by_au,
    }


def best_threshold(subjects: Sequence[str], palsied: Array, score: Array) -> float:
    """Choose the threshold with the highest balanced accuracy on these (validation) people.

    A few people leave a wide gap to choose from; of all the best thresholds it is the one nearest to a half, which is where a
    calibrated probability divides, but a tenth of the gap away from the nearest person.

    Args:
        subjects: N pseudonyms, one per frame.
        palsied: (N,) bool.
        score: (N,) probability of a palsy, 0 to 1.

    Returns:
        A probability; 0.5 where only one class is there to choose from.
    """
    people = by_subject(subjects, palsied, score)
    truth_S, score_S = people.truth_SK[:, 0], people.score_SK[:, 0]
    if truth_S.all() or not truth_S.any():
        return 0.5
    level_L = np.concatenate([[0.0], np.unique(score_S), [1.0]])
    low_L, high_L = level_L[:-1], level_L[1:]
    inset_L = (high_L - low_L) / 10
    nearest_L = np.clip(0.5, low_L + inset_L, high_L - inset_L)
    called_LS = score_S >= nearest_L[:, None]
    balanced_L = (called_LS[:, truth_S].mean(1) + (~called_LS[:, ~truth_S]).mean(1)) / 2
    best_L = nearest_L[np.isclose(balanced_L, balanced_L.max())]
    return float(best_L[np.argmin(np.abs(best_L - 0.5))])


def side_metrics(
    subjects: Sequence[str], sided: Array, right: Array, *, seed: int = 0, num_resamples: int = NUM_RESAMPLES
) -> dict[str, Any]:
    """Say how well the affected side of the face is named, over the people of whom exactly one side is affected.

    Args:
        subjects: N pseudonyms, one per frame.
        sided: (N, 8, 2) bool, which regions are affected on the person's right and left.
        right: (N,) probability that the right is the affected side, 0 to 1.
        seed: of the bootstrap.
        num_resamples: people are drawn with replacement so many times.

    Returns:
        What :func:`palsy_metrics` gives, of "right" instead of "palsied", with ``n_right`` for ``n_palsied`` and without a
        threshold, which is a half; all ``None`` and ``n_subjects`` 0 where nobody has one affected side.
    """
    side_N2 = np.asarray(np.asarray(sided).any(1))
    chosen_N = side_N2.sum(1) == 1
    if not chosen_N.any():
        names = (*DECISION_METRICS, *CALIBRATION_METRICS)
        undefined = {key: None for name in names for key in (name, f"{name}_interval")}
        return {"n_subjects": 0, "n_right": 0, "n_frames": 0, **undefined}
    some = [subject for subject, chosen in zip(subjects, chosen_N, strict=True) if chosen]
    result = palsy_metrics(some, side_N2[chosen_N, 0], np.asarray(right)[chosen_N], seed=seed, num_resamples=num_resamples)
    del result["threshold"]
    return {"n_right": result.pop("n_palsied"), **result}


def fit_scale(margin: Array, truth: Array) -> float:
    """Fit ``k`` so that ``1 / (1 + exp(−k · margin))`` is the probability of ``truth``: likeliest on the given (M,) pairs.

    The targets are drawn in a little as Platt did (*Probabilistic outputs for support vector machines*, 1999), so that a few
    pairs that are told apart without a fault do not give certainty. At least 0; 1 where there are no pairs.
    """
    margin_M, truth_M = np.asarray(margin, np.float64), np.asarray(truth, bool)
    if not len(margin_M):
        return 1.0
    target_M = np.where(truth_M, (truth_M.sum() + 1) / (truth_M.sum() + 2), 1 / ((~truth_M).sum() + 2))
    low, high = 0.0, 1.0 / max(float(np.abs(margin_M).mean()), 1e-12)

    def slope(k: float) -> float:
        return float((margin_M * (target_M - 0.5 * (1 + np.tanh(k * margin_M / 2)))).sum())

    for _ in range(30):
        if slope(high) <= 0:
            break
        low, high = high, 2 * high
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) > 0 else (low, middle)
    return low


def _columns(values: Array) -> Array:
    values = np.asarray(values)
    return values[:, None] if values.ndim == 1 else values


def decisions(truth_S: Array, called_S: Array, score_S: Array, weight_RS: Array) -> dict[str, Array]:
    """Compute accuracy, balanced accuracy, F1 and AUROC of R weightings of the people, each (R,), NaN where undefined."""
    hit_R, miss_R = weight_RS @ (truth_S & called_S), weight_RS @ (truth_S & ~called_S)
    alarm_R, rest_R = weight_RS @ (~truth_S & called_S), weight_RS @ (~truth_S & ~called_S)
    score_P, score_Q = score_S[truth_S, None], score_S[None, ~truth_S]
    above_PQ = (score_P > score_Q) + 0.5 * (score_P == score_Q)
    positive_RP, negative_RQ = weight_RS[:, truth_S], weight_RS[:, ~truth_S]
    return {
        "accuracy": ratio(hit_R + rest_R, weight_RS.sum(1)),
        "balanced_accuracy": (ratio(hit_R, hit_R + miss_R) + ratio(rest_R, rest_R + alarm_R)) / 2,
        "f1": ratio(2 * hit_R, 2 * hit_R + miss_R + alarm_R),
        "auroc": ratio(((positive_RP @ above_PQ) * negative_RQ).sum(1), positive_RP.sum(1) * negative_RQ.sum(1)),
    }


def calibration(truth_S: Array, score_S: Array, weight_RS: Array) -> dict[str, Array]:
    """Compute ECE (equal-width bins) and Brier score of R weightings of the people, each (R,)."""
    bin_S = np.minimum((score_S * NUM_BINS).astype(int), NUM_BINS - 1)
    in_bin_SB = bin_S[:, None] == np.arange(NUM_BINS)
    gap_RB = np.abs(weight_RS @ (in_bin_SB * (truth_S - score_S)[:, None]))
    total_R = weight_RS.sum(1)
    return {"ece": ratio(gap_RB.sum(1), total_R), "brier": ratio(weight_RS @ (truth_S - score_S) ** 2, total_R)}


def _means(points: list[dict[str, Array]], spreads: list[dict[str, Array]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name in DECISION_METRICS:
        point = mean_of_defined(np.stack([values[name] for values in points]))
        result |= _with_interval(name, point, mean_of_defined(np.stack([values[name] for values in spreads])))
    return result


def _with_interval(name: str, point_1: Array, spread_R: Array) -> dict[str, Any]:
    """Give ``name`` and ``name_interval``, ``None`` where undefined."""
    value = defined(point_1[0])
    interval = None if value is None else percentile_interval(spread_R)
    return {name: value, f"{name}_interval": None if interval is None else list(interval)}
