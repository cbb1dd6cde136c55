"""The shortcut probe: it finds what separates people that it never saw, and nothing where nothing does."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from vitau.evaluation.crossvalidation.shortcuts import SEPARATES, ShortcutProbe, probe_shortcuts
from vitau.evaluation.metrics import Estimate

NAMES = ("a", "b", "c")


def people(num=40, *, gap=0.0, seed=0):
    rng = np.random.default_rng(seed)
    palsied_S = np.arange(num) % 2 == 1
    value_SF = rng.normal(0, 1, (num, len(NAMES)))
    value_SF[:, 1] += gap * palsied_S
    return value_SF, palsied_S


def test_a_column_that_separates_the_cohorts_is_found_and_named_first():
    probe = probe_shortcuts(NAMES, *people(gap=6))
    assert probe.auroc.value > 0.98
    assert probe.separates
    assert next(iter(probe.by_column)) == "b"
    assert probe.most_telling.startswith("b 1.00, ")
    assert (probe.num_people, probe.num_palsied) == (40, 20)
    low, high = probe.auroc.interval
    assert SEPARATES < low <= probe.auroc.value <= high


def test_the_direction_of_a_column_does_not_matter():
    value_SF, palsied_S = people(gap=6)
    turned = probe_shortcuts(NAMES, -value_SF, palsied_S)
    assert turned.auroc.value == pytest.approx(probe_shortcuts(NAMES, value_SF, palsied_S).auroc.value)
    assert turned.by_column["b"] == probe_shortcuts(NAMES, value_SF, palsied_S).by_column["b"]


def test_chance_alone_stays_near_a_half():
    found = [probe_shortcuts(NAMES, *people(seed=seed)).auroc.value for seed in range(20)]
    assert np.mean(found) == pytest.approx(0.5, abs=0.1)
    assert max(found) < SEPARATES


def test_many_columns_of_noise_do_not_separate_people_that_the_regression_never_saw():
    rng = np.random.default_rng(5)
    value_SF, palsied_S = rng.normal(0, 1, (40, 60)), np.arange(40) % 2 == 1
    assert probe_shortcuts([f"c{column}" for column in range(60)], value_SF, palsied_S).auroc.value < 0.75


def test_the_scale_of_a_column_does_not_matter():
    value_SF, palsied_S = people(gap=2)
    scaled = probe_shortcuts(NAMES, value_SF * [1e6, 1e-6, 1] + [0, 5, 1e3], palsied_S)
    assert scaled.auroc.value == pytest.approx(probe_shortcuts(NAMES, value_SF, palsied_S).auroc.value, abs=1e-6)


def test_a_missing_value_reveals_no_cohort():
    value_SF, palsied_S = people()
    value_SF[palsied_S, 1] = np.nan
    probe = probe_shortcuts(NAMES, value_SF, palsied_S)
    assert not probe.separates
    assert probe.by_column["b"] == 0.5
    value_SF[:, 1] = np.where(palsied_S, 7.0, np.nan)
    assert "b" not in probe_shortcuts(NAMES, value_SF, palsied_S).by_column, "its known values are alike"


def test_columns_that_are_alike_for_all_say_nothing():
    value_SF, palsied_S = np.ones((20, 3)), np.arange(20) % 2 == 1
    probe = probe_shortcuts(NAMES, value_SF, palsied_S)
    assert probe.auroc.value == 0.5
    assert not probe.by_column


def test_the_columns_alone_have_the_auroc_of_scikit_learn():
    value_SF, palsied_S = people(gap=1)
    probe = probe_shortcuts(NAMES, value_SF, palsied_S)
    for column, name in enumerate(NAMES):
        reference = roc_auc_score(palsied_S, value_SF[:, column])
        assert probe.by_column[name] == pytest.approx(max(reference, 1 - reference))


@pytest.mark.parametrize(
    ("num_palsied", "num_others", "defined"), [(4, 20, False), (20, 4, False), (5, 5, True), (0, 0, False)]
)
def test_five_people_of_each_cohort_are_needed(num_palsied, num_others, defined):
    palsied_S = np.array([True] * num_palsied + [False] * num_others)
    value_SF = np.random.default_rng(0).normal(0, 1, (len(palsied_S), 3)) + 9 * palsied_S[:, None]
    probe = probe_shortcuts(NAMES, value_SF, palsied_S)
    assert (probe.auroc.value is not None) is defined
    assert probe.separates is defined
    assert (probe.warning is not None) is defined


def test_the_warning_names_the_reason_and_the_number():
    probe = ShortcutProbe(auroc=Estimate(value=0.974, interval=(0.9, 1.0)), num_people=51, num_palsied=21)
    assert probe.warning == (
        "Confounded sources: how people were recorded separates palsied people from the others (shortcut probe, AUROC 0.97), "
        "so this model may recognize the camera instead of the palsy."
    )
    assert ShortcutProbe(auroc=Estimate(value=0.899), num_people=51, num_palsied=21).warning is None
    assert ShortcutProbe(auroc=Estimate(value=0.9), num_people=51, num_palsied=21).warning is not None


def test_a_probe_survives_its_stored_form():
    for probe in (probe_shortcuts(NAMES, *people(gap=1)), probe_shortcuts(NAMES, *people(4))):
        assert ShortcutProbe.from_json(probe.to_json()) == probe
