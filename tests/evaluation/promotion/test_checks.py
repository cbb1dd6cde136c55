"""Each check of a promotion on numbers that can be followed by hand: whether it holds, its sentence and its numbers."""

import numpy as np
import pytest

from vitau.evaluation.crossvalidation.shortcuts import ShortcutProbe
from vitau.evaluation.explanations.results import OF_RECOGNITION, OF_REGIONS, ExplanationMetrics, Explanations
from vitau.evaluation.metrics import Estimate
from vitau.evaluation.promotion import checks
from vitau.evaluation.promotion.checks import CheckResult, points_at_regions
from vitau.evaluation.promotion.policy import CONFOUNDED_SOURCES, PATIENTS

UNDEFINED = np.full(42, np.nan)


def value(point: float, low: float | None = None, high: float | None = None) -> np.ndarray:
    """A point estimate and 41 resamples whose 2.5 and 97.5 % quantiles are ``low`` and ``high``."""
    resamples = np.full(41, point)
    resamples[:2], resamples[-2:] = (point if low is None else low), (point if high is None else high)
    return np.concatenate([[point], resamples])


@pytest.mark.parametrize(("point", "holds"), [(0.7, True), (0.75, True), (0.6999, False)])
def test_a_value_reaches_the_floor_or_not(point: float, holds: bool) -> None:
    assert checks.at_least("AUROC", value(point, 0.5, 0.875), 0.7) == CheckResult(
        check="AUROC",
        holds=holds,
        sentence=f"AUROC is {point:.3f} [0.500, 0.875]; at least 0.7 is needed",
        numbers={"challenger": point, "low": 0.5, "high": 0.875, "limit": 0.7},
    )


@pytest.mark.parametrize(("floor", "holds"), [(0.0, True), (0.25, False)])
def test_an_undefined_value_passes_only_without_a_floor(floor: float, holds: bool) -> None:
    assert checks.at_least("AUROC", UNDEFINED, floor) == CheckResult(
        check="AUROC",
        holds=holds,
        sentence=f"AUROC is undefined, since all these people are alike; at least {floor:g} is needed",
        numbers={"challenger": None, "low": None, "high": None, "limit": floor},
    )


@pytest.mark.parametrize(("high", "holds"), [(0.5, True), (0.625, True), (0.4375, False)])
def test_an_interval_lies_below_the_floor_or_not(high: float, holds: bool) -> None:
    assert checks.not_below("AU1", value(0.375, 0.25, high), 0.5) == CheckResult(
        check="AU1",
        holds=holds,
        sentence=f"AU1 is 0.375 [0.250, {high:.3f}]; the whole interval may not lie below 0.5",
        numbers={"challenger": 0.375, "low": 0.25, "high": high, "limit": 0.5},
    )


def test_an_undefined_value_is_not_below_anything() -> None:
    assert checks.not_below("AU1", UNDEFINED, 0.5) == CheckResult(
        check="AU1",
        holds=None,
        sentence="AU1 is undefined: all these people are alike",
        numbers={"challenger": None, "low": None, "high": None, "limit": 0.5},
    )


def test_a_group_is_judged_if_it_is_large_enough() -> None:
    assert checks.of_group("source a", value(0.25), 4, enough=False, policy=PATIENTS) == CheckResult(
        check="source a",
        holds=None,
        sentence="source a has 4 people and is not judged; 5 are needed",
        numbers={"people": 4, "limit": 0.5},
    )
    assert checks.of_group("source a", value(0.25), 9, enough=True, policy=PATIENTS) == CheckResult(
        check="source a, share of correct answers",
        holds=False,
        sentence="source a, share of correct answers is 0.250 [0.250, 0.250]; the whole interval may not lie below 0.5",
        numbers={"challenger": 0.25, "low": 0.25, "high": 0.25, "limit": 0.5, "people": 9},
    )


