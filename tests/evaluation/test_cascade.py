import numpy as np
import pytest

from vitau.evaluation.cascade import cascade_metrics
from vitau.evaluation.metrics import RegionMetrics, metrics_from_json
from vitau.evaluation.promotion.held_out import Answers, HeldOut
from vitau.schema import AU, AUS


def people(palsied, affected, known=None):
    """Return people whose regions are all alike."""
    shape = (len(palsied), len(AUS))
    affected_SA = np.broadcast_to(np.array(affected, bool)[:, None], shape)
    known_SA = np.ones(shape, bool) if known is None else np.broadcast_to(np.array(known, bool)[:, None], shape)
    names = [f"p{index}" for index in range(len(palsied))]
    return HeldOut(subjects=names, palsied_S=np.array(palsied, bool), affected_SA=affected_SA, known_SA=known_SA)


def answers(palsy, region, threshold=0.5):
    """Return scores of a model whose regions are all alike."""
    region_SA = None if region is None else np.repeat(np.array(region, float)[:, None], len(AUS), axis=1)
    return Answers(palsy_S=np.array(palsy), region_SA=region_SA, threshold=threshold, num_parameters=1, face_flops=1)


def test_a_palsied_person_who_is_missed_has_no_region_found_and_a_healthy_one_who_is_not_has_false_alarms():
    #     found, found but region below 0, missed, healthy and left alone, healthy with an alarm, healthy without one
    truth = people([1, 1, 1, 0, 0, 0], [1, 1, 1, 0, 0, 0])
    found = cascade_metrics(truth, answers([0.9, 0.9, 0.1, 0.2, 0.8, 0.8], [0.3, -0.1, 0.3, 0.3, 0.2, -0.2]))
    assert (found.num_subjects, found.num_palsied) == (6, 3)
    assert found.missed.value == pytest.approx(1 / 3)
    assert found.false_alarms.value == pytest.approx(1 / 3)
    au = found.by_au[AU.AU9]
    assert au.accuracy.value == pytest.approx(3 / 6), "hit, two rejections"
    assert au.sensitivity.value == pytest.approx(1 / 3)
    assert au.specificity.value == pytest.approx(2 / 3)
    assert found.sensitivity.value == pytest.approx(1 / 3), "the mean over the regions"


def test_a_spared_region_of_a_palsied_person_is_a_rejection_and_one_without_label_counts_for_nothing():
    truth = people([1, 1, 1, 0], [0, 1, 0, 0], known=[1, 1, 0, 0])
    found = cascade_metrics(truth, answers([0.9, 0.9, 0.9, 0.1], [-0.3, 0.3, 0.3, 0.3]))
    assert found.by_au[AU.AU1].num_subjects == 3, "a control's regions are known to be spared"
    assert found.by_au[AU.AU1].accuracy.value == 1.0


def test_a_person_at_the_threshold_is_analyzed():
    found = cascade_metrics(people([1, 0], [1, 0]), answers([0.5, 0.49], [0.3, 0.3]))
    assert (found.missed.value, found.false_alarms.value) == (0.0, 0.0)


def test_without_controls_there_are_no_false_alarms_to_count():
    found = cascade_metrics(people([1, 1], [1, 0]), answers([0.9, 0.9], [0.3, 0.3]))
    assert found.false_alarms.value is None
    assert found.missed.value == 0.0


def test_answers_of_recognition_alone_are_refused():
    with pytest.raises(ValueError, match=r"^these answers are of recognition alone; a cascade has regions$"):
        cascade_metrics(people([1], [1]), answers([0.9], None))


def test_the_cascade_is_stored_and_read_with_the_metrics_of_the_regions():
    cascade = cascade_metrics(people([1, 1, 0], [1, 0, 0]), answers([0.9, 0.9, 0.8], [0.3, -0.3, 0.1]))
    regions = RegionMetrics(num_subjects=2, by_au=cascade.by_au, cascade=cascade)
    assert metrics_from_json(regions.to_json()) == regions
    assert regions.to_json()["cascade"]["false_alarms"] == 1.0
