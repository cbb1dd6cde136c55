"""The promotion decision: from the scores of held-out people to a verdict with its reasons.

Both models score the same people. Neither model was trained on them, and none of them chose an epoch or a threshold. Where
people were left out one at a time, the scores are those of the folds' models, by the same recipe. The
bootstrap is paired: each resample holds the same people for both models, so the difficulty of a person cancels. The functions
are pure: the same arrays yield the same verdict.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from vitau.evaluation.bootstrap import mean_of_defined, resample_weights, weighted_mean, with_point_estimate
from vitau.evaluation.crossvalidation.shortcuts import ShortcutProbe
from vitau.evaluation.explanations.results import OF_RECOGNITION, OF_REGIONS
from vitau.evaluation.measure import calibration, decisions
from vitau.evaluation.promotion.checks import (
    CheckResult,
    at_least,
    not_below,
    not_confounded,
    not_larger,
    not_worse,
    not_worse_calibrated,
    of_group,
    points_at_regions,
)
from vitau.evaluation.promotion.held_out import Answers, Comparison, HeldOut, compare_on_common_people, sort_people
from vitau.evaluation.promotion.policy import PATIENTS, Policy
from vitau.schema import AUS, Protocol

Array = npt.NDArray[Any]
NUM_RESAMPLES: Final = 2000


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
    probe: ShortcutProbe | None = None,
    warned: bool = True,
    seed: int = 0,
    num_resamples: int = NUM_RESAMPLES,
) -> Verdict:
    """Run every check of the policy; one that fails refuses the challenger.

    Args:
        people: Held out from both models.
        challenger: Its scores.
        champion: The champion's scores; ``None`` for a first model, which only needs to reach the floors.
        policy: The limits.
        probe: Of the people of the challenger's snapshot; not checked without one.
        warned: Whether the challenger's scores carry the probe's warning.
        seed: Of the bootstrap.
        num_resamples: Number of resamples of people.

    Raises:
        ValueError: The arrays are not of the same people.
    """
    people, challenger, champion = sort_people(people, challenger, champion)
    reasons: list[CheckResult] = []
    num_palsied = int(people.palsied_S.sum())
    least = min(num_palsied, len(people.subjects) - num_palsied)
    reasons.append(_enough_people(people, policy))
    if people.protocol is Protocol.FRAMES:
        reasons.append(SEEN_IN_TRAINING)
    if probe is not None:
        reasons.append(not_confounded(probe, policy, warned=warned))
    if least > 0:
        weight_RS = with_point_estimate(resample_weights(len(people.subjects), num_resamples, seed))
        comparison = compare_on_common_people(people, challenger, champion)
        if comparison is not None:
            reasons += _people_in_common(comparison, policy)
            comparison = comparison if comparison.common_S.any() else None
        reasons += _recognition(people, challenger, comparison, policy, weight_RS)
        if challenger.region_SA is not None:
            reasons += _regions(people, challenger, comparison, policy, weight_RS)
            reasons += _sides(people, challenger, comparison, policy, weight_RS)
        reasons += _subgroups(people, challenger, policy, weight_RS)
    if challenger.explanations is not None and policy.judge_explanations:
        reasons += points_at_regions(challenger.explanations, policy, "recognition", OF_RECOGNITION)
        reasons += points_at_regions(challenger.explanations, policy, "regions", OF_REGIONS)
    reasons += _costs(challenger, champion, policy)
    return Verdict(
        promote=all(reason.holds is not False for reason in reasons),
        first=champion is None,
        num_people=len(people.subjects),
        num_palsied=num_palsied,
        policy=policy,
        reasons=tuple(reasons),
    )


SEEN_IN_TRAINING: Final = CheckResult(
    check="protocol",
    holds=False,
    sentence="protocol frames tests people who were seen in training: its numbers promise nothing about new people",
    numbers={},
)


def _enough_people(people: HeldOut, policy: Policy) -> CheckResult:
    """Check the number of people who were held out, or left out one at a time."""
    num_palsied, one_at_a_time = int(people.palsied_S.sum()), people.protocol is Protocol.LOPO
    num_others, limit = len(people.subjects) - num_palsied, policy.min_left_out if one_at_a_time else policy.min_people
    how = "left out one at a time" if one_at_a_time else "held out from both"
    return CheckResult(
        check="held-out people",
        holds=min(num_palsied, num_others) >= limit,
        sentence=f"{num_palsied} palsied people and {num_others} others were {how}; {limit} of each are needed",
        numbers={"palsied": num_palsied, "others": num_others, "limit": limit},
    )


def _people_in_common(comparison: Comparison, policy: Policy) -> Iterator[CheckResult]:
    """Check the number of people who can test both models, unless these are all."""
    if comparison.common_S.all():
        return
    num_palsied = int(comparison.people.palsied_S.sum())
    num_others = len(comparison.people.subjects) - num_palsied
    yield CheckResult(
        check="people in common",
        holds=min(num_palsied, num_others) >= policy.min_people,
        sentence=f"the champion learned from the others: it is compared on {num_palsied} palsied people and {num_others} more; "
        f"{policy.min_people} of each are needed",
        numbers={"palsied": num_palsied, "others": num_others, "limit": policy.min_people},
    )


def _recognition(
    people: HeldOut, challenger: Answers, comparison: Comparison | None, policy: Policy, weight_RS: Array
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
    if comparison is not None:
        answers, weight_RS = (comparison.challenger, comparison.champion), weight_RS[:, comparison.common_S]
        own, other = (_palsy_numbers(comparison.people, given, weight_RS) for given in answers)
        for name, margin in (("auroc", policy.margin_auroc), ("balanced_accuracy", policy.margin_balanced_accuracy)):
            yield not_worse(f"recognition, {_WORDS[name]}", own[name], other[name], margin)
        for name, margin in (("brier", policy.margin_brier), ("ece", policy.margin_ece)):
            yield not_worse_calibrated(f"recognition, {_WORDS[name]}", own[name], other[name], margin)


def _regions(
    people: HeldOut, challenger: Answers, comparison: Comparison | None, policy: Policy, weight_RS: Array
) -> Iterator[CheckResult]:
    """Check the regions of palsied people: mean at least the floor and not worse, no region shown to be below chance."""
    own = _region_numbers(people, challenger, weight_RS)
    yield at_least("regions, mean AUROC", own["auroc"], policy.floor_region_auroc)
    for au in AUS:
        yield not_below(f"{au}, AUROC", own[au], policy.floor_au)
    if comparison is not None and comparison.champion.region_SA is not None:
        answers, weight_RS = (comparison.challenger, comparison.champion), weight_RS[:, comparison.common_S]
        own, other = (_region_numbers(comparison.people, given, weight_RS) for given in answers)
        for name, margin in (("auroc", policy.margin_auroc), ("balanced_accuracy", policy.margin_balanced_accuracy)):
            yield not_worse(f"regions, mean {_WORDS[name]}", own[name], other[name], margin)


def _sides(
    people: HeldOut, challenger: Answers, comparison: Comparison | None, policy: Policy, weight_RS: Array
) -> Iterator[CheckResult]:
    """Check that the affected side is named, and not worse than by a champion that names it.

    A champion without sides is no reason against a challenger with sides. The other way round is a person's choice of the
    recipe, which the record shows.
    """
    champion = None if comparison is None else comparison.champion
    if challenger.right_S is None:
        if champion is not None and champion.right_S is not None:
            sentence = "the champion names the affected side, and the challenger does not"
            yield CheckResult(check="affected side", holds=None, sentence=sentence, numbers={})
        return
    side_S = np.array([side or "" for side in people.groups.get("side", [None] * len(people.subjects))])
    asked_S = people.palsied_S & np.isin(side_S, ("right", "left")) & ~np.isnan(challenger.right_S)
    right_S = side_S == "right"

    def correct(answers: Array, among_S: Array, truth: Array) -> Array:
        return weighted_mean(weight_RS[:, among_S], ((answers >= 0.5) == truth).astype(float))

    enough = int(asked_S.sum()) >= policy.min_people
    own_R = correct(challenger.right_S[asked_S], asked_S, right_S[asked_S])
    yield of_group("affected side", own_R, int(asked_S.sum()), enough, policy)
    if comparison is not None and champion is not None and champion.right_S is not None:
        both_S = asked_S & comparison.common_S
        both_S[comparison.common_S] &= ~np.isnan(champion.right_S)
        if int(both_S.sum()) >= policy.min_people:
            other = champion.right_S[both_S[comparison.common_S]]
            pair = correct(challenger.right_S[both_S], both_S, right_S[both_S]), correct(other, both_S, right_S[both_S])
            yield not_worse("affected side, accuracy", *pair, policy.margin_balanced_accuracy)


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
