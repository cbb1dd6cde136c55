"""Metrics by person, compared with scikit-learn."""

import numpy as np
import pytest
from sklearn import metrics as reference

from vitau.evaluation.measure import palsy_metrics, region_metrics, region_side_metrics, side_metrics
from vitau.evaluation.metrics import RegionMetrics, metrics_from_json
from vitau.evaluation.subjects import by_subject
from vitau.schema import AU, AUS, Protocol


def _people(num_people: int, seed: int, *, frames: int = 4) -> tuple[list[str], np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.random(num_people) < 0.5
    truth[:2] = [True, False]
    score = np.clip(
        0.35 + 0.3 * truth[:, None] + rng.normal(0, 0.3, (num_people, 1)) + rng.normal(0, 0.1, (num_people, frames)), 0, 1
    )
    return [f"p{i:03d}" for i in range(num_people) for _ in range(frames)], np.repeat(truth, frames), score.ravel().round(2)


@pytest.mark.parametrize("seed", range(5))
def test_palsy_metrics_equal_those_of_scikit_learn_on_mean_scores(seed: int) -> None:
    subjects, truth, score = _people(40, seed)
    result = palsy_metrics(subjects, truth, score, num_resamples=50)
    true_S, mean_S = truth.reshape(40, 4)[:, 0], score.reshape(40, 4).mean(1)
    called_S = mean_S >= 0.5
    assert result.accuracy.value == pytest.approx(reference.accuracy_score(true_S, called_S))
    assert result.balanced_accuracy.value == pytest.approx(reference.balanced_accuracy_score(true_S, called_S))
    assert result.f1.value == pytest.approx(reference.f1_score(true_S, called_S))
    assert result.auroc.value == pytest.approx(reference.roc_auc_score(true_S, mean_S))
    assert result.brier.value == pytest.approx(reference.brier_score_loss(true_S, mean_S))
    assert result.sensitivity.value == pytest.approx(reference.recall_score(true_S, called_S))
    assert result.specificity.value == pytest.approx(reference.recall_score(~true_S, ~called_S))
    assert result.ppv.value == pytest.approx(reference.precision_score(true_S, called_S))
    assert result.npv.value == pytest.approx(reference.precision_score(~true_S, ~called_S))
    assert result.mcc.value == pytest.approx(reference.matthews_corrcoef(true_S, called_S))
    assert result.kappa.value == pytest.approx(reference.cohen_kappa_score(true_S, called_S))
    assert result.average_precision.value == pytest.approx(reference.average_precision_score(true_S, mean_S))
    assert (result.num_subjects, result.num_frames, result.protocol) == (40, 160, "subjects")


def test_calibration_error_is_the_weighted_gap_of_each_bin() -> None:
    subjects, score, truth = ["a", "b", "c", "d"], np.array([0.91, 0.95, 0.12, 0.14]), np.array([1, 0, 0, 0], bool)
    result = palsy_metrics(subjects, truth, score, num_resamples=10)
    assert result.ece.value == pytest.approx((abs(1 - 0.91 - 0.95) + 0.12 + 0.14) / 4)


def test_an_interval_covers_its_estimate_and_narrows_with_more_people() -> None:
    few, many = (palsy_metrics(*_people(n, 1)) for n in (30, 480))
    for result in (few, many):
        low, high = result.auroc.interval
        assert low <= result.auroc.value <= high
    assert np.diff(many.auroc.interval) < np.diff(few.auroc.interval) / 2


def test_a_resample_weights_people_as_scikit_learn_does_with_sample_weights() -> None:
    subjects, truth, score = _people(25, 3, frames=1)
    result = palsy_metrics(subjects, truth, score, num_resamples=200, seed=9)
    weights = np.random.default_rng(9).multinomial(25, np.full(25, 1 / 25), size=200)
    order = np.argsort(subjects)
    values = [reference.roc_auc_score(truth[order], score[order], sample_weight=w) for w in weights]
    assert result.auroc.interval == pytest.approx(tuple(np.quantile(values, [0.025, 0.975])))


def test_the_same_seed_gives_the_same_interval() -> None:
    people = _people(20, 4)
    assert palsy_metrics(*people, seed=1) == palsy_metrics(*people, seed=1)
    assert palsy_metrics(*people, seed=1).auroc.interval != palsy_metrics(*people, seed=2).auroc.interval


def test_one_class_alone_has_no_auroc() -> None:
    result = palsy_metrics(["a", "b"], np.array([True, True]), np.array([0.7, 0.8]), num_resamples=10)
    assert result.auroc.value is None
    assert result.auroc.interval is None
    assert result.undefined_resamples == 10
    assert result.accuracy.value == 1.0


def test_a_person_with_two_truths_is_refused() -> None:
    with pytest.raises(ValueError, match="a person has different labels in different frames"):
        by_subject(["a", "a"], np.array([True, False]), np.array([0.1, 0.2]))


def test_no_frames_at_all_are_refused() -> None:
    with pytest.raises(ValueError, match="no frames were given"):
        palsy_metrics([], np.array([], bool), np.array([]))


def test_lists_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="3 subjects, 2 truths and 2 scores must be equally many"):
        by_subject(["a", "b", "c"], np.array([True, False]), np.array([0.1, 0.2]))


