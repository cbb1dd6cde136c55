"""Metrics are frozen, and their stored form does not change."""

import json
from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from vitau.evaluation.measure import palsy_metrics, region_metrics, side_metrics
from vitau.evaluation.metrics import UNDEFINED, PalsyMetrics, RegionMetrics, SideMetrics, metrics_from_json
from vitau.schema import AUS, Protocol

ESTIMATES = [f"{name}{end}" for name in ("accuracy", "balanced_accuracy", "f1", "auroc") for end in ("", "_interval")]
CALIBRATION = ["ece", "ece_interval", "brier", "brier_interval"]
PEOPLE = [f"p{number}" for number in range(12)]
RNG = np.random.default_rng(0)
AFFECTED = np.arange(12 * 8).reshape(12, 8) % 3 == 0


def palsy() -> PalsyMetrics:
    return palsy_metrics(PEOPLE, np.arange(12) % 2 == 0, RNG.random(12), num_resamples=20)


def sides() -> SideMetrics:
    sided = np.zeros((12, 8, 2), bool)
    sided[np.arange(12), 0, np.arange(12) % 2] = True
    return side_metrics(PEOPLE, sided, RNG.random(12), num_resamples=20)


def regions() -> RegionMetrics:
    return region_metrics(PEOPLE, AFFECTED, RNG.uniform(-1, 1, (12, 8)), num_resamples=20)


def test_the_stored_keys_are_those_of_existing_databases():
    """Catalog rows, MLflow metric names, model cards and metrics.json of earlier versions have these keys."""
    counts = {"protocol", "n_subjects", "n_frames", "threshold"}
    assert set(palsy().to_json()) == {*counts, "n_palsied", "undefined_resamples", *ESTIMATES, *CALIBRATION}
    stored = regions().to_json()
    assert set(stored) == {*counts, "mean_of", "regions_without_auroc", "mean_of_paper_7", "by_au", *ESTIMATES}
    assert set(stored["mean_of_paper_7"]) == set(ESTIMATES)
    assert list(stored["by_au"]) == [au.value for au in AUS]
    assert set(stored["by_au"]["AU1"]) == {"n_subjects", "n_affected", *ESTIMATES}
    assert set(sides().to_json()) == {
        "protocol", "n_subjects", "n_frames", "n_right", "undefined_resamples", *ESTIMATES, *CALIBRATION
    }  # fmt: skip


@pytest.mark.parametrize("make", [palsy, regions])
def test_metrics_survive_a_round_trip_through_json(make):
    metrics = make()
    assert metrics_from_json(json.loads(json.dumps(metrics.to_json()))) == metrics


def test_sides_are_stored_within_the_metrics_of_regions():
    own = regions()
    both = RegionMetrics.from_json(own.to_json() | {"sides": sides().to_json()})
    assert isinstance(both.sides, SideMetrics)
    assert both.to_json()["sides"]["n_right"] == 6
    assert own.sides is None
    assert "sides" not in own.to_json()


def test_an_undefined_estimate_is_stored_as_null_and_an_unknown_one_is_read_as_undefined():
    one_class = palsy_metrics(["a"], np.array([True]), np.array([0.9]), num_resamples=5)
    assert one_class.auroc == UNDEFINED
    assert (one_class.to_json()["auroc"], one_class.to_json()["auroc_interval"]) == (None, None)
    found = metrics_from_json({"n_subjects": 4, "protocol": "subjects", "auroc": 0.75})
    assert found == PalsyMetrics(num_subjects=4, protocol=Protocol.SUBJECTS, auroc=found.auroc)
    assert (found.auroc.value, found.auroc.interval, found.f1) == (0.75, None, UNDEFINED)


def test_a_document_without_metrics_is_none():
    assert metrics_from_json({}) is None


def test_metrics_cannot_be_changed_in_place():
    with pytest.raises(FrozenInstanceError):
        palsy().threshold = 0.1  # type: ignore[misc]