@pytest.mark.parametrize(
    ("low", "holds", "words"),
    [
        (0.03125, True, "better"),
        (0.0, True, "not worse within 0.0625"),
        (-0.0625, True, "not worse within 0.0625"),
        (-0.09375, False, "worse by more than 0.0625, or too few people to exclude it"),
    ],
)
def test_a_challenger_may_be_worse_by_less_than_the_margin(low: float, holds: bool, words: str) -> None:
    own, other = value(0.875, 0.75 + low, 1.0), value(0.75)
    assert checks.not_worse("AUROC", own, other, 0.0625) == CheckResult(
        check="AUROC",
        holds=holds,
        sentence=f"AUROC is 0.875 against the champion's 0.750: +0.125 [{low:.3f}, 0.250], {words}",
        numbers={"challenger": 0.875, "champion": 0.75, "difference": 0.125, "low": low, "high": 0.25, "limit": -0.0625},
    )


@pytest.mark.parametrize(("margin", "holds"), [(1.0, True), (0.9375, False)])
def test_what_cannot_be_compared_passes_only_if_any_loss_may(margin: float, holds: bool) -> None:
    assert checks.not_worse("AUROC", UNDEFINED, value(0.75), margin) == CheckResult(
        check="AUROC",
        holds=holds,
        sentence="AUROC cannot be compared, since all these people are alike",
        numbers={"challenger": None, "champion": 0.75, "difference": None, "low": None, "high": None, "limit": -margin},
    )


@pytest.mark.parametrize(
    ("grown", "low", "holds"), [(0.0625, 0.03125, True), (0.125, 0.0, True), (0.125, 0.03125, False), (-0.25, -0.5, True)]
)
def test_an_error_may_grow_by_the_margin_or_by_chance(grown: float, low: float, holds: bool) -> None:
    own, other = value(0.25 + grown, 0.25 + low, 0.75), value(0.25)
    assert checks.not_worse_calibrated("Brier", own, other, 0.0625) == CheckResult(
        check="Brier",
        holds=holds,
        sentence=(
            f"Brier is {0.25 + grown:.3f} against the champion's 0.250: {grown:+.3f} [{low:.3f}, 0.500]; "
            "it may grow by 0.0625, or by what chance explains"
        ),
        numbers={
            "challenger": 0.25 + grown,
            "champion": 0.25,
            "difference": grown,
            "low": low,
            "high": 0.5,
            "limit": 0.0625,
        },
    )


@pytest.mark.parametrize(
    ("own", "other", "holds"), [(8.0, 4.0, True), (8.0, 2.0, False), (17.0, 16.0, False), (16.0, 16.0, True), (16.0, 8.0, True)]
)
def test_a_cost_has_a_limit_and_may_not_grow_much(own: float, other: float, holds: bool) -> None:
    assert checks.not_larger("size", own, other, 16.0, 2.0, scale=2.0, unit="kB") == CheckResult(
        check="size",
        holds=holds,
        sentence=(
            f"size is {own / 2:.3g} kB; the limit is 8 kB, {own / other:.2f} times the champion's {other / 2:.3g} kB "
            "(limit 2 times)"
        ),
        numbers={"challenger": own, "champion": other, "times": own / other, "limit": 16.0, "limit_times": 2.0},
    )


@pytest.mark.parametrize("other", [None, 0.0])
def test_a_first_cost_is_compared_with_its_limit_only(other: float | None) -> None:
    assert checks.not_larger("size", 8.0, other, 16.0, 2.0, scale=1.0, unit="B") == CheckResult(
        check="size",
        holds=True,
        sentence="size is 8 B; the limit is 16 B",
        numbers={"challenger": 8.0, "champion": other, "times": None, "limit": 16.0, "limit_times": 2.0},
    )


def probe(auroc: float | None) -> ShortcutProbe:
    interval = None if auroc is None else (0.5, 1.0)
    return ShortcutProbe(
        num_people=12, num_palsied=4, auroc=Estimate(value=auroc, interval=interval), by_column={"saturation": auroc or 0.5}
    )


def test_a_probe_of_too_few_people_decides_nothing() -> None:
    assert checks.not_confounded(probe(None), PATIENTS) == CheckResult(
        check="shortcut probe",
        holds=None,
        sentence="shortcut probe is undefined for 4 palsied people and 8 others; 5 of each are needed",
        numbers={"challenger": None, "low": None, "high": None, "limit": 0.9},
    )


