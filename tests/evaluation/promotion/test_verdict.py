"""The promotion decision on generated scores: no model, no service."""

from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitau.catalog.signing import canonical
from vitau.evaluation.crossvalidation.shortcuts import ShortcutProbe
from vitau.evaluation.explanations.results import ExplanationMetrics, Explanations
from vitau.evaluation.measure import palsy_metrics
from vitau.evaluation.metrics import Estimate
from vitau.evaluation.promotion.checks import CheckResult
from vitau.evaluation.promotion.held_out import Answers, HeldOut
from vitau.evaluation.promotion.policy import CONFOUNDED_SOURCES, PATIENTS, SMOKE, SMOKE_CONFOUNDED
from vitau.evaluation.promotion.verdict import Verdict, decide_promotion
from vitau.schema import AUS, Protocol


def people(num_people: int = 60, seed: int = 0, **groups: list[str | None]) -> HeldOut:
    rng = np.random.default_rng(seed)
    palsied = np.arange(num_people) % 2 == 0
    affected = palsied[:, None] & (rng.random((num_people, 8)) < 0.5)
    return HeldOut(
        subjects=[f"p{person:03d}" for person in range(num_people)],
        palsied_S=palsied,
        affected_SA=affected,
        known_SA=np.ones((num_people, 8), bool),
        groups=groups,
    )


def answers(of: HeldOut, *, skill: float = 0.35, seed: int = 1, regions: bool = True, **costs: int) -> Answers:
    """Generate scores ``skill`` from the middle on the correct side, with noise of 0.2: 0 is guessing, below 0 is worse."""
    rng = np.random.default_rng(seed)
    noise, region_noise = rng.normal(0, 0.2, len(of.subjects)), rng.normal(0, 0.2, of.affected_SA.shape)
    return Answers(
        palsy_S=np.clip(0.5 + skill * (2 * of.palsied_S - 1.0) + noise, 0, 1),
        region_SA=np.clip(skill * (2 * of.affected_SA - 1.0) + region_noise, -1, 1) if regions else None,
        threshold=0.5,
        **{"num_parameters": 2_000_000, "face_flops": 1_500_000_000, **costs},
    )


def checks(verdict: Verdict) -> set[str]:
    return {reason.check for reason in verdict.against}


def test_a_first_model_only_needs_to_reach_the_floors() -> None:
    of = people()
    verdict = decide_promotion(of, answers(of), None)
    assert verdict.promote
    assert verdict.first
    assert not any("champion" in reason.sentence for reason in verdict.reasons)
    assert (verdict.num_people, verdict.num_palsied) == (60, 30)


def test_a_first_model_that_guesses_is_refused_with_its_metrics() -> None:
    of = people()
    verdict = decide_promotion(of, answers(of, skill=0.0), None)
    assert not verdict.promote
    assert {"recognition, AUROC", "regions, mean AUROC"} <= checks(verdict)
    (reason,) = [reason for reason in verdict.against if reason.check == "recognition, AUROC"]
    direct = palsy_metrics(of.subjects, of.palsied_S, answers(of, skill=0.0).palsy_S)
    low, high = direct.auroc.interval
    assert reason.numbers == {"challenger": direct.auroc.value, "low": low, "high": high, "limit": 0.7}
    assert reason.sentence == f"recognition, AUROC is {direct.auroc.value:.3f} [{low:.3f}, {high:.3f}]; at least 0.7 is needed"


def test_too_few_people_of_one_cohort_refuse() -> None:
    of = people(8)
    verdict = decide_promotion(of, answers(of), None)
    assert checks(verdict) == {"held-out people"}
    assert verdict.against[0].sentence == ("4 palsied people and 4 others were held out from both; 5 of each are needed")
    controls = replace(people(8), palsied_S=np.zeros(8, bool))
    assert checks(decide_promotion(controls, answers(of), None)) == {"held-out people"}


def test_a_worse_challenger_is_refused_and_a_better_one_promoted() -> None:
    of = people(120)
    good, poor = answers(of, skill=0.4), answers(of, skill=0.12)
    worse = decide_promotion(of, poor, good)
    assert not worse.promote
    assert "recognition, AUROC" in checks(worse)
    assert "regions, mean AUROC" in checks(worse)
    assert any("worse by more than 0.05" in reason.sentence for reason in worse.against)
    better = decide_promotion(of, good, poor)
    assert better.promote
    words = [reason.sentence.rpartition(", ")[2] for reason in better.reasons if "against the champion's" in reason.sentence]
    assert words.count("better") == 4


