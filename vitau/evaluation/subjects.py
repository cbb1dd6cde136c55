"""The scores of people: means over the frames of each person, who has one truth.

Axes: N frames, S people, K questions.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vitau.evaluation.bootstrap import Array
from vitau.evaluation.decision import log_odds, sigmoid


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SubjectScores:
    """One row per person: truth and mean score, both (S, K) for K questions; ``known`` is False where there is no label."""

    subjects: tuple[str, ...]
    truth_SK: Array
    score_SK: Array
    known_SK: Array


def by_subject(
    subjects: Sequence[str], truth: Array, score: Array, known: Array | None = None, *, averages_log_odds: bool = False
) -> SubjectScores:
    """Average the frame scores of each person.

    Args:
        subjects: N pseudonyms, one per frame.
        truth: (N,) or (N, K) bool, equal in all frames of a person.
        score: (N,) or (N, K) float.
        known: (N,) or (N, K) bool, False where the truth is unknown; all known by default.
        averages_log_odds: The scores are probabilities, and a person's is that of the mean log-odds.

    Raises:
        ValueError: There is no frame, the lengths differ, or a person has two truths.
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
    if averages_log_odds:
        score_NK = log_odds(score_NK)
    score_SK = np.stack([np.bincount(index, column) / frames_S for column in score_NK.T], axis=1)
    if averages_log_odds:
        score_SK = sigmoid(score_SK)
    return SubjectScores(subjects=tuple(names.tolist()), truth_SK=truth_SK, score_SK=score_SK, known_SK=known_SK)


def _columns(values: Array) -> Array:
    values = np.asarray(values)
    return values[:, None] if values.ndim == 1 else values