def test_a_probe_below_the_limit_is_no_reason() -> None:
    assert checks.not_confounded(probe(0.75), PATIENTS) == CheckResult(
        check="shortcut probe",
        holds=True,
        sentence="shortcut probe, AUROC is 0.750 [0.500, 1.000]; from 0.9 on, the recordings separate the cohorts",
        numbers={"challenger": 0.75, "low": 0.5, "high": 1.0, "limit": 0.9},
    )


@pytest.mark.parametrize(
    ("policy", "warned", "holds", "words"),
    [
        (PATIENTS, True, False, "; a champion of such people needs VITAU_POLICY=confounded-sources"),
        (CONFOUNDED_SOURCES, True, True, "; policy confounded-sources accepts that with a warning"),
        (
            CONFOUNDED_SOURCES,
            False,
            False,
            ", and the scores of this version do not carry the warning, which it is older than; train it again",
        ),
    ],
)
def test_recordings_that_separate_the_cohorts_need_the_named_policy_and_the_warning(
    policy: object, warned: bool, holds: bool, words: str
) -> None:
    of = probe(0.96875)
    assert checks.not_confounded(of, policy, warned=warned) == CheckResult(  # type: ignore[arg-type]
        check="shortcut probe",
        holds=holds,
        sentence=(
            f"shortcut probe, AUROC is 0.969 [0.500, 1.000]: the recordings separate the cohorts ({of.most_telling}){words}"
        ),
        numbers={"challenger": 0.96875, "low": 0.5, "high": 1.0, "limit": 0.9},
    )
    assert checks.not_confounded(of, CONFOUNDED_SOURCES).holds is True, "a version of today carries the warning"


def explained(gain: float, low: float, num_people: int = 20, *, high: float = 0.9, seen: bool = False) -> Explanations:
    """Build explanations of which mirror occlusion gains that much over chance, and Grad-CAM loses."""
    same = Estimate(value=0.2, interval=(0.1, 0.3))

    def own(value: float, low: float, high: float) -> ExplanationMetrics:
        return ExplanationMetrics(
            pointing=Estimate(value=0.2 + value, interval=(low + 0.2, 1.0)),
            gain=Estimate(value=value, interval=(low, high)),
            **dict.fromkeys(
                ("chance", "chance_on_face", "face_mass", "face_area", "deletion", "insertion", "randomized", "empty"), same
            ),
        )

    by_name = {"gradcam": own(-0.1, -0.2, -0.05), "mirror_occlusion": own(gain, low, high)}
    return Explanations(num_people=num_people, num_frames=2 * num_people, seen_in_training=seen, by_name=by_name)


@pytest.mark.parametrize(
    ("given", "holds", "ending"),
    [
        (explained(0.5, 0.1), True, "on 20 palsied people who were not in training, 40 frames"),
        (explained(0.1, -0.1), None, "; the difference may be chance"),
        (explained(-0.05, -0.1, high=0.01), None, "; the difference may be chance"),
        (explained(0.0, 0.0, high=0.0), False, "; no picture explains what the model answers"),
        (explained(-0.05, -0.1, high=-0.02), False, "; no picture explains what the model answers"),
        (explained(-0.05, -0.1, 4, high=-0.02), None, "; 5 people are needed"),
        (explained(0.5, 0.1, seen=True), None, "; the model learned from them, so that nothing is judged"),
    ],
)
def test_the_best_explanation_must_not_be_shown_to_point_no_better_than_chance(
    given: Explanations, holds: bool | None, ending: str
) -> None:
    (found,) = points_at_regions(given, PATIENTS, "recognition", OF_RECOGNITION)
    assert (found.check, found.holds) == ("explanation of recognition", holds)
    assert found.sentence.startswith("explanation of recognition: mirror occlusion, pointing at an affected region in ")
    assert found.sentence.endswith(ending)
    assert found.numbers["difference"] == given.by_name["mirror_occlusion"].gain.value
    assert found.numbers["chance"] == 0.2
    assert list(points_at_regions(given, PATIENTS, "regions", OF_REGIONS)) == [], "none of them was evaluated"