def test_the_interval_of_a_difference_is_paired() -> None:
    of = people(60)
    one = answers(of, skill=0.2)
    other = replace(one, palsy_S=np.clip(one.palsy_S + 0.001, 0, 1))  # the same ranking in every resample
    reason = next(
        reason
        for reason in decide_promotion(of, other, one).reasons
        if reason.check == "recognition, AUROC" and "difference" in reason.numbers
    )
    assert abs(reason.numbers["difference"] or 0) < 0.01
    assert (reason.numbers["high"] or 0) - (reason.numbers["low"] or 0) < 0.01


def test_too_few_people_to_compare_refuse_a_challenger() -> None:
    of = people(12)
    verdict = decide_promotion(of, answers(of, skill=0.25, seed=3), answers(of, skill=0.25, seed=4))
    assert any("too few people to exclude it" in reason.sentence for reason in verdict.against)


def test_one_region_shown_to_be_below_chance_refuses_though_the_mean_is_good() -> None:
    of = people(120)
    turned = answers(of)
    region = turned.region_SA.copy()
    region[:, 3] *= -1
    verdict = decide_promotion(of, replace(turned, region_SA=region), None)
    assert checks(verdict) == {"AU6, AUROC"}


def test_a_subgroup_with_wrong_answers_refuses_and_a_tiny_one_is_not_judged() -> None:
    sources = ["yfp"] * 50 + ["clinic"] * 8 + ["phone"] * 2
    of = people(60, source=sources, sex=[None] * 60)
    scores = answers(of)
    palsy = scores.palsy_S.copy()
    palsy[50:58] = 1 - palsy[50:58]
    palsy[58:] = 1 - palsy[58:]
    verdict = decide_promotion(of, replace(scores, palsy_S=palsy), None)
    assert checks(verdict) == {"recognition, source clinic, share of correct answers"}
    unjudged = {reason.check: reason.sentence for reason in verdict.reasons if reason.holds is None}
    assert set(unjudged) == {"recognition, source phone", "regions, source phone", "regions, source clinic"}
    assert unjudged["recognition, source phone"] == "recognition, source phone has 2 people and is not judged; 5 are needed"
    assert not any("sex" in reason.check for reason in verdict.reasons)


def test_the_same_ranking_with_worse_probabilities_is_refused() -> None:
    of = people(120)
    good = answers(of, skill=0.4)
    squeezed = replace(good, palsy_S=0.5 + 0.02 * (good.palsy_S - 0.5))
    assert checks(decide_promotion(of, squeezed, good)) == {"recognition, Brier score", "recognition, calibration error"}


@pytest.mark.parametrize(
    ("costs", "sentence"),
    [
        (
            {"num_parameters": 5_000_000},
            (
                "size is 5 million parameters; the limit is 750 million parameters, "
                "2.50 times the champion's 2 million parameters (limit 2 times)"
            ),
        ),
        (
            {"face_flops": 4_500_000_000},
            "computation per face is 4.5 GFLOP; the limit is 1000 GFLOP, 3.00 times the champion's 1.5 GFLOP (limit 2 times)",
        ),
    ],
)
def test_a_cost_is_limited_relative_to_the_champion(costs: dict[str, int], sentence: str) -> None:
    of = people()
    verdict = decide_promotion(of, answers(of, **costs), answers(of))
    assert [reason.sentence for reason in verdict.against] == [sentence]
    assert decide_promotion(of, answers(of, **costs), None).promote


def test_a_cost_is_limited_by_itself_too() -> None:
    of = people()
    huge = answers(of, num_parameters=751_000_000, face_flops=1_001_000_000_000)
    assert checks(decide_promotion(of, huge, None)) == {"size", "computation per face"}


def test_the_costs_of_both_models_are_recorded() -> None:
    of = people()
    verdict = decide_promotion(of, answers(of, num_parameters=3_000_000), answers(of))
    numbers = {reason.check: reason.numbers for reason in verdict.reasons}
    assert numbers["size"] == {
        "challenger": 3_000_000, "champion": 2_000_000, "times": 1.5, "limit": 750e6, "limit_times": 2.0
    }  # fmt: skip
    assert (numbers["computation per face"]["challenger"], numbers["computation per face"]["champion"]) == (1.5e9, 1.5e9)


