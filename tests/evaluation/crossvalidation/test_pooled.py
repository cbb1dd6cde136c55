from dataclasses import replace

import numpy as np
import pytest

from vitau.evaluation.crossvalidation.pooled import OutOfFold, compare, evaluate, reliability
from vitau.evaluation.measure import palsy_metrics, region_metrics
from vitau.schema import AUS, Protocol

PEOPLE, FRAMES = 20, 3


def recognition(*, protocol=Protocol.LOPO, seeds=(0,), noise=0.25, threshold=0.5, people=PEOPLE):
    """Return predictions of some seeds: people with 3 frames each, every other palsied."""
    subject = np.repeat([f"s{number:02d}" for number in range(people)], FRAMES)
    parts = []
    for seed in seeds:
        rng = np.random.default_rng([seed, int(noise * 100)])
        truth = np.repeat(np.arange(people) % 2 == 0, FRAMES)
        parts.append((seed, subject, truth, np.clip(0.4 + 0.2 * truth + rng.normal(0, noise, len(subject)), 0, 1)))
    rows = [np.concatenate([part[index] for part in parts]) for index in (1, 2, 3)]
    return OutOfFold(
        protocol=protocol,
        task="palsy",
        questions=("palsy",),
        seed_M=np.repeat([part[0] for part in parts], len(subject)),
        fold_M=np.zeros(len(rows[0]), int),
        subject_M=rows[0],
        frame_M=np.tile(np.arange(len(subject)), len(seeds)),
        truth_MK=rows[1][:, None],
        known_MK=np.ones((len(rows[0]), 1), bool),
        score_MK=rows[2][:, None],
        threshold_M=np.full(len(rows[0]), threshold),
    )


def test_one_seed_by_person_gives_the_metrics_and_intervals_of_a_training():
    found = recognition()
    expected = palsy_metrics(found.subject_M.tolist(), found.truth_MK[:, 0], found.score_MK[:, 0])
    pooled = evaluate(found, "person")
    for name in ("auroc", "accuracy", "balanced_accuracy", "f1", "ece", "brier"):
        estimate = getattr(expected, name)
        assert pooled.metrics[name].value == pytest.approx(estimate.value), name
        assert pooled.metrics[name].interval == pytest.approx(estimate.interval), name
        assert pooled.metrics[name].sd is None
    assert (pooled.num_people, pooled.num_palsied, pooled.num_frames) == (20, 10, 60)


def test_a_frame_counts_once_at_the_level_of_frames():
    found = recognition()
    pooled = evaluate(found, "frame")
    assert pooled.metrics["accuracy"].value == pytest.approx(np.mean((found.score_MK >= 0.5) == found.truth_MK))
    assert sum(pooled.confusion) == 60
    assert "average_precision" not in pooled.metrics


def test_a_control_tested_in_several_folds_counts_once_by_the_mean_of_scores_and_thresholds():
    found = recognition()
    again = replace(found, fold_M=found.fold_M + 1, score_MK=found.score_MK * 0.5, threshold_M=found.threshold_M * 0.4)
    both = OutOfFold(
        **{name: getattr(found, name) for name in ("protocol", "task", "questions")},
        **{
            name: np.concatenate([getattr(found, name), getattr(again, name)])
            for name in found.__slots__
            if name.endswith(("_M", "_MK")) and getattr(found, name) is not None
        },
    )
    pooled = evaluate(both, "person")
    mean = found.score_MK[:, 0].reshape(PEOPLE, FRAMES).mean(1) * 0.75
    called = mean >= 0.5 * 0.7
    assert pooled.num_people == PEOPLE
    assert pooled.num_folds == 2
    assert pooled.metrics["accuracy"].value == pytest.approx(np.mean(called == (np.arange(PEOPLE) % 2 == 0)))
    assert sum(evaluate(both, "frame").confusion) == 60


def test_each_fold_decides_by_its_own_threshold():
    found = recognition()
    ends_in_two = np.char.endswith(found.subject_M, "2")
    none, two = (replace(found, threshold_M=np.where(mask_M, 1.1, 0.0)) for mask_M in (ends_in_two & False, ends_in_two))
    assert evaluate(none, "person").confusion == (10, 0, 10, 0)
    assert evaluate(two, "person").confusion == (8, 2, 10, 0)  # s02 and s12 are palsied
    assert evaluate(two, "frame").confusion == (24, 6, 30, 0)