def _regions(seed: int = 0, num_people: int = 24) -> tuple[list[str], np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.random((num_people, 8)) < 0.5
    truth[0], truth[1] = True, False
    score = np.clip(rng.normal(0.1 * (2 * truth - 1), 0.12), -1, 1)
    return [f"p{i:02d}" for i in range(num_people)], truth, score


def test_region_means_are_means_over_the_regions() -> None:
    subjects, truth, score = _regions()
    result = region_metrics(subjects, truth, score, num_resamples=100, protocol=Protocol.LOPO)
    aurocs = [reference.roc_auc_score(truth[:, i], score[:, i]) for i in range(8)]
    assert [result.by_au[au].auroc.value for au in AUS] == pytest.approx(aurocs)
    assert result.auroc.value == pytest.approx(np.mean(aurocs))
    assert result.mean_of_paper_7.auroc.value == pytest.approx(np.mean(aurocs[1:]))
    assert result.accuracy.value == pytest.approx(((score > 0) == truth).mean())
    assert (result.protocol, result.num_subjects, result.mean_of) == ("lopo", 24, "8 regions")
    assert result.auroc.interval[0] < result.auroc.value < result.auroc.interval[1]


def test_a_region_without_a_label_is_left_out_for_that_person_only() -> None:
    subjects, truth, score = _regions()
    known = np.ones_like(truth)
    known[3, 0] = False
    flipped = truth.copy()
    flipped[3, 0] = not flipped[3, 0]
    one, other = (region_metrics(subjects, t, score, known, num_resamples=20) for t in (truth, flipped))
    assert one == other
    assert one.by_au[AU("AU1")].num_subjects == 23
    assert one.by_au[AU("AU2")].num_subjects == 24


def test_a_region_in_which_all_people_are_alike_is_absent_from_the_mean_and_counted() -> None:
    subjects, truth, score = _regions()
    truth[:, 5] = True
    result = region_metrics(subjects, truth, score, num_resamples=20)
    assert result.by_au[AU("AU12")].auroc.value is None
    assert result.regions_without_auroc == 1
    rest = [reference.roc_auc_score(truth[:, i], score[:, i]) for i in range(8) if i != 5]
    assert result.auroc.value == pytest.approx(np.mean(rest))


def test_sides_are_counted_over_people_with_exactly_one() -> None:
    subjects = ["a", "a", "b", "c", "d"]
    sided = np.zeros((5, 8, 2), bool)
    sided[:2, 3, 0] = sided[2, :, 1] = True  # a is right, b left, c nothing, d both
    sided[4, 1] = True
    found = side_metrics(subjects, sided, np.array([0.9, 0.2, 0.6, 0.1, 0.1]))
    assert (found.num_subjects, found.num_right, found.num_frames, found.accuracy.value) == (2, 1, 3, 0.5)
    none = side_metrics(subjects, np.zeros_like(sided), np.ones(5))
    assert (none.num_subjects, none.accuracy.value) == (0, None)


def test_each_region_has_the_calibration_of_its_logistic_probability() -> None:
    rng = np.random.default_rng(5)
    subjects = [f"p{i:03d}" for i in range(60)]
    truth = rng.random((60, 8)) < 0.5
    score = np.clip(truth - 0.5 + rng.normal(0, 0.5, (60, 8)), -1, 1)
    assert region_metrics(subjects, truth, score, num_resamples=5).ece.value is None, "a score is not a probability"
    found = region_metrics(subjects, truth, score, scale=4.0, num_resamples=50)
    probability = 1 / (1 + np.exp(-4 * score))
    briers = [reference.brier_score_loss(truth[:, index], probability[:, index]) for index in range(8)]
    assert [found.by_au[au].brier.value for au in AUS] == pytest.approx(briers)
    assert found.brier.value == pytest.approx(np.mean(briers))
    assert found.by_au[AU.AU1].ece.interval is not None
    overconfident = region_metrics(subjects, truth, score, scale=40.0, num_resamples=5)
    assert overconfident.ece.value > found.ece.value


def test_a_model_of_the_camera_is_at_chance_within_its_sources() -> None:
    subjects, truth, _ = _people(300, 2)
    rng = np.random.default_rng(0)
    at_home_S = truth ^ np.repeat(rng.random(300) < 0.2, 4)
    score = np.clip(0.2 + 0.6 * at_home_S + rng.normal(0, 0.05, 1200), 0, 1)
    result = palsy_metrics(subjects, truth, score, source=np.where(at_home_S, "home", "clinic"), num_resamples=200)
    within = result.within_source
    assert within is not None
    assert result.auroc.value > 0.75
    assert within.auroc.value == pytest.approx(0.5, abs=0.12)
    low, high = within.auroc.interval
    assert low < within.auroc.value < high
    assert metrics_from_json(result.to_json()) == result


def test_people_are_compared_within_a_source_by_pairs_of_the_same_source() -> None:
    subjects = ["a", "b", "c", "d", "e", "f"]
    truth = np.array([1, 0, 0, 1, 0, 1], bool)
    score = np.array([0.2, 0.1, 0.3, 0.9, 0.8, 0.05])
    source = np.array(["x", "x", "x", "y", "y", "z"])
    within = palsy_metrics(subjects, truth, score, source=source, num_resamples=20).within_source
    assert within is not None
    assert within.auroc.value == pytest.approx(2 / 3), "a beats b and not c, d beats e"
    assert (within.num_sources, sorted(within.by_source)) == (3, ["x", "y"])
    x = within.by_source["x"]
    assert (x.auroc.value, x.num_subjects, x.num_palsied) == (0.5, 3, 1)
    assert within.accuracy.value == pytest.approx(3 / 5), "of the people in both mixed sources"


def test_sources_with_one_cohort_each_have_no_metrics_within() -> None:
    subjects, truth, score = _people(20, 1)
    within = palsy_metrics(subjects, truth, score, source=np.where(truth, "yfp", "ckplus"), num_resamples=20).within_source
    assert within is not None
    assert (within.num_sources, within.by_source, within.auroc.value) == (2, {}, None)
    assert palsy_metrics(subjects, truth, score, source=np.full(80, "yfp"), num_resamples=20).within_source is None


def test_the_sides_of_regions_are_measured_over_all_labeled_pairs_of_person_and_region() -> None:
    subjects = ["a", "a", "b", "c"]
    sided, probability = np.zeros((4, 8, 2), bool), np.full((4, 8, 2), 0.04)
    known = np.ones((4, 8), bool)
    known[2, 1:] = False  # of b, one region has a label
    sided[:2, 0, 0] = sided[2, 0, 1] = True  # a: right, b: left
    sided[3, :2] = True  # c: both sides, of two regions
    probability[0, 0, 0], probability[1, 0, 0] = 0.7, 0.9
    probability[2, 0] = [0.6, 0.3]
    probability[3, :2] = 0.96
    found = region_side_metrics(subjects, sided, probability, known, num_resamples=50)
    assert (found.num_subjects, found.num_frames, found.num_sides, found.num_one_sided) == (3, 4, 16 + 2 + 16, 2)
    assert found.named.value == 0.5, "of a, and not of b; both sides of c are none to choose"
    assert found.accuracy.value == pytest.approx(32 / 34)
    gaps = {"0.04": 27 * 0.04, "0.3": 0.7, "0.6": 0.6, "0.8": 0.2, "0.96": 4 * 0.04}
    assert found.ece.value == pytest.approx(sum(gaps.values()) / 34)
    squares = 27 * 0.04**2 + 0.7**2 + 0.6**2 + 0.2**2 + 4 * 0.04**2
    assert found.brier.value == pytest.approx(squares / 34)
    low, high = found.accuracy.interval
    assert low < 32 / 34 < high
    assert metrics_from_json(RegionMetrics(num_subjects=3, by_au={}, region_sides=found).to_json()).region_sides == found


def test_the_sides_of_people_without_labels_are_undefined() -> None:
    found = region_side_metrics(["a"], np.zeros((1, 8, 2), bool), np.ones((1, 8, 2)), np.zeros((1, 8), bool))
    assert (found.num_sides, found.named.value, found.ece.value) == (0, None, None)
