"""Metrics are frozen, and their stored form does not change."""

import json
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest

from vitau.evaluation.measure import palsy_metrics, region_metrics, side_metrics
from vitau.evaluation.metrics import (
    UNDEFINED,
    CascadeMetrics,
    DecisionMetrics,
    Estimate,
    PalsyMetrics,
    RegionDecisionMetrics,
    RegionMetrics,
    RegionSideMetrics,
    SideMetrics,
    SourceMetrics,
    WithinSource,
    evidence_words,
    metrics_from_json,
)
from vitau.schema import AU, AUS, Protocol

ESTIMATES = [
    f"{name}{end}"
    for name in (
        *("accuracy", "balanced_accuracy", "f1", "auroc"),
        *("sensitivity", "specificity", "ppv", "npv", "mcc", "kappa", "average_precision"),
    )
    for end in ("", "_interval")
]
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


def test_metrics_within_sources_survive_a_round_trip_through_json():
    within = WithinSource(
        num_sources=3, by_source={"a clinic": SourceMetrics(num_subjects=4, num_palsied=1)}, auroc=Estimate(value=0.75)
    )
    metrics = PalsyMetrics(num_subjects=12, protocol=Protocol.SUBJECTS, within_source=within)
    stored = json.loads(json.dumps(metrics.to_json()))
    assert stored["within_source"]["n_sources"] == 3
    assert stored["within_source"]["by_source"]["a clinic"]["n_palsied"] == 1
    read = metrics_from_json(stored)
    assert read == metrics
    assert isinstance(read.within_source, WithinSource)
    assert isinstance(read.within_source.by_source["a clinic"], SourceMetrics)


def test_metrics_of_both_models_together_and_of_the_sides_of_regions_survive_a_round_trip():
    cascade = CascadeMetrics(num_subjects=12, num_palsied=6, by_au={}, false_alarms=Estimate(value=0.25, interval=(0.0, 0.5)))
    region_sides = RegionSideMetrics(num_subjects=6, num_sides=96, num_one_sided=20, named=Estimate(value=0.9))
    metrics = replace(regions(), cascade=cascade, region_sides=region_sides)
    stored = json.loads(json.dumps(metrics.to_json()))
    assert stored["cascade"]["false_alarms_interval"] == [0.0, 0.5]
    assert stored["region_sides"]["n_one_sided"] == 20
    read = metrics_from_json(stored)
    assert read == metrics
    assert (type(read.cascade), type(read.region_sides)) == (CascadeMetrics, RegionSideMetrics)


@pytest.mark.parametrize(
    ("metrics", "words"),
    [
        (PalsyMetrics(num_subjects=51, num_palsied=21, protocol=Protocol.LOPO), "leave one person out, n = 21"),
        (PalsyMetrics(num_subjects=30), "people held out, n = 30"),
        (
            RegionMetrics(num_subjects=21, by_au={}, protocol=Protocol.FRAMES),
            "frames of people who were seen in training, n = 21",
        ),
    ],
)
def test_the_evidence_is_named_with_its_number_of_palsied_people(metrics, words):
    assert evidence_words(metrics) == words


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


def test_the_stored_form_has_counts_then_estimates_then_nested_metrics():
    decision = DecisionMetrics(accuracy=Estimate(value=0.5), f1=Estimate(value=0.25, interval=(0.125, 0.375)))
    estimates = {
        "accuracy": 0.5,
        "accuracy_interval": None,
        "balanced_accuracy": None,
        "balanced_accuracy_interval": None,
        "f1": 0.25,
        "f1_interval": [0.125, 0.375],
        "auroc": None,
        "auroc_interval": None,
    }
    undefined = dict.fromkeys(estimates)
    side = SideMetrics(num_subjects=3, num_right=2, brier=Estimate(value=0.75))
    metrics = RegionMetrics(
        protocol=Protocol.SUBJECTS,
        num_subjects=4,
        num_frames=0,
        threshold=0.0,
        mean_of_paper_7=decision,
        by_au={AU.AU4: RegionDecisionMetrics(num_subjects=4, num_affected=0)},
        sides=side,
        f1=Estimate(value=1.0),
    )
    stored = metrics.to_json()
    assert stored == {
        "protocol": "subjects",
        "n_subjects": 4,
        "n_frames": 0,
        "threshold": 0.0,
        "mean_of": "8 regions",
        **undefined,
        "f1": 1.0,
        "mean_of_paper_7": estimates,
        "by_au": {"AU4": {"n_subjects": 4, "n_affected": 0, **undefined}},
        "sides": {"n_subjects": 3, "n_right": 2, **undefined, "ece": None, "ece_interval": None}
        | {"brier": 0.75, "brier_interval": None},
    }
    assert type(stored["protocol"]) is str
    assert json.loads(json.dumps(stored)) == stored
    assert RegionMetrics.from_json(stored) == metrics
    assert metrics_from_json(stored) == metrics
    assert type(RegionMetrics.from_json(stored).protocol) is Protocol


def test_estimates_are_listed_by_name_without_counts_and_nested_metrics():
    metrics = RegionMetrics(num_subjects=4, by_au={}, auroc=Estimate(value=0.5))
    undefined = dict.fromkeys(("accuracy", "balanced_accuracy", "f1"), UNDEFINED)
    assert metrics.estimates() == {**undefined, "auroc": Estimate(value=0.5)}


def test_metrics_of_regions_that_lack_the_newer_fields_are_read():
    found = RegionMetrics.from_json({"n_subjects": 2, "by_au": {"AU1": {"f1": 0.5}}})
    assert found == RegionMetrics(num_subjects=2, by_au={AU.AU1: RegionDecisionMetrics(f1=Estimate(value=0.5))})
    assert list(found.by_au) == [AU.AU1]
    assert found.mean_of_paper_7 == DecisionMetrics()