def test_recognition_alone_has_no_checks_of_regions() -> None:
    of = people(60, side=["left" if person % 2 == 0 else None for person in range(60)])
    verdict = decide_promotion(of, answers(of, regions=False), answers(of, regions=False, seed=1))
    assert verdict.promote
    assert not any("region" in reason.check or reason.check[:2] == "AU" for reason in verdict.reasons)


@given(seed=st.integers(0, 50), skill=st.floats(-0.2, 0.4))
def test_the_order_of_people_changes_nothing(seed: int, skill: float) -> None:
    of = people(30, seed, source=["a", "b", None] * 10)
    own, other = answers(of, skill=skill, seed=seed), answers(of, seed=seed + 1)
    order = np.random.default_rng(seed).permutation(30)

    def shuffled(given: Answers) -> Answers:
        return replace(given, palsy_S=given.palsy_S[order], region_SA=given.region_SA[order])

    mixed = HeldOut(
        subjects=[of.subjects[row] for row in order],
        palsied_S=of.palsied_S[order],
        affected_SA=of.affected_SA[order],
        known_SA=of.known_SA[order],
        groups={"source": [of.groups["source"][row] for row in order]},
    )
    one = decide_promotion(of, own, other, num_resamples=50)
    assert canonical(asdict(one)) == canonical(
        asdict(decide_promotion(mixed, shuffled(own), shuffled(other), num_resamples=50))
    )


@given(seed=st.integers(0, 200), skill=st.floats(-0.3, 0.5), num_people=st.integers(2, 40))
def test_a_challenger_is_promoted_exactly_if_no_check_fails(seed: int, skill: float, num_people: int) -> None:
    of = people(num_people, seed)
    verdict = decide_promotion(of, answers(of, skill=skill, seed=seed), answers(of, skill=0.3, seed=seed + 1), num_resamples=40)
    assert verdict.promote == (not verdict.against)
    canonical(asdict(verdict))  # the verdict can be recorded: plain JSON, every number finite


@given(seed=st.integers(0, 100))
def test_a_model_is_never_worse_than_itself(seed: int) -> None:
    of = people(40, seed)
    own = answers(of, skill=0.3, seed=seed)
    compared = [
        reason for reason in decide_promotion(of, own, own, num_resamples=60).reasons if "champion's" in reason.sentence
    ]
    assert len(compared) == 8
    assert all(reason.holds for reason in compared)


def test_a_smoke_test_passes_with_two_people_and_no_skill() -> None:
    of = people(2)
    own = answers(of, skill=-0.4)
    assert decide_promotion(of, own, None, SMOKE).promote
    assert decide_promotion(of, own, answers(of), SMOKE).promote
    assert not decide_promotion(of, own, None, PATIENTS).promote


def test_regions_without_any_label_are_undecided() -> None:
    of = people(60)
    unknown = replace(of, known_SA=of.known_SA & (np.arange(8) != 2))
    verdict = decide_promotion(unknown, answers(of), answers(of))
    (reason,) = [reason for reason in verdict.reasons if reason.check == f"{AUS[2]}, AUROC"]
    assert (reason.holds, verdict.promote) == (None, True)


def test_arrays_of_other_people_are_refused() -> None:
    of = people(10)
    with pytest.raises(ValueError, match="10 people and 12 of the challenger's regions must be equally many"):
        decide_promotion(of, answers(people(12)), None)