def test_the_value_is_the_mean_over_seeds_and_sd_their_deviation():
    one_by_one = [evaluate(recognition(seeds=(seed,)), "person").metrics["auroc"].value for seed in (0, 1, 2)]
    pooled = evaluate(recognition(seeds=(0, 1, 2)), "person")
    assert pooled.metrics["auroc"].value == pytest.approx(np.mean(one_by_one))
    assert pooled.metrics["auroc"].sd == pytest.approx(np.std(one_by_one, ddof=1))
    assert pooled.num_seeds == 3
    low, high = pooled.metrics["auroc"].interval
    assert low < np.mean(one_by_one) < high


def test_a_flattering_protocol_is_above_the_other_on_the_people_that_both_tested():
    honest, flattering = recognition(seeds=(0, 1)), recognition(protocol=Protocol.FRAMES, seeds=(0, 1), noise=0.02, people=12)
    [difference, *_] = compare(flattering, honest, "person")
    assert (difference.protocol, difference.other, difference.metric) == (Protocol.FRAMES, Protocol.LOPO, "auroc")
    assert difference.num_people == 12
    common = honest.where(np.isin(honest.subject_M, flattering.people))
    auroc = evaluate(common, "person").metrics["auroc"].value
    assert difference.value == pytest.approx(1 - auroc)
    assert difference.interval[0] > 0
    assert [row.value for row in compare(honest, honest, "person")] == [0, 0, 0]


def regions():
    rng = np.random.default_rng(3)
    subject = np.repeat([f"s{number:02d}" for number in range(PEOPLE)], FRAMES)
    truth = np.repeat(rng.random((PEOPLE, 8)) < 0.5, FRAMES, axis=0)
    known = np.repeat(rng.random((PEOPLE, 8)) < 0.8, FRAMES, axis=0)
    return OutOfFold(
        protocol=Protocol.LOPO,
        task="regions",
        questions=tuple(map(str, AUS)),
        seed_M=np.zeros(len(subject), int),
        fold_M=np.zeros(len(subject), int),
        subject_M=subject,
        frame_M=np.arange(len(subject)),
        truth_MK=truth & known,
        known_MK=known,
        score_MK=np.where(truth, 0.1, -0.1) + rng.normal(0, 0.2, truth.shape),
        threshold_M=np.zeros(len(subject)),
    )


def test_regions_are_averaged_over_the_labeled_people_of_each_region():
    found = regions()
    expected = region_metrics(found.subject_M.tolist(), found.truth_MK, found.score_MK, found.known_MK)
    pooled = evaluate(found, "person")
    for name in ("auroc", "accuracy", "balanced_accuracy", "f1"):
        assert pooled.metrics[name].value == pytest.approx(getattr(expected, name).value), name
        assert pooled.metrics[name].interval == pytest.approx(getattr(expected, name).interval), name
        for au in AUS:
            assert pooled.by_question[str(au)][name].value == pytest.approx(getattr(expected.by_au[au], name).value), au
    assert pooled.metrics["accuracy_of_paper_7"].value == pytest.approx(expected.mean_of_paper_7.accuracy.value)
    assert "ece" not in pooled.metrics


def test_reliability_counts_people_of_all_seeds_in_bins_of_their_score():
    bins = reliability(recognition(seeds=(0, 1), noise=0.1))
    assert sum(found.num_people for found in bins) == pytest.approx(PEOPLE)
    assert bins[0].positive < bins[-1].positive


def test_the_auroc_within_sources_is_that_of_a_training():
    found = recognition()
    source_M = np.array(["a", "b", "b"])[np.arange(len(found.subject_M)) // FRAMES % 3]
    expected = palsy_metrics(found.subject_M.tolist(), found.truth_MK[:, 0], found.score_MK[:, 0], source=source_M)
    sourced = replace(found, source_M=source_M)
    own = evaluate(sourced, "person").metrics["auroc_within_source"]
    assert expected.within_source is not None
    assert own.value == pytest.approx(expected.within_source.auroc.value)
    assert own.interval == pytest.approx(expected.within_source.auroc.interval)
    assert own.value != pytest.approx(expected.auroc.value)
    assert "auroc_within_source" not in evaluate(found, "person").metrics
    assert "auroc_within_source" not in evaluate(sourced, "frame").metrics
