"""Whether people who come now differ from those a model was taught with, and whether it keeps what it promised.

People are the units, never frames: a person is one value per measure, the mean over the person's frames. Numbers are compared
by the Kolmogorov–Smirnov statistic (scipy's p-value), embeddings by the energy distance (Székely and Rizzo, 2013) and mixtures
by the total variation distance, both with a permutation of the people. Holm's correction over everything that was asked keeps
the chance of any false alarm in a whole report below ``ALPHA``. PSI is told because people know it; nothing hangs on it, since
with few people it is large by itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from vitau.evaluation.bootstrap import QUANTILES_99, percentile_interval, resample_weights, with_point_estimate
from vitau.evaluation.measure import decisions

Array = npt.NDArray[Any]

ALPHA: Final = 0.01
"""Chance of any false alarm in a report about people like those before."""
MIN_PEOPLE: Final = 8
"""Fewer people on one side are not compared."""
MIN_EACH: Final = 5
"""Fewer people on either side of a yes/no question do not judge a promise."""
LEAST_EFFECT: Final[Mapping[str, float]] = {"number": 0.2, "vector": 0.0, "mixture": 0.1}
"""What is surer than chance and smaller than this is no reason to wake anybody: with thousands of people everything is sure."""
NUM_PERMUTATIONS: Final = 9999
MOST_PEOPLE: Final = 1000
"""Of more people a seeded sample is compared where every pair must be: ``vector`` only."""
NUM_RESAMPLES: Final = 4000
PSI_BINS: Final = 10


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class People:
    """S people: ``numbers`` (S,) float and ``vectors`` (S, D) by name, NaN where absent; ``mixtures`` a word each."""

    subjects: Sequence[str]
    source: Sequence[str]
    numbers: Mapping[str, Array] = field(default_factory=dict)
    vectors: Mapping[str, Array] = field(default_factory=dict)
    mixtures: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Drift:
    """One measure compared: overall or within a ``source``; ``p`` by itself, ``adjusted_p`` among all that were asked.

    ``effect`` is the distance of the kind, 0 (alike) to 1 for numbers and mixtures. ``before`` and ``now`` are medians.
    """

    measure: str
    kind: str
    source: str | None
    num_before: int
    num_now: int
    effect: float
    p: float
    adjusted_p: float = 1.0
    drifted: bool = False
    psi: float | None = None
    before: float | None = None
    now: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Promise:
    """A number of the model on the people it was tested with, and on people who were scored first and labelled later.

    ``low`` and ``high`` are the 99 % interval of the difference; ``broken``: it lies wholly below 0.
    """

    measure: str
    promised: float
    now: float
    num_promised: int
    num_now: int
    difference: float
    low: float
    high: float
    broken: bool


def compare(before: People, now: People, *, seed: int = 0, num_permutations: int = NUM_PERMUTATIONS) -> list[Drift]:
    """Compare every measure that both have, overall and within each source that both have; what drifted first.

    Args:
        before: the people the model was taught or tested with.
        now: the people who come now.
        seed: of the permutations.
        num_permutations: at least a hundred for each measure, or nothing can be sure.
    """
    found: list[Drift] = []
    sources = sorted(set(before.source) & set(now.source))
    many = len(set(before.source) | set(now.source)) > 1
    for source in (None, *(sources if many else ())):
        chosen = [np.array([source in {None, each} for each in people.source], bool) for people in (before, now)]
        for name in before.numbers.keys() & now.numbers.keys():
            values = [people.numbers[name][mask] for people, mask in zip((before, now), chosen, strict=True)]
            found += _numbers(name, source, *(each[~np.isnan(each)] for each in values))
        if source is not None:
            continue
        rng = np.random.default_rng(seed)
        for name in before.vectors.keys() & now.vectors.keys():
            old, new = (each[~np.isnan(each).any(1)] for each in (before.vectors[name], now.vectors[name]))
            found += _vectors(name, old, new, rng, num_permutations)
        for name in before.mixtures.keys() & now.mixtures.keys():
            found += _mixtures(name, before.mixtures[name], now.mixtures[name], rng, num_permutations)
    return sorted(_adjusted(found), key=lambda each: (not each.drifted, each.adjusted_p, -each.effect, each.measure))


def surprisal(before: People, now: People, drifted: Sequence[Drift]) -> Array:
    """Say of each person of ``now`` how unlike ``before`` they are in what drifted: bits of surprise, the mean over it.

    A number is as strange as few people before were so far out; a face as few people before had so far to their nearest
    neighbour; a word as few people before had it.
    """
    bits = [np.zeros(len(now.subjects))]
    for each in {(drift.measure, drift.kind) for drift in drifted}:
        measure, kind = each
        if kind == "number":
            old, new = before.numbers[measure], now.numbers[measure]
            old = old[~np.isnan(old)]
            below = np.searchsorted(np.sort(old), new, side="right") / len(old)
            share = np.where(np.isnan(new), 1.0, 2 * np.minimum(below, 1 - below))
            bits.append(-np.log2(np.clip(share, 1 / (len(old) + 1), 1)))
        elif kind == "vector":
            old, new = before.vectors[measure], now.vectors[measure]
            old = old[~np.isnan(old).any(1)]
            among = _distances(old, old)
            np.fill_diagonal(among, np.inf)
            nearest = _distances(np.nan_to_num(new), old).min(1)
            farther = np.where(np.isnan(new).any(1), 1.0, (among.min(1)[None] >= nearest[:, None]).mean(1))
            bits.append(-np.log2(np.clip(farther, 1 / (len(old) + 1), 1)))
        else:
            words = list(before.mixtures[measure])
            share = np.array([(words.count(word) + 1) / (len(words) + 1) for word in now.mixtures[measure]])
            bits.append(-np.log2(share))
    return np.asarray(np.sum(bits, axis=0) / max(1, len(bits) - 1))


def promises(
    before: tuple[Array, Array, Array], now: tuple[Array, Array, Array], *, name: str, threshold: float, seed: int = 0
) -> list[Promise]:
    """Compare AUROC and balanced accuracy of people tested with those of people labelled later.

    Args:
        before: truth, known (bool) and score of S people and K questions, each (S, K).
        now: the same of other people.
        name: of the questions; the numbers are means over those that both can answer.
        threshold: called from there on.
        seed: of the bootstrap; the two groups are drawn on their own, as they are other people.
    """
    spreads = [_spread(*values, threshold=threshold, seed=seed + place) for place, values in enumerate((before, now))]
    found = []
    for measure, words in (("auroc", "AUROC"), ("balanced_accuracy", "balanced accuracy")):
        old_KR, new_KR = (spread[measure] for spread in spreads)
        asked_K = ~np.isnan(old_KR[:, 0]) & ~np.isnan(new_KR[:, 0])
        if not asked_K.any():
            continue
        old_R, new_R = (np.mean(each[asked_K][:, ~np.isnan(each[asked_K]).any(0)], axis=0) for each in (old_KR, new_KR))
        least = min(len(old_R), len(new_R))
        difference_R = new_R[1:least] - old_R[1:least]
        interval = percentile_interval(difference_R, QUANTILES_99)
        if interval is None:
            continue
        found.append(
            Promise(
                measure=f"{name}, {words}",
                promised=float(old_R[0]),
                now=float(new_R[0]),
                num_promised=len(before[0]),
                num_now=len(now[0]),
                difference=float(new_R[0] - old_R[0]),
                low=interval[0],
                high=interval[1],
                broken=interval[1] < 0,
            )
        )
    return found


def psi(before: Array, now: Array) -> float:
    """Give the population stability index over the deciles of ``before``, half a person added to each bin."""
    edges = np.quantile(before, np.linspace(0, 1, PSI_BINS + 1)[1:-1])
    shares = []
    for values in (before, now):
        counts = np.bincount(np.searchsorted(edges, values, side="right"), minlength=PSI_BINS) + 0.5
        shares.append(counts / counts.sum())
    return float(((shares[1] - shares[0]) * np.log(shares[1] / shares[0])).sum())


def _numbers(name: str, source: str | None, before: Array, now: Array) -> list[Drift]:
    from scipy.stats import ks_2samp

    if min(len(before), len(now)) < MIN_PEOPLE:
        return []
    tested = ks_2samp(before, now)
    return [
        Drift(
            measure=name,
            kind="number",
            source=source,
            num_before=len(before),
            num_now=len(now),
            effect=float(tested.statistic),
            p=float(tested.pvalue),
            psi=psi(before, now),
            before=float(np.median(before)),
            now=float(np.median(now)),
        )
    ]


def _vectors(name: str, before: Array, now: Array, rng: np.random.Generator, num_permutations: int) -> list[Drift]:
    if min(len(before), len(now)) < MIN_PEOPLE:
        return []
    some = [each[np.sort(rng.permutation(len(each))[:MOST_PEOPLE])] for each in (before, now)]
    everybody = np.concatenate(some)
    distance_NN = _distances(everybody, everybody)
    is_now = np.arange(len(everybody)) >= len(some[0])

    def energy(chosen_RN: Array) -> Array:
        weight_RN = chosen_RN / len(some[1]) - ~chosen_RN / len(some[0])
        return np.asarray(-((weight_RN @ distance_NN) * weight_RN).sum(1))

    effect = float(energy(is_now[None])[0])
    p = _permuted(effect, energy, is_now, rng, num_permutations)
    return [
        Drift(measure=name, kind="vector", source=None, num_before=len(before), num_now=len(now), effect=max(effect, 0.0), p=p)
    ]


def _mixtures(
    name: str, before: Sequence[str], now: Sequence[str], rng: np.random.Generator, num_permutations: int
) -> list[Drift]:
    if min(len(before), len(now)) < MIN_PEOPLE:
        return []
    words, code_N = np.unique([*before, *now], return_inverse=True)
    one_hot_NW = np.eye(len(words))[code_N]
    is_now = np.arange(len(code_N)) >= len(before)

    def variation(chosen_RN: Array) -> Array:
        weight_RN = chosen_RN / len(now) - ~chosen_RN / len(before)
        return np.asarray(np.abs(weight_RN @ one_hot_NW).sum(1) / 2)

    effect = float(variation(is_now[None])[0])
    p = _permuted(effect, variation, is_now, rng, num_permutations)
    return [Drift(measure=name, kind="mixture", source=None, num_before=len(before), num_now=len(now), effect=effect, p=p)]


def _permuted(found: float, statistic: Any, is_now: Array, rng: np.random.Generator, num_permutations: int) -> float:
    """Share of divisions of the same people that are as far apart; some at a time, so that memory stays small."""
    as_far = 0
    for start in range(0, num_permutations, 500):
        rows = np.repeat(is_now[None], min(500, num_permutations - start), axis=0)
        as_far += int((statistic(rng.permuted(rows, axis=1)) >= found - 1e-12).sum())
    return (as_far + 1) / (num_permutations + 1)


def _distances(one: Array, other: Array) -> Array:
    squared = (one**2).sum(1)[:, None] + (other**2).sum(1)[None] - 2 * one @ other.T
    return np.asarray(np.sqrt(np.maximum(squared, 0)))


def _adjusted(found: Sequence[Drift]) -> list[Drift]:
    """Holm's step-down correction; drifted is what is both sure and large enough."""
    worst, adjusted = 0.0, []
    for rank, each in enumerate(sorted(found, key=lambda drift: drift.p)):
        worst = max(worst, min(1.0, each.p * (len(found) - rank)))
        sure = worst < ALPHA and each.effect >= LEAST_EFFECT[each.kind]
        adjusted.append(replace(each, adjusted_p=worst, drifted=sure))
    return adjusted


def _spread(truth_SK: Array, known_SK: Array, score_SK: Array, *, threshold: float, seed: int) -> dict[str, Array]:
    """Numbers by question, (K, 1 + R): of everybody, then of the resamples; not a number where too few people are known."""
    weight_RS = with_point_estimate(resample_weights(len(truth_SK), NUM_RESAMPLES, seed))
    found: dict[str, list[Array]] = {"auroc": [], "balanced_accuracy": []}
    for truth_S, known_S, score_S in zip(truth_SK.T, known_SK.T, score_SK.T, strict=True):
        asked_S = known_S & ~np.isnan(score_S)
        numbers = decisions(truth_S[asked_S], score_S[asked_S] >= threshold, score_S[asked_S], weight_RS[:, asked_S])
        enough = min(truth_S[asked_S].sum(), (~truth_S[asked_S]).sum()) >= MIN_EACH
        for name, kept in found.items():
            kept.append(numbers[name] if enough else np.full(len(weight_RS), np.nan))
    return {name: np.stack(kept) for name, kept in found.items()}
