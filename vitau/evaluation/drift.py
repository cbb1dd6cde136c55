"""Drift: compare new people with those a model was trained on.

People are the units, never frames: each measure has one value per person, the mean over the person's frames. Numbers are
compared by the Kolmogorov–Smirnov statistic (p-value of scipy), embeddings by the energy distance (Székely and Rizzo, 2013),
mixtures by the total variation distance. The latter two use a permutation test over people.

Holm's correction over all comparisons keeps the probability of any false alarm in a report below ``ALPHA``. PSI is reported
because it is widely known, but decides nothing: with few people it is large by itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

ALPHA: Final = 0.01
"""Probability of any false alarm in a report about people of the same population."""
MIN_PEOPLE: Final = 8
"""Groups with fewer people are not compared."""
MIN_EFFECT: Final[Mapping[str, float]] = {"number": 0.2, "vector": 0.0, "mixture": 0.1}
"""Smaller effects do not count as drift: with thousands of people every difference is significant."""
NUM_PERMUTATIONS: Final = 9999
MAX_PEOPLE: Final = 1000
"""Size of the seeded sample of people for comparisons of all pairs: ``vector`` only."""
PSI_BINS: Final = 10


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class People:
    """Measures of S people by name: ``numbers`` (S,) float and ``vectors`` (S, D), NaN where absent; ``mixtures`` S words."""

    subjects: Sequence[str]
    source: Sequence[str]
    numbers: Mapping[str, Array] = field(default_factory=dict)
    vectors: Mapping[str, Array] = field(default_factory=dict)
    mixtures: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Drift:
    """The comparison of one measure, overall or within a ``source``.

    Attributes:
        measure: Name of the measure.
        kind: ``number``, ``vector`` or ``mixture``.
        source: ``None`` for an overall comparison.
        num_before: Number of people before.
        num_now: Number of people now.
        effect: Distance of the kind; 0 (equal) to 1 for numbers and mixtures.
        p: Uncorrected p-value.
        adjusted_p: After Holm's correction over all comparisons.
        drifted: Whether the difference is both significant and large enough.
        psi: Population stability index, of numbers.
        before: Median before, of numbers.
        now: Median now, of numbers.
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


def compare(before: People, now: People, *, seed: int = 0, num_permutations: int = NUM_PERMUTATIONS) -> list[Drift]:
    """Compare every measure of both groups, overall and within each source of both; drifted ones come first.

    Args:
        before: The people that the model was trained or tested on.
        now: The new people.
        seed: Of the permutations.
        num_permutations: At least 100, or nothing can be significant.
    """
    found: list[Drift] = []
    sources = sorted(set(before.source) & set(now.source))
    several_sources = len(set(before.source) | set(now.source)) > 1
    for source in (None, *(sources if several_sources else ())):
        chosen = [np.array([source in {None, own} for own in people.source], bool) for people in (before, now)]
        for name in before.numbers.keys() & now.numbers.keys():
            values = [people.numbers[name][mask] for people, mask in zip((before, now), chosen, strict=True)]
            found += _numbers(name, source, *(value_S[~np.isnan(value_S)] for value_S in values))
        if source is not None:
            continue
        rng = np.random.default_rng(seed)
        for name in before.vectors.keys() & now.vectors.keys():
            old, new = (value_SD[~np.isnan(value_SD).any(1)] for value_SD in (before.vectors[name], now.vectors[name]))
            found += _vectors(name, old, new, rng, num_permutations)
        for name in before.mixtures.keys() & now.mixtures.keys():
            found += _mixtures(name, before.mixtures[name], now.mixtures[name], rng, num_permutations)
    return sorted(_adjusted(found), key=lambda drift: (not drift.drifted, drift.adjusted_p, -drift.effect, drift.measure))


def surprisal(before: People, now: People, drifted: Sequence[Drift]) -> Array:
    """Compute how unlike the people before each person is, in the measures that drifted: (S,) bits, the mean over measures.

    The surprisal of a number comes from the share of people before who were as far out. That of a vector comes from the share
    whose nearest neighbor was as far away, that of a word from its frequency.
    """
    bits = [np.zeros(len(now.subjects))]
    for measure, kind in {(drift.measure, drift.kind) for drift in drifted}:
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


def psi(before: Array, now: Array) -> float:
    """Compute the population stability index over the deciles of ``before``, with half a person added to each bin."""
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
    some = [value_SD[np.sort(rng.permutation(len(value_SD))[:MAX_PEOPLE])] for value_SD in (before, now)]
    pooled_ND = np.concatenate(some)
    distance_NN = _distances(pooled_ND, pooled_ND)
    is_now = np.arange(len(pooled_ND)) >= len(some[0])

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
    """Return the share of random divisions of the same people that are as far apart; in chunks, to bound memory."""
    as_far = 0
    for start in range(0, num_permutations, 500):
        rows = np.repeat(is_now[None], min(500, num_permutations - start), axis=0)
        as_far += int((statistic(rng.permuted(rows, axis=1)) >= found - 1e-12).sum())
    return (as_far + 1) / (num_permutations + 1)


def _distances(one: Array, other: Array) -> Array:
    squared = (one**2).sum(1)[:, None] + (other**2).sum(1)[None] - 2 * one @ other.T
    return np.asarray(np.sqrt(np.maximum(squared, 0)))


def _adjusted(found: Sequence[Drift]) -> list[Drift]:
    """Apply Holm's step-down correction; a measure drifted if its difference is significant and large enough."""
    worst, adjusted = 0.0, []
    for rank, drift in enumerate(sorted(found, key=lambda drift: drift.p)):
        worst = max(worst, min(1.0, drift.p * (len(found) - rank)))
        drifted = worst < ALPHA and drift.effect >= MIN_EFFECT[drift.kind]
        adjusted.append(replace(drift, adjusted_p=worst, drifted=drifted))
    return adjusted
