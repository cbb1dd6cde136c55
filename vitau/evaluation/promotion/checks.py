"""The checks of a promotion decision: each returns whether it holds, with a sentence and its numbers.

Element 0 of each array (R,) is the point estimate, the others are those of resamples; NaN where undefined.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy.typing as npt

from vitau.evaluation.bootstrap import Interval, defined, format_estimate, format_interval, percentile_interval
from vitau.evaluation.crossvalidation.shortcuts import SEPARATES, ShortcutProbe
from vitau.evaluation.explanations.results import NAMES, PLACES, Explanations
from vitau.evaluation.promotion.policy import CONFOUNDED_SOURCES, Policy

Array = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckResult:
    """The result of one check; ``holds`` is ``None`` if the people leave it undecided and it is not required."""

    check: str
    holds: bool | None
    sentence: str
    numbers: Mapping[str, float | None]


def at_least(check: str, value_R: Array, floor: float) -> CheckResult:
    """Check that a value reaches the floor; an undefined value passes only if the floor is 0."""
    value, interval = _point_and_interval(value_R)
    if value is None:
        holds, sentence = floor <= 0, f"{check} is undefined, since all these people are alike; at least {floor:g} is needed"
    else:
        holds, sentence = value >= floor, f"{check} is {format_estimate(value, interval)}; at least {floor:g} is needed"
    return CheckResult(
        check=check, holds=holds, sentence=sentence, numbers={"challenger": value, **_ends(interval), "limit": floor}
    )


def not_below(check: str, value_R: Array, floor: float) -> CheckResult:
    """Check that the whole interval is not below the floor; undecided where the value is undefined."""
    value, interval = _point_and_interval(value_R)
    numbers = {"challenger": value, **_ends(interval), "limit": floor}
    if value is None or interval is None:
        return CheckResult(
            check=check, holds=None, sentence=f"{check} is undefined: all these people are alike", numbers=numbers
        )
    sentence = f"{check} is {format_estimate(value, interval)}; the whole interval may not lie below {floor:g}"
    return CheckResult(check=check, holds=interval[1] >= floor, sentence=sentence, numbers=numbers)


def of_group(check: str, value_R: Array, num_people: int, enough: bool, policy: Policy) -> CheckResult:
    """Check a group of people against the floor of subgroups; undecided if the group is too small."""
    if not enough:
        sentence = f"{check} has {num_people} people and is not judged; {policy.min_people} are needed"
        return CheckResult(
            check=check, holds=None, sentence=sentence, numbers={"people": num_people, "limit": policy.floor_subgroup}
        )
    reason = not_below(f"{check}, share of correct answers", value_R, policy.floor_subgroup)
    return replace(reason, numbers={**reason.numbers, "people": num_people})


def not_worse(check: str, own_R: Array, other_R: Array, margin: float) -> CheckResult:
    """Check that a value is better, or shown to be worse by less than the margin."""
    difference, interval = _point_and_interval(own_R - other_R)
    own, other = _point_and_interval(own_R)[0], _point_and_interval(other_R)[0]
    numbers = {"challenger": own, "champion": other, "difference": difference, **_ends(interval), "limit": -margin}
    if difference is None or interval is None:
        sentence = f"{check} cannot be compared, since all these people are alike"
        return CheckResult(check=check, holds=margin >= 1, sentence=sentence, numbers=numbers)
    low = interval[0]
    if low > 0:
        word = "better"
    elif low >= -margin:
        word = f"not worse within {margin:g}"
    else:
        word = f"worse by more than {margin:g}, or too few people to exclude it"
    sentence = f"{check} is {own:.3f} against the champion's {other:.3f}: {difference:+.3f}{format_interval(interval)}, {word}"
    return CheckResult(check=check, holds=low >= -margin, sentence=sentence, numbers=numbers)


def not_worse_calibrated(check: str, own_R: Array, other_R: Array, margin: float) -> CheckResult:
    """Check that an error grew by no more than the margin, or by no more than chance explains."""
    difference, interval = _point_and_interval(own_R - other_R)
    assert difference is not None, "an error is defined wherever there are people"
    assert interval is not None, "and so is its interval"
    sentence = (
        f"{check} is {own_R[0]:.3f} against the champion's {other_R[0]:.3f}: {difference:+.3f}{format_interval(interval)}; "
        f"it may grow by {margin:g}, or by what chance explains"
    )
    numbers = {"challenger": float(own_R[0]), "champion": float(other_R[0]), "difference": difference, **_ends(interval)}
    return CheckResult(
        check=check, holds=difference <= margin or interval[0] <= 0, sentence=sentence, numbers={**numbers, "limit": margin}
    )


def not_larger(
    check: str, own: float, other: float | None, limit: float, max_ratio: float, *, scale: float, unit: str
) -> CheckResult:
    """Check that a cost is within its limit and at most ``max_ratio`` times the champion's.

    The sentence shows the cost in units of ``scale``; the numbers are recorded as they are.
    """
    ratio = own / other if other else None
    compared = ""
    if ratio is not None and other is not None:
        compared = f", {ratio:.2f} times the champion's {other / scale:.3g} {unit} (limit {max_ratio:g} times)"
    return CheckResult(
        check=check,
        holds=own <= limit and (ratio is None or ratio <= max_ratio),
        sentence=f"{check} is {own / scale:.3g} {unit}; the limit is {limit / scale:g} {unit}{compared}",
        numbers={"challenger": own, "champion": other, "times": ratio, "limit": limit, "limit_times": max_ratio},
    )


def not_confounded(probe: ShortcutProbe, policy: Policy, *, warned: bool = True) -> CheckResult:
    """Check that the recordings do not separate the cohorts, or that the policy accepts it and the scores carry the warning.

    Args:
        probe: Of the people that the challenger was trained and tested on.
        policy: It accepts confounded sources or does not.
        warned: Whether the challenger's scores carry the warning; those of versions from before the probe do not.
    """
    check, auroc = "shortcut probe", probe.auroc
    numbers = {"challenger": auroc.value, **_ends(auroc.interval), "limit": SEPARATES}
    if auroc.value is None:
        about = f"{probe.num_palsied} palsied people and {probe.num_people - probe.num_palsied} others"
        return CheckResult(
            check=check, holds=None, sentence=f"{check} is undefined for {about}; 5 of each are needed", numbers=numbers
        )
    found = f"{check}, AUROC is {format_estimate(auroc.value, auroc.interval)}"
    if not probe.separates:
        sentence = f"{found}; from {SEPARATES:g} on, the recordings separate the cohorts"
        return CheckResult(check=check, holds=True, sentence=sentence, numbers=numbers)
    separated = f"{found}: the recordings separate the cohorts ({probe.most_telling})"
    if not policy.accept_confounded:
        sentence = f"{separated}; a champion of such people needs VITAU_POLICY={CONFOUNDED_SOURCES.name}"
    elif warned:
        sentence = f"{separated}; policy {policy.name} accepts that with a warning"
    else:
        sentence = (
            f"{separated}, and the scores of this version do not carry the warning, which it is older than; train it again"
        )
    return CheckResult(check=check, holds=policy.accept_confounded and warned, sentence=sentence, numbers=numbers)


def points_at_regions(explanations: Explanations, policy: Policy, part: str, names: Sequence[str]) -> Iterator[CheckResult]:
    """Check that the best explanation of a part is not shown to point at affected regions as rarely as a random point, or less.

    It is undecided where the interval of the difference contains 0, for few people, and for people of training. Nothing is
    checked where none was evaluated.
    """
    name = explanations.best(names)
    if name is None:
        return
    best = explanations.by_name[name]
    gain, interval = best.gain.value, best.gain.interval
    numbers = {"challenger": best.pointing.value, "chance": best.chance.value, "difference": gain, **_ends(interval)}
    found = format_estimate(best.pointing.value, best.pointing.interval)
    sentence = (
        f"explanation of {part}: {NAMES[name]}, pointing at {PLACES[name]} in {found} of frames, a random point in "
        f"{format_estimate(best.chance.value, None)}, on {explanations.people}"
    )
    holds: bool | None = best.beats_chance
    if explanations.num_people < policy.min_people:
        holds, sentence = None, f"{sentence}; {policy.min_people} people are needed"
    elif explanations.seen_in_training:
        holds, sentence = None, f"{sentence}; the model learned from them, so that nothing is judged"
    elif interval is None or interval[0] <= 0 < interval[1]:
        holds, sentence = None, f"{sentence}; the difference may be chance"
    elif not holds:
        sentence = f"{sentence}; no picture explains what the model answers"
    yield CheckResult(check=f"explanation of {part}", holds=holds, sentence=sentence, numbers=numbers)


def _point_and_interval(value_R: Array) -> tuple[float | None, Interval | None]:
    value, interval = defined(value_R[0]), percentile_interval(value_R[1:])
    return (None, None) if value is None or interval is None else (value, interval)


def _ends(interval: Interval | None) -> dict[str, float | None]:
    low, high = interval or (None, None)
    return {"low": low, "high": high}
