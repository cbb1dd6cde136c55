"""Whom the readers see next: plain arrays in, an order out; and chance, which every other order has to beat.

Labels are scarce and people are many: an order is worth what it saves. *Informative* multiplies three reasons to ask about
somebody, each from 0 to 1, and takes the best again and again (axes: S people to ask about, T people asked already, A regions):

    uncertainty   the mean over regions of the entropy of "affected", in bits: the frames are a committee, and the probability
                  is the share of them that say so (vote entropy: Dagan & Engelson, ICML 1995; for several labels the mean:
                  Settles, *Active Learning Literature Survey*, 2009)
    rarity        1 / √(1 + n), n the number of people asked already whose pattern of regions is expected to be the same,
                  Π_a (p q + (1 − p)(1 − q)) summed over them (the bonus of a count: Strehl & Littman, JCSS 2008)
    variety       the distance to the nearest person asked already, in shares of the largest possible (farthest-point sampling:
                  Gonzalez, 1985; for active learning Sener & Savarese, ICLR 2018)

Whoever is taken counts as asked for the next choice. Without a model there is only variety, of how people move.
"""

import hashlib
from collections.abc import Sequence
from enum import StrEnum
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.float64]


class Order(StrEnum):
    """How the people whom the readers have not seen are put in order."""

    INFORMATIVE = "informative"
    RANDOM = "random"


def uncertainty(probability_SA: Array) -> Array:
    """How little a model knows of each person: (S,) bits, from probabilities (S, A) that a region is affected."""
    p_SA = np.clip(probability_SA, 1e-12, 1 - 1e-12)
    return -(p_SA * np.log2(p_SA) + (1 - p_SA) * np.log2(1 - p_SA)).mean(axis=1)


def same_pattern(probability_SA: Array, other_TA: Array) -> Array:
    """The probability that two people have the same regions affected, the regions taken as independent: (S, T)."""
    p_SA, q_TA = np.clip(probability_SA, 1e-12, 1 - 1e-12), np.clip(other_TA, 1e-12, 1 - 1e-12)
    same_STA = p_SA[:, None] * q_TA[None] + (1 - p_SA[:, None]) * (1 - q_TA[None])
    return np.exp(np.log(same_STA).sum(axis=2))


def rarity(num_same_S: Array) -> Array:
    """How rare each pattern is among those asked about: (S,), 1 for one that was never met."""
    return 1 / np.sqrt(1 + num_same_S)


def informative_order(probability_SA: Array, asked_TA: Array, count: int | None = None) -> list[int]:
    """The first ``count`` people to ask about, all of them by default; the formulas stand at the top of the page.

    Args:
        probability_SA: (S, A) 0 to 1, that a region is affected; 1/2 where nothing is known.
        asked_TA: (T, A) the same of the people who are labelled or in a queue already.
        count: the order of fewer is the beginning of the order of all.
    """
    probability_SA, asked_TA = _checked(probability_SA, asked_TA)
    bits_S = uncertainty(probability_SA)
    num_same_S = same_pattern(probability_SA, asked_TA).sum(axis=1)
    nearest_S = _nearest(probability_SA, asked_TA)
    diagonal = np.sqrt(max(probability_SA.shape[1], 1))
    order: list[int] = []
    left_S = np.ones(len(probability_SA), dtype=bool)
    for _ in range(_how_many(len(probability_SA), count)):
        variety_S = np.minimum(nearest_S / diagonal, 1)
        order.append(_best(bits_S * rarity(num_same_S) * variety_S, left_S))
        chosen_1A = probability_SA[order[-1:]]
        num_same_S = num_same_S + same_pattern(probability_SA, chosen_1A)[:, 0]
        nearest_S = np.minimum(nearest_S, _nearest(probability_SA, chosen_1A))
    return order


def varied_order(feature_SD: Array, asked_TD: Array, count: int | None = None) -> list[int]:
    """The first ``count`` people to ask about, each the farthest from all before; with nobody asked, first the one amid all.

    Args:
        feature_SD: (S, D) what people are told apart by; nothing that names them.
        asked_TD: (T, D) the same of the people who are labelled or in a queue already.
        count: the order of fewer is the beginning of the order of all.
    """
    feature_SD, asked_TD = _checked(feature_SD, asked_TD)
    nearest_S = _nearest(feature_SD, asked_TD)
    order: list[int] = []
    left_S = np.ones(len(feature_SD), dtype=bool)
    for _ in range(_how_many(len(feature_SD), count)):
        if np.isinf(nearest_S).all():
            amid_S = -np.linalg.norm(feature_SD - np.median(feature_SD, axis=0), axis=1)
            order.append(_best(amid_S, left_S))
        else:
            order.append(_best(nearest_S, left_S))
        nearest_S = np.minimum(nearest_S, _nearest(feature_SD, feature_SD[order[-1:]]))
    return order


def random_order(names: Sequence[str], *, seed: int = 0) -> list[int]:
    """Chance: the same names and ``seed`` give the same order, and a name that comes or goes moves no other."""
    drawn = [hashlib.sha256(f"{seed}/{name}".encode()).digest() for name in names]
    return sorted(range(len(names)), key=lambda index: (drawn[index], index))


def _checked(rows_SD: Array, asked_TD: Array) -> tuple[Array, Array]:
    rows_SD = np.asarray(rows_SD, dtype=np.float64)
    asked_TD = np.asarray(asked_TD, dtype=np.float64).reshape(-1, rows_SD.shape[1])
    if not (np.isfinite(rows_SD).all() and np.isfinite(asked_TD).all()):
        raise ValueError("a person without numbers cannot be put in order; leave them out, or say 1/2 where nothing is known")
    return rows_SD, asked_TD


def _nearest(rows_SD: Array, other_TD: Array) -> Array:
    """The distance of each row to the nearest of the others: (S,), infinite where there are none."""
    nearest_S = np.full(len(rows_SD), np.inf)
    for other_D in other_TD:
        nearest_S = np.minimum(nearest_S, np.linalg.norm(rows_SD - other_D, axis=1))
    return nearest_S


def _best(worth_S: Array, left_S: NDArray[np.bool_]) -> int:
    """The first of those left with the highest worth, who is then no longer left."""
    best = int(np.argmax(np.where(left_S, worth_S, -np.inf)))
    left_S[best] = False
    return best


def _how_many(num: int, count: int | None) -> int:
    return num if count is None else min(num, count)
