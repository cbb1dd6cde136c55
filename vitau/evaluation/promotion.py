"""The promotion decision: from the scores of held-out people to a verdict with its reasons.

Both models score the same people. Neither model was trained on them, and none of them chose an epoch or a threshold. The
bootstrap is paired: each resample holds the same people for both models, so the difficulty of a person cancels. The functions
are pure: the same arrays yield the same verdict.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from vitau.evaluation.bootstrap import mean_of_defined, resample_weights, weighted_mean, with_point_estimate
from vitau.evaluation.checks import CheckResult, at_least, not_below, not_larger, not_worse, not_worse_calibrated, of_group
from vitau.evaluation.measure import calibration, decisions
from vitau.evaluation.policy import PATIENTS, Policy
from vitau.schema import AUS

Array = npt.NDArray[Any]
NUM_RESAMPLES: Final = 2000


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class HeldOut:
    """The truth about S held-out people: ``palsied_S`` bool, ``affected_SA`` and ``known_SA`` bool (S, 8).

    ``groups`` maps the name of an attribute to the value of every person, ``None`` where it is not recorded.
    """

    subjects: Sequence[str]
    palsied_S: Array
    affected_SA: Array
    known_SA: Array
    groups: Mapping[str, Sequence[str | None]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Answers:
    """The scores of a model for the same S people, means over the frames of each person, and its cost.

    Attributes:
        palsy_S: Probability of a palsy; a palsy at or above ``threshold``.
        region_SA: (S, 8) score of the regions, −1 to 1, affected above 0. Only those of palsied people count. ``None`` for
            recognition alone.
        threshold: Of recognition.
        num_parameters: Of both models in the bundle.
        face_flops: Floating-point operations that both models need for one face.
    """

    palsy_S: Array
    region_SA: Array | None
    threshold: float
    num_parameters: int
    face_flops: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """The decision about a challenger with all checks; ``first`` is true if there was no champion to compare with."""

    promote: bool
    first: bool
    num_people: int
    num_palsied: int
    policy: Policy
    reasons: tuple[CheckResult, ...]

    @property
    def against(self) -> tuple[CheckResult, ...]:
        """Return the checks that failed."""
        return tuple(reason for reason in self.reasons if reason.holds is False)


def decide_promotion(
    people: HeldOut,
    challenger: Answers,
    champion: Answers | None,
    policy: Policy = PATIENTS,
    *,
    seed: int = 0,
    num_resamples: int = NUM_RESAMPLES,
) -> Verdict:
    """Run every check of the policy; one that fails refuses the challenger.

    Args:
        people: Held out from both models.
        challenger: Its scores.
        champion: The champion's scores; ``None`` for a first model, which only needs to reach the floors.
        policy: The limits.
        seed: Of the bootstrap.
        num_resamples: Number of resamples of people.

    Raises:
        ValueError: The arrays are not of the same people.
    """
    people, challenger, champion = _sorted(people, challenger, champion)
    reasons: list[CheckResult] = []
    num_palsied = int(people.palsied_S.sum())
    least = min(num_palsied, len(people.subjects) - num_palsied)
    reasons.append(
        CheckResult(
            check="held-out people",
            holds=least >= policy.min_people,
            sentence=f"{num_palsied} palsied people and {len(people.subjects) - num_palsied} others were held out from both; "
            f"{policy.min_people} of each are needed",
            numbers={"palsied": num_palsied, "others": len(people.subjects) - num_palsied, "limit": policy.min_people},
        )
    )
    if least > 0:
        weight_RS = with_point_estimate(resample_weights(len(people.subjects), num_resamples, seed))
        reasons += _recognition(people, challenger, champion, policy, weight_RS)
        if challenger.region_SA is not None:
            reasons += _regions(people, challenger, champion, policy, weight_RS)
        reasons += _subgroups(people, challenger, policy, weight_RS)
    reasons += _costs(challenger, champion, policy)
    return Verdict(
        promote=all(reason.holds is not False for reason in reasons),
        first=champion is None,
        num_people=len(people.subjects),
        num_palsied=num_palsied,
        policy=policy,
        reasons=tuple(reasons),
    )


def _recognition(
    people: HeldOut, challenger: Answers, champion: Answers | None, policy: Policy, weight_RS: Array
) -> Iterator[CheckResult]:
    """Check recognition: at least the floors, calibrated, and not worse than the champion."""
    own = _palsy_numbers(people, challenger, weight_RS)
    yield at_least("recognition, AUROC", own["auroc"], policy.floor_auroc)
    brier = float(own["brier"][0])
    yield CheckResult(
        check="recognition, Brier score",
        holds=brier <= policy.max_brier,
        sentence=f"recognition's Brier score is {brier:.3f}; at most {policy.max_brier:g} is allowed",
        numbers={"challenger": brier, "limit": policy.max_brier},
    )
    if champion is not None:
        other = _palsy_numbers(people, champion, weight_RS)
        for name, margin in (("auroc", policy.margin_auroc), ("balanced_accuracy", policy.margin_balanced_accuracy)):
            yield not_worse(f"recognition, {_WORDS[name]}", own[name], other[name], margin)
        for name, margin in (("brier", policy.margin_brier), ("ece", policy.margin_ece)):
            yield not_worse_calibrated(f"recognition, {_WORDS[name]}", own[name], other[name], margin)


def _regions(
    people: HeldOut, challenger: Answers, champion: Answers | None, policy: Policy, weight_RS: Array
) -> Iterator[CheckResult]:
    """Check the regions of palsied people: mean at least the floor and not worse, no region shown to be below chance."""
    own = _region_numbers(people, challenger, weight_RS)
    yield at_least("regions, mean AUROC", own["auroc"], policy.floor_region_auroc)
    for au in AUS:
        yield not_below(f"{au}, AUROC", own[au], policy.floor_au)
    if champion is not None and champion.region_SA is not None:
        other = _region_numbers(people, champion, weight_RS)
        for name, margin in (("auroc", policy.margin_auroc), ("balanced_accuracy", policy.margin_balanced_accuracy)):
            yield not_worse(f"regions, mean {_WORDS[name]}", own[name], other[name], margin)


def _subgroups(people: HeldOut, challenger: Answers, policy: Policy, weight_RS: Array) -> Iterator[CheckResult]:
    """Check the share of correct answers in every group with enough people."""
    right_S = (challenger.palsy_S >= challenger.threshold) == people.palsied_S
    for attribute, values in sorted(people.groups.items()):
        value_S = np.array([value if value is not None else "" for value in values])
        for value in sorted(set(value_S.tolist()) - {""}):
            in_S = value_S == value
            enough = int(in_S.sum()) >= policy.min_people
            recall = [
                weighted_mean(weight_RS[:, chosen_S], right_S[chosen_S].astype(float))
                for chosen_S in (in_S & people.palsied_S, in_S & ~people.palsied_S)
                if chosen_S.any()
            ]
            yield of_group(f"recognition, {attribute} {value}", np.mean(recall, axis=0), int(in_S.sum()), enough, policy)
            asked_S = in_S & people.palsied_S & people.known_SA.any(1)
            if challenger.region_SA is not None and asked_S.any():
                known_SA = people.known_SA[asked_S]
                hit_SA = ((challenger.region_SA[asked_S] > 0) == people.affected_SA[asked_S]) & known_SA
                share_R = weighted_mean(weight_RS[:, asked_S], hit_SA.sum(1) / known_SA.sum(1))
                num = int(asked_S.sum())
                yield of_group(f"regions, {attribute} {value}", share_R, num, num >= policy.min_people, policy)


def _costs(challenger: Answers, champion: Answers | None, policy: Policy) -> Iterator[CheckResult]:
    """Check parameters and operations per face, by themselves and relative to the champion's.

    Both are counted, not measured: a verdict does not depend on how busy the machine is.
    """
    other = (None, None) if champion is None else (champion.num_parameters, champion.face_flops)
    yield not_larger(
        "size",
        challenger.num_parameters,
        other[0],
        policy.max_parameters,
        policy.max_growth,
        scale=1e6,
        unit="million parameters",
    )
    yield not_larger(
        "computation per face",
        challenger.face_flops,
        other[1],
        policy.max_face_flops,
        policy.max_flop_growth,
        scale=1e9,
        unit="GFLOP",
    )


_WORDS: Final = {"auroc": "AUROC", "balanced_accuracy": "balanced accuracy", "brier": "Brier score", "ece": "calibration error"}


def _palsy_numbers(people: HeldOut, answers: Answers, weight_RS: Array) -> dict[str, Array]:
    called_S = answers.palsy_S >= answers.threshold
    return {
        **decisions(people.palsied_S, called_S, answers.palsy_S, weight_RS),
        **calibration(people.palsied_S, answers.palsy_S, weight_RS),
    }


def _region_numbers(people: HeldOut, answers: Answers, weight_RS: Array) -> dict[str, Array]:
    """Compute the AUROC by region, and means over the regions in which it is defined."""
    assert answers.region_SA is not None
    by_au = {}
    for column, au in enumerate(AUS):
        asked_S = people.palsied_S & people.known_SA[:, column]
        score_S, truth_S = answers.region_SA[asked_S, column], people.affected_SA[asked_S, column]
        by_au[au] = decisions(truth_S, score_S > 0, score_S, weight_RS[:, asked_S])
    means = {
        name: mean_of_defined(np.stack([numbers[name] for numbers in by_au.values()]))
        for name in ("auroc", "balanced_accuracy")
    }
    return {**means, **{au.value: numbers["auroc"] for au, numbers in by_au.items()}}


def _sorted(people: HeldOut, challenger: Answers, champion: Answers | None) -> tuple[HeldOut, Answers, Answers | None]:
    """Sort all arrays by pseudonym: a verdict does not depend on the order of people."""
    num_people = len(people.subjects)
    order = np.argsort(np.asarray(people.subjects, dtype=str))

    def take(values: Any, name: str) -> Array:
        if len(values) != num_people:
            raise ValueError(f"{num_people} people and {len(values)} of {name} must be equally many")
        return np.asarray(values)[order]

    def answers(given: Answers, name: str) -> Answers:
        region_SA = None if given.region_SA is None else take(given.region_SA, f"the {name}'s regions")
        return replace(given, palsy_S=take(given.palsy_S, f"the {name}'s answers"), region_SA=region_SA)

    groups = {name: np.array(list(values), dtype=object) for name, values in people.groups.items()}
    ordered = HeldOut(
        subjects=tuple(np.asarray(people.subjects, dtype=str)[order].tolist()),
        palsied_S=take(people.palsied_S, "palsied").astype(bool),
        affected_SA=take(people.affected_SA, "affected").astype(bool),
        known_SA=take(people.known_SA, "known").astype(bool),
        groups={name: take(values, name).tolist() for name, values in groups.items()},
    )
    return ordered, answers(challenger, "challenger"), None if champion is None else answers(champion, "champion")
