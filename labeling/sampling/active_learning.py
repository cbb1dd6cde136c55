"""Active learning: the order in which people are labeled, from plain arrays, and a random order as the baseline.

Axes: S people without labels, T people labeled or in a queue, A regions, D features.

The order ``informative`` is greedy: it repeatedly takes the person with the largest product of three scores, each from 0 to 1.

    uncertainty   the mean over regions of the entropy of "affected", in bits. The frames are a committee, and the probability
    is
                  the share of frames with a positive score (vote entropy: Dagan & Engelson, ICML 1995; mean over labels:
                  Settles, *Active Learning Literature Survey*, 2009)
    rarity        1 / √(1 + n), where n is the expected number of labeled people with the same pattern of regions, the sum over
                  them of Π_a (p q + (1 − p)(1 − q)) (count-based bonus: Strehl & Littman, JCSS 2008)
    variety       the distance to the nearest labeled person, as a fraction of the largest possible distance (farthest-point
                  sampling: Gonzalez, 1985; for active learning Sener & Savarese, ICLR 2018)

A person counts as labeled once taken. Without a model, the order ``varied`` uses only variety, of how people move.
"""

import hashlib
from collections.abc import Sequence
from enum import StrEnum
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.float64]


class Order(StrEnum):
    """Order of the people without labels."""

    INFORMATIVE = "informative"
    RANDOM = "random"


def uncertainty(probability_SA: Array) -> Array:
    """Compute the uncertainty of each person, (S,) bits, from the probabilities (S, A) that a region is affected."""
    p_SA = np.clip(probability_SA, 1e-12, 1 - 1e-12)
    return -(p_SA * np.log2(p_SA) + (1 - p_SA) * np.log2(1 - p_SA)).mean(axis=1)


def same_pattern(probability_SA: Array, other_TA: Array) -> Array:
    """Compute the probability that two people have the same affected regions, if regions are independent: (S, T)."""
    p_SA, q_TA = np.clip(probability_SA, 1e-12, 1 - 1e-12), np.clip(other_TA, 1e-12, 1 - 1e-12)
    same_STA = p_SA[:, None] * q_TA[None] + (1 - p_SA[:, None]) * (1 - q_TA[None])
    return np.exp(np.log(same_STA).sum(axis=2))


def rarity(num_same_S: Array) -> Array:
    """Compute the rarity of each pattern from the expected number of people with it: (S,), 1 for none."""
    return 1 / np.sqrt(1 + num_same_S)


def informative_order(probability_SA: Array, asked_TA: Array, count: int | None = None) -> list[int]:
    """Return the indices of the first ``count`` people in the order ``informative``, all of them by default.

    Args:
        probability_SA: (S, A) 0 to 1, the probability that a region is affected; 1/2 if it is unknown.
        asked_TA: (T, A) the same for the people who are labeled or in a queue.
        count: a smaller number returns a prefix of the whole order.
    """
    probability_SA, asked_TA = _checked(probability_SA, asked_TA)
    bits_S = uncertainty(probability_SA)
    num_same_S = same_pattern(probability_SA, asked_TA).sum(axis=1)
    nearest_S = _nearest(probability_SA, asked_TA)
    diagonal = np.sqrt(max(probability_SA.shape[1], 1))
    order: list[int] = []
    left_S = np.ones(len(probability_SA), dtype=bool)
    for _ in range(_prefix_length(len(probability_SA), count)):
        variety_S = np.minimum(nearest_S / diagonal, 1)
        order.append(_best(bits_S * rarity(num_same_S) * variety_S, left_S))
        chosen_1A = probability_SA[order[-1:]]
        num_same_S = num_same_S + same_pattern(probability_SA, chosen_1A)[:, 0]
        nearest_S = np.minimum(nearest_S, _nearest(probability_SA, chosen_1A))
    return order


def varied_order(feature_SD: Array, asked_TD: Array, count: int | None = None) -> list[int]:
    """Return the indices of the first ``count`` people by farthest-point sampling, all of them by default.

    The first person is the one nearest to the median if no person is labeled.

    Args:
        feature_SD: (S, D) features of the people without labels.
        asked_TD: (T, D) the same for the people who are labeled or in a queue.
        count: a smaller number returns a prefix of the whole order.
    """
    feature_SD, asked_TD = _checked(feature_SD, asked_TD)
    nearest_S = _nearest(feature_SD, asked_TD)
    order: list[int] = []
    left_S = np.ones(len(feature_SD), dtype=bool)
    for _ in range(_prefix_length(len(feature_SD), count)):
        if np.isinf(nearest_S).all():
            central_S = -np.linalg.norm(feature_SD - np.median(feature_SD, axis=0), axis=1)
            order.append(_best(central_S, left_S))
        else:
            order.append(_best(nearest_S, left_S))
        nearest_S = np.minimum(nearest_S, _nearest(feature_SD, feature_SD[order[-1:]]))
    return order


def random_order(names: Sequence[str], *, seed: int = 0) -> list[int]:
    """Return a random order of names; adding or removing a name does not reorder the others."""
    drawn = [hashlib.sha256(f"{seed}/{name}".encode()).digest() for name in names]
    return sorted(range(len(names)), key=lambda index: (drawn[index], index))


def _checked(rows_SD: Array, asked_TD: Array) -> tuple[Array, Array]:
    rows_SD = np.asarray(rows_SD, dtype=np.float64)
    asked_TD = np.asarray(asked_TD, dtype=np.float64).reshape(-1, rows_SD.shape[1])
    if not (np.isfinite(rows_SD).all() and np.isfinite(asked_TD).all()):
        raise ValueError(
            "a person without finite values cannot be ordered; leave them out, or use 1/2 for an unknown probability"
        )
    return rows_SD, asked_TD


def _nearest(rows_SD: Array, other_TD: Array) -> Array:
    """Compute the distance of each row to the nearest of ``other_TD``: (S,), infinite if there are none."""
    nearest_S = np.full(len(rows_SD), np.inf)
    for other_D in other_TD:
        nearest_S = np.minimum(nearest_S, np.linalg.norm(rows_SD - other_D, axis=1))
    return nearest_S


def _best(score_S: Array, left_S: NDArray[np.bool_]) -> int:
    """Return the index of the highest score among the people left, and remove it from them."""
    best = int(np.argmax(np.where(left_S, score_S, -np.inf)))
    left_S[best] = False
    return best


def _prefix_length(num: int, count: int | None) -> int:
    return num if count is None else min(num, count)
