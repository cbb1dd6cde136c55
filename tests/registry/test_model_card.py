"""The card has the metrics that reviewers ask for, and a card of an earlier version stays as it was."""

import numpy as np

from vitau.evaluation.measure import palsy_metrics, region_metrics
from vitau.registry.model_card import model_card

PEOPLE = [f"p{number}" for number in range(20)]
TRUTH = np.arange(20) % 2 == 0
SCORE = np.where(np.arange(20) < 15, TRUTH, ~TRUTH) * 0.6 + 0.2


def line_of(card: str) -> str:
    (line,) = [line for line in card.splitlines() if line.startswith("- decisions about test people")]
    return line


def test_a_card_has_sensitivity_specificity_and_the_other_metrics_of_decisions_with_intervals():
    found = palsy_metrics(PEOPLE, TRUTH, SCORE, num_resamples=50)
    line = line_of(model_card("vitau-palsy", {"test": found.to_json()}, {}))
    low, high = found.sensitivity.interval
    assert f"sensitivity {found.sensitivity.value:.3f} [{low:.2f}, {high:.2f}], specificity" in line
    for name in ("PPV", "NPV", "MCC", "Cohen's κ", "average precision"):
        assert f", {name} " in line


def test_of_regions_the_card_has_means():
    affected = np.arange(160).reshape(20, 8) % 3 == 0
    found = region_metrics(PEOPLE, affected, np.where(affected, 0.1, -0.1), num_resamples=5)
    assert line_of(model_card("vitau-regions", {"test": found.to_json()}, {})).startswith(
        "- decisions about test people, means of 8 regions: sensitivity 1.000"
    )


def test_a_model_that_was_tested_by_an_earlier_version_has_no_such_line():
    stored = {"n_subjects": 4, "protocol": "subjects", "auroc": 0.75}
    assert "decisions about test people" not in model_card("vitau-palsy", {"test": stored}, {})