def test_a_verdict_lists_every_check_in_its_order_with_its_numbers() -> None:
    """The figures are those of recorded decisions: the same arrays always yield the same verdict."""
    of = people(60, source=["yfp"] * 50 + ["clinic"] * 8 + ["phone"] * 2)
    of = replace(of, known_SA=of.known_SA & (np.arange(60)[:, None] % 7 != np.arange(8)))
    own, other = answers(of, skill=0.25), answers(of, skill=0.3, seed=2, num_parameters=1_000_000)
    verdict = decide_promotion(of, own, other, num_resamples=100)
    found = [
        (
            reason.check,
            reason.holds,
            *(round(reason.numbers[name] or 0, 3) for name in ("challenger", "low") if name in reason.numbers),
        )
        for reason in verdict.reasons
    ]
    assert found == [
        ("held-out people", True),
        ("recognition, AUROC", True, 0.976, 0.929),
        ("recognition, Brier score", True, 0.083),
        ("recognition, AUROC", False, 0.976, -0.066),
        ("recognition, balanced accuracy", True, 0.967, -0.067),
        ("recognition, Brier score", True, 0.083, -0.015),
        ("recognition, calibration error", True, 0.192, -0.032),
        ("regions, mean AUROC", True, 0.968, 0.94),
        ("AU1, AUROC", True, 0.961, 0.862),
        ("AU2, AUROC", True, 1.0, 1.0),
        ("AU4, AUROC", True, 1.0, 1.0),
        ("AU6, AUROC", True, 0.923, 0.785),
        ("AU9, AUROC", True, 0.925, 0.77),
        ("AU12, AUROC", True, 0.97, 0.877),
        ("AU25, AUROC", True, 0.994, 0.962),
        ("AU26, AUROC", True, 0.968, 0.901),
        ("regions, mean AUROC", False, 0.968, -0.05),
        ("regions, mean balanced accuracy", True, 0.909, -0.058),
        ("recognition, source clinic, share of correct answers", True, 1.0, 1.0),
        ("regions, source clinic", None),
        ("recognition, source phone", None),
        ("regions, source phone", None),
        ("recognition, source yfp, share of correct answers", True, 0.96, 0.902),
        ("regions, source yfp, share of correct answers", True, 0.92, 0.876),
        ("size", True, 2000000),
        ("computation per face", True, 1500000000),
    ]
    by_check = {reason.check: reason for reason in verdict.reasons}
    assert by_check["held-out people"].numbers == {"palsied": 30, "others": 30, "limit": 5}
    assert by_check["size"].numbers["times"] == 2.0
    assert by_check["recognition, source yfp, share of correct answers"].numbers["people"] == 50
    assert by_check["regions, source yfp, share of correct answers"].numbers["people"] == 25
    assert by_check["regions, source clinic"].sentence == "regions, source clinic has 4 people and is not judged; 5 are needed"
    brier = next(reason for reason in verdict.reasons if reason.check == "recognition, Brier score")
    assert brier.sentence == "recognition's Brier score is 0.083; at most 0.25 is allowed"
    assert brier.numbers.keys() == {"challenger", "limit"}
    assert (verdict.first, verdict.num_people, verdict.num_palsied, verdict.policy) == (False, 60, 30, PATIENTS)
    assert decide_promotion(of, own, other, num_resamples=100, seed=1) != verdict


def test_limits_are_reached_by_equality() -> None:
    of = people(10, source=["a"] * 10)
    halves = replace(answers(of), palsy_S=np.full(10, 0.5), region_SA=np.zeros((10, 8)))
    reasons = {reason.check: reason for reason in decide_promotion(of, halves, None, num_resamples=20).reasons}
    assert reasons["held-out people"].holds, "five of each are enough"
    assert (reasons["recognition, Brier score"].holds, reasons["recognition, Brier score"].numbers["challenger"]) == (
        True,
        0.25,
    )
    assert reasons["recognition, source a, share of correct answers"].numbers["challenger"] == 0.5, "0.5 is called a palsy"
    unaffected = 1 - of.affected_SA[of.palsied_S].mean()
    share = reasons["regions, source a, share of correct answers"]
    assert share.numbers["challenger"] == pytest.approx(unaffected), "a score of 0 is not affected"


