"""The performance on a report's page, compared with scikit-learn, and its plots."""

import re
from dataclasses import replace

import numpy as np
import pytest
from sklearn import metrics as reference

from vitau.evaluation.metrics import Estimate
from vitau.scoring.performance import Kappa, Performance, measure_performance
from vitau.scoring.report import Report, render

RNG = np.random.default_rng(6)
PEOPLE = 30
TRUTH_S = np.arange(PEOPLE) % 2 == 0
SCORE_S = np.clip(0.3 + 0.4 * TRUTH_S + RNG.normal(0, 0.25, PEOPLE), 0, 1).round(2)
CALLED_S = SCORE_S >= 0.5
PERSON_U = np.repeat(np.arange(PEOPLE), 1 + np.arange(PEOPLE) % 4)
SCORE_U = np.clip(SCORE_S[PERSON_U] + RNG.normal(0, 0.1, len(PERSON_U)), 0, 1)


@pytest.fixture(scope="module")
def found() -> Performance:
    kappa = Kappa(
        one="the model", other="reader-a", value=Estimate(value=0.5, interval=(0.3, 0.7)), num_cells=80, num_people=10
    )
    return measure_performance(TRUTH_S, CALLED_S, SCORE_S, (PERSON_U, SCORE_U), 0.5, [kappa])


def test_metrics_of_people_and_of_frames_are_those_of_scikit_learn(found):
    hit, miss, alarm, rest = found.confusion
    assert [[rest, alarm], [miss, hit]] == reference.confusion_matrix(TRUTH_S, CALLED_S).tolist()
    assert found.by_person["sensitivity"].value == pytest.approx(reference.recall_score(TRUTH_S, CALLED_S))
    assert found.by_person["average_precision"].value == pytest.approx(reference.average_precision_score(TRUTH_S, SCORE_S))
    assert found.by_person["brier"].value == pytest.approx(reference.brier_score_loss(TRUTH_S, SCORE_S))
    assert found.by_frame["accuracy"].value == pytest.approx(reference.accuracy_score(TRUTH_S[PERSON_U], SCORE_U >= 0.5))
    assert found.by_frame["auroc"].value == pytest.approx(reference.roc_auc_score(TRUTH_S[PERSON_U], SCORE_U))
    assert (found.num_people, found.num_frames) == (PEOPLE, len(PERSON_U))
    low, high = found.by_frame["accuracy"].interval
    spread = np.sqrt(0.25 / len(PERSON_U))
    assert high - low > 2 * spread, "people are resampled, and not frames"


def test_the_curves_pass_through_the_corners_of_scikit_learns(found):
    false_S, true_S, _ = reference.roc_curve(TRUTH_S, SCORE_S, drop_intermediate=False)
    assert np.allclose(found.roc, np.stack([false_S, true_S], axis=1))
    precision_S, recall_S, _ = reference.precision_recall_curve(TRUTH_S, SCORE_S)
    ours = {(round(recall, 9), round(precision, 9)) for recall, precision in found.precision_recall}
    theirs = {(round(recall, 9), round(precision, 9)) for recall, precision in zip(recall_S, precision_S, strict=True)}
    assert ours <= theirs
    assert theirs - ours <= {(0.0, 1.0)}


def test_one_class_alone_has_neither_curve_nor_auroc():
    alone = measure_performance(np.ones(2, bool), np.ones(2, bool), np.array([0.8, 0.9]), (np.arange(2), np.ones(2)), 0.5)
    assert (alone.roc, alone.precision_recall, alone.by_person["auroc"].value) == ((), (), None)
    assert alone.confusion == (2, 0, 0, 0)


def page(performance: Performance | None) -> str:
    return render(Report(title="Test", synthetic=True, models=[], subjects=[], performance=performance))


def test_the_page_shows_matrix_metrics_and_plots_that_load_nothing_and_have_titles(found):
    text = page(found)
    hit, miss, alarm, rest = found.confusion
    for number in (hit, miss, alarm, rest):
        assert re.search(rf">{number} <span class=\"soft\">\(\d+", text)
    assert text.count('<svg class="plot"') == 3
    titles = re.findall(r'<svg class="plot"[^>]*aria-labelledby="([\w-]+) ([\w-]+)"><title id="([\w-]+)">([^<]+)</title>', text)
    assert [title for *_, title in titles] == ["ROC curve", "Precision and recall", "Reliability"]
    assert all(names[0] == names[2] and f'id="{names[1]}"' in text for names in titles)
    assert "<script" not in text
    assert not re.search(r'(src|href)="(?!#|data:)', text)
    assert "the model and reader-a" in text
    assert len(re.findall(r'<circle class="point"', text)) == len(found.reliability)


def test_a_page_about_people_without_labels_has_no_performance_and_one_class_no_curve(found):
    assert 'id="performance"' not in page(None)
    alone = replace(found, roc=(), precision_recall=())
    assert page(alone).count('<svg class="plot"') == 1
