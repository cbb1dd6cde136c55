"""Held-out people and the scores of models for them: the input of a promotion decision.

Axes: S people, 8 regions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from vitau.evaluation.explanations.results import Explanations
from vitau.schema import Protocol

Array = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class HeldOut:
    """The truth about S held-out people: ``palsied_S`` bool, ``affected_SA`` and ``known_SA`` bool (S, 8).

    ``groups`` maps the name of an attribute to the value of every person, ``None`` where it is not recorded. ``protocol`` is
    how they were kept from the challenger.
    """

    subjects: Sequence[str]
    palsied_S: Array
    affected_SA: Array
    known_SA: Array
    groups: Mapping[str, Sequence[str | None]] = field(default_factory=dict)
    protocol: Protocol = Protocol.SUBJECTS


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Answers:
    """The scores of a model for the same S people, means over the frames of each person, and its cost.

    Attributes:
        palsy_S: Probability of a palsy; a palsy at or above ``threshold``. NaN for a person who cannot test a champion: then
            both models are compared on the others.
        region_SA: (S, 8) score of the regions, −1 to 1, affected above 0. Only those of palsied people count. ``None`` for
            recognition alone.
        threshold: Of recognition; (S,) if each person was predicted by models of their own.
        num_parameters: Of both models in the bundle.
        face_flops: Floating-point operations that both models need for one face.
        right_S: Probability that the right is the affected side, NaN where it is not known; ``None`` for a model without sides.
        explanations: How true the explanations of its recognition are; ``None`` for models of earlier versions, which are not
            judged by them.
    """

    palsy_S: Array
    region_SA: Array | None
    threshold: float | Array
    num_parameters: int
    face_flops: int
    right_S: Array | None = None
    explanations: Explanations | None = None


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Comparison:
    """The people who can test both models, the scores of both, and which of all S people they are, (S,) bool."""

    people: HeldOut
    challenger: Answers
    champion: Answers
    common_S: Array


def compare_on_common_people(people: HeldOut, challenger: Answers, champion: Answers | None) -> Comparison | None:
    """Return the people who can test both models; ``None`` without a champion."""
    if champion is None:
        return None
    common_S = ~np.isnan(champion.palsy_S)
    restricted = replace(
        people,
        subjects=tuple(np.asarray(people.subjects, dtype=str)[common_S].tolist()),
        palsied_S=people.palsied_S[common_S],
        affected_SA=people.affected_SA[common_S],
        known_SA=people.known_SA[common_S],
        groups={},
    )
    own, other = (_chosen(answers, common_S) for answers in (challenger, champion))
    return Comparison(people=restricted, challenger=own, champion=other, common_S=common_S)


def _chosen(answers: Answers, chosen_S: Array) -> Answers:
    return replace(
        answers,
        palsy_S=answers.palsy_S[chosen_S],
        region_SA=None if answers.region_SA is None else answers.region_SA[chosen_S],
        right_S=None if answers.right_S is None else answers.right_S[chosen_S],
        threshold=answers.threshold if np.ndim(answers.threshold) == 0 else np.asarray(answers.threshold)[chosen_S],
    )


def sort_people(people: HeldOut, challenger: Answers, champion: Answers | None) -> tuple[HeldOut, Answers, Answers | None]:
    """Sort all arrays by pseudonym: a verdict does not depend on the order of people."""
    num_people = len(people.subjects)
    order = np.argsort(np.asarray(people.subjects, dtype=str))

    def take(values: Any, name: str) -> Array:
        if len(values) != num_people:
            raise ValueError(f"{num_people} people and {len(values)} of {name} must be equally many")
        return np.asarray(values)[order]

    def answers(given: Answers, name: str) -> Answers:
        region_SA = None if given.region_SA is None else take(given.region_SA, f"the {name}'s regions")
        own = given.threshold if np.ndim(given.threshold) == 0 else take(given.threshold, f"the {name}'s thresholds")
        right_S = None if given.right_S is None else take(given.right_S, f"the {name}'s sides")
        palsy_S = take(given.palsy_S, f"the {name}'s answers")
        return replace(given, palsy_S=palsy_S, region_SA=region_SA, threshold=own, right_S=right_S)

    groups = {name: np.array(list(values), dtype=object) for name, values in people.groups.items()}
    ordered = HeldOut(
        subjects=tuple(np.asarray(people.subjects, dtype=str)[order].tolist()),
        palsied_S=take(people.palsied_S, "palsied").astype(bool),
        affected_SA=take(people.affected_SA, "affected").astype(bool),
        known_SA=take(people.known_SA, "known").astype(bool),
        groups={name: take(values, name).tolist() for name, values in groups.items()},
        protocol=people.protocol,
    )
    return ordered, answers(challenger, "challenger"), None if champion is None else answers(champion, "champion")