def test_a_group_of_one_cohort_counts_the_answers_that_it_has() -> None:
    of = people(20, side=["left" if person % 2 == 0 else None for person in range(20)])
    palsy = np.where(of.palsied_S, 0.9, 0.1)
    palsy[[0, 2]] = 0.1
    verdict = decide_promotion(of, replace(answers(of), palsy_S=palsy), None, num_resamples=20)
    (share,) = [reason for reason in verdict.reasons if reason.check.startswith("recognition, side")]
    assert share.check == "recognition, side left, share of correct answers"
    assert (share.numbers["challenger"], share.numbers["people"]) == (0.8, 10)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("palsied_S", "10 people and 12 of palsied must be equally many"),
        ("affected_SA", "10 people and 12 of affected must be equally many"),
        ("known_SA", "10 people and 12 of known must be equally many"),
        ("groups", "10 people and 12 of source must be equally many"),
        ("challenger", "10 people and 12 of the challenger's answers must be equally many"),
        ("champion", "10 people and 12 of the champion's answers must be equally many"),
    ],
)
def test_every_array_of_other_people_is_named(name: str, sentence: str) -> None:
    of, others = people(10, source=["a"] * 10), people(12, source=["a"] * 12)
    given = {"challenger": answers(of, regions=False), "champion": answers(of, regions=False)}
    if name in given:
        given[name] = answers(others, regions=False)
    else:
        of = replace(of, **{name: getattr(others, name)})
    with pytest.raises(ValueError, match="equally many") as caught:
        decide_promotion(of, given["challenger"], given["champion"])
    assert str(caught.value) == sentence


def test_people_who_were_left_out_one_at_a_time_must_be_more() -> None:
    of = replace(people(14), protocol=Protocol.LOPO)
    verdict = decide_promotion(of, answers(of), None)
    assert [reason.sentence for reason in verdict.against] == [
        "7 palsied people and 7 others were left out one at a time; 8 of each are needed"
    ]
    enough = replace(people(16), protocol=Protocol.LOPO)
    assert decide_promotion(enough, answers(enough), None).promote


def test_predictions_of_people_who_were_seen_in_training_never_promote() -> None:
    of = replace(people(), protocol=Protocol.FRAMES)
    for policy in (PATIENTS, SMOKE):
        verdict = decide_promotion(of, answers(of), None, policy)
        assert checks(verdict) == {"protocol"}
        assert verdict.against[0].sentence.startswith("protocol frames tests people who were seen in training: its numbers")


def test_each_person_is_judged_by_the_threshold_of_the_models_that_predicted_them() -> None:
    of = people(60, source=["clinic"] * 60)
    scores = answers(of)
    rising = np.where(np.arange(60) < 30, 0.9, 0.1)
    own = replace(scores, palsy_S=np.clip(rising + 0.05 * (2 * of.palsied_S - 1.0), 0, 1), threshold=rising)
    shuffled = np.random.default_rng(3).permutation(60)
    turned = HeldOut(
        subjects=[of.subjects[row] for row in shuffled],
        palsied_S=of.palsied_S[shuffled],
        affected_SA=of.affected_SA[shuffled],
        known_SA=of.known_SA[shuffled],
        groups={"source": ["clinic"] * 60},
    )
    assert own.region_SA is not None
    moved = replace(own, palsy_S=own.palsy_S[shuffled], region_SA=own.region_SA[shuffled], threshold=rising[shuffled])
    shares = [
        next(reason.numbers["challenger"] for reason in verdict.reasons if reason.check.startswith("recognition, source"))
        for verdict in (decide_promotion(of, own, None), decide_promotion(turned, moved, None))
    ]
    assert shares == [1.0, 1.0]


def test_a_champion_is_compared_on_the_people_that_both_can_be_tested_on() -> None:
    of = replace(people(60), protocol=Protocol.LOPO)
    good, poor = answers(of, skill=0.4), answers(of, skill=0.0)
    known = np.arange(60) < 20
    part = replace(poor, palsy_S=np.where(known, poor.palsy_S, np.nan))
    verdict = decide_promotion(of, good, part)
    assert verdict.promote
    assert "it is compared on 10 palsied people and 10 more; 5 of each are needed" in next(
        reason.sentence for reason in verdict.reasons if reason.check == "people in common"
    )
    twenty = people(20)
    own, other = (replace(given, palsy_S=given.palsy_S[:20], region_SA=given.region_SA[:20]) for given in (good, poor))
    direct = decide_promotion(twenty, own, other)
    assert compared(verdict)["recognition, AUROC"] == compared(direct)["recognition, AUROC"]
    assert "people in common" in checks(decide_promotion(of, good, replace(poor, palsy_S=np.full(60, np.nan))))


def compared(verdict: Verdict) -> dict[str, tuple[float | None, float | None]]:
    """Return the challenger's and the champion's value of every comparison."""
    compared = [reason for reason in verdict.reasons if "difference" in reason.numbers]
    return {reason.check: (reason.numbers["challenger"], reason.numbers["champion"]) for reason in compared}


def probe(auroc: float | None) -> ShortcutProbe:
    interval = None if auroc is None else (auroc - 0.05, 1.0)
    estimate = Estimate(value=auroc, interval=interval)
    return ShortcutProbe(auroc=estimate, num_people=51, num_palsied=21, by_column={"saturation": 1.0, "codec_vp9": 0.9})


def camera(verdict: Verdict) -> CheckResult:
    (found,) = [reason for reason in verdict.reasons if reason.check == "shortcut probe"]
    return found


def test_a_perfect_model_of_confounded_people_is_refused_with_that_reason_alone() -> None:
    of = people()
    verdict = decide_promotion(of, answers(of), None, probe=probe(0.98))
    assert not verdict.promote
    (reason,) = verdict.against
    assert reason.sentence == (
        "shortcut probe, AUROC is 0.980 [0.930, 1.000]: the recordings separate the cohorts (saturation 1.00, codec_vp9 0.90); "
        "a champion of such people needs VITAU_POLICY=confounded-sources"
    )
    assert camera(verdict).numbers == {"challenger": 0.98, "low": 0.98 - 0.05, "high": 1.0, "limit": 0.9}


def test_the_named_policy_accepts_confounded_people_and_says_so() -> None:
    of = people()
    verdict = decide_promotion(of, answers(of), None, CONFOUNDED_SOURCES, probe=probe(0.98))
    assert verdict.promote
    assert camera(verdict).sentence.endswith("policy confounded-sources accepts that with a warning")
    assert replace(CONFOUNDED_SOURCES, name="patients", accept_confounded=False) == PATIENTS, "nothing else is allowed"
    guessing = decide_promotion(of, answers(of, skill=0.0), None, CONFOUNDED_SOURCES, probe=probe(0.98))
    assert not guessing.promote


def test_a_version_whose_scores_carry_no_warning_is_refused_by_the_named_policy_too() -> None:
    of = people()
    verdict = decide_promotion(of, answers(of), None, CONFOUNDED_SOURCES, probe=probe(0.98), warned=False)
    assert [reason.check for reason in verdict.against] == ["shortcut probe"]
    assert verdict.against[0].sentence.endswith("do not carry the warning, which it is older than; train it again")


@pytest.mark.parametrize(("auroc", "holds"), [(0.899, True), (0.9, False), (0.5, True), (None, None)])
def test_the_recordings_separate_the_cohorts_from_an_auroc_of_nine_tenths(auroc: float | None, holds: bool | None) -> None:
    of = people()
    verdict = decide_promotion(of, answers(of), None, probe=probe(auroc))
    assert camera(verdict).holds is holds
    assert verdict.promote is (holds is not False)


def test_smoke_tests_are_held_to_the_probe_alone_and_older_snapshots_have_none() -> None:
    of = people()
    refused = decide_promotion(of, answers(of, skill=0.0), None, SMOKE, probe=probe(1.0))
    assert [reason.check for reason in refused.against] == ["shortcut probe"]
    assert decide_promotion(of, answers(of, skill=0.0), None, SMOKE_CONFOUNDED, probe=probe(1.0)).promote
    assert decide_promotion(of, answers(of, skill=0.0), None, SMOKE, probe=probe(0.8)).promote
    assert not [reason for reason in decide_promotion(of, answers(of), None).reasons if reason.check == "shortcut probe"]


def sided(of: HeldOut, answer: Answers, num_wrong: int = 0) -> Answers:
    """Add sides to the scores, wrong for some of the palsied people."""
    right = np.array([0.9 if side == "right" else 0.1 for side in of.groups["side"]])
    wrong = np.flatnonzero(of.palsied_S)[:num_wrong]
    right[wrong] = 1 - right[wrong]
    return replace(answer, right_S=right)


def people_with_sides(num_people: int = 60) -> HeldOut:
    of = people(num_people)
    side = [("right", "left")[row // 2 % 2] if palsied else None for row, palsied in enumerate(of.palsied_S)]
    return replace(of, groups={"side": side})


def test_a_challenger_that_names_the_side_is_compared_to_a_champion_that_does_not_by_the_rest() -> None:
    of = people_with_sides()
    verdict = decide_promotion(of, sided(of, answers(of)), answers(of))
    assert verdict.promote
    (reason,) = [reason for reason in verdict.reasons if reason.check == "affected side, share of correct answers"]
    assert (reason.holds, reason.numbers["challenger"], reason.numbers["people"]) == (True, 1.0, 30)
    back = decide_promotion(of, answers(of), sided(of, answers(of)))
    assert back.promote
    assert "the champion names the affected side, and the challenger does not" in {one.sentence for one in back.reasons}


def test_a_challenger_that_names_the_wrong_side_is_refused() -> None:
    of = people_with_sides()
    assert checks(decide_promotion(of, sided(of, answers(of), num_wrong=27), None)) == {
        "affected side, share of correct answers"
    }
    fewer = decide_promotion(of, sided(of, answers(of), num_wrong=8), sided(of, answers(of)))
    assert checks(fewer) == {"affected side, accuracy"}
    assert decide_promotion(of, sided(of, answers(of), num_wrong=8), None).promote
    few = replace(of, groups={"side": [side if row < 8 else None for row, side in enumerate(of.groups["side"])]})
    undecided = decide_promotion(few, sided(of, answers(of), num_wrong=30), sided(of, answers(of)))
    assert not any("side" in check for check in checks(undecided)), "four people with a side decide nothing"


def test_a_verdict_on_sides_does_not_depend_on_the_order_of_people() -> None:
    of = people_with_sides()
    challenger, order = sided(of, answers(of), num_wrong=5), np.random.default_rng(0).permutation(60)
    turned = HeldOut(
        subjects=[of.subjects[row] for row in order],
        palsied_S=of.palsied_S[order],
        affected_SA=of.affected_SA[order],
        known_SA=of.known_SA[order],
        groups={"side": [of.groups["side"][row] for row in order]},
    )
    turned_answers = replace(
        challenger,
        palsy_S=challenger.palsy_S[order],
        region_SA=challenger.region_SA[order],
        right_S=challenger.right_S[order],
    )
    assert asdict(decide_promotion(turned, turned_answers, None)) == asdict(decide_promotion(of, challenger, None))


def test_people_whose_side_a_model_was_not_asked_are_left_out_of_its_share() -> None:
    of = people_with_sides()
    first = np.arange(60) < 20
    part = sided(of, answers(of), num_wrong=30)
    part = replace(part, right_S=np.where(first, sided(of, answers(of)).right_S, np.nan))
    reasons = {reason.check: reason for reason in decide_promotion(of, sided(of, answers(of)), part).reasons}
    assert reasons["affected side, accuracy"].numbers["champion"] == 1.0
    reasons = {reason.check: reason for reason in decide_promotion(of, part, None).reasons}
    assert reasons["affected side, share of correct answers"].numbers["people"] == 10


def pointing(answer: Answers, shares: float) -> Answers:
    """Return answers of a model whose maps point at an affected region in that share of 20 people's frames; chance is 0.2."""
    names = ("chance", "chance_on_face", "face_mass", "face_area", "deletion", "insertion", "randomized", "empty")
    values = {"pointing": (np.arange(20) < 20 * shares).astype(float), **dict.fromkeys(names, np.full(20, 0.2))}
    by_name = {"mirror_occlusion": ExplanationMetrics.of_people(values)}
    found = Explanations(num_people=20, num_frames=40, seen_in_training=False, by_name=by_name)
    return replace(answer, explanations=found)


def test_a_model_whose_pictures_explain_nothing_is_refused_and_one_without_numbers_is_not_judged_by_them() -> None:
    of = people()
    perfect = replace(answers(of), palsy_S=of.palsied_S * 0.8 + 0.1)
    true, false = (decide_promotion(of, pointing(perfect, share), None, num_resamples=100) for share in (0.9, 0.0))
    assert true.promote
    assert "explanation of recognition" in {reason.check for reason in true.reasons}
    assert not false.promote
    assert [reason.check for reason in false.against] == ["explanation of recognition"]
    unknown = decide_promotion(of, perfect, None, num_resamples=100)
    assert unknown.promote
    assert "explanation of recognition" not in {reason.check for reason in unknown.reasons}


def test_smoke_tests_are_not_judged_by_their_explanations() -> None:
    of = people()
    verdict = decide_promotion(of, pointing(answers(of), 0.0), None, SMOKE, num_resamples=100)
    assert verdict.promote
    assert "explanation of recognition" not in {reason.check for reason in verdict.reasons}
