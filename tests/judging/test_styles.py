"""A model is judged in style and out of style on the same people, who are in no training."""

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from vitau.judging import styles
from vitau.judging.styles import POPULATION, SHOWN_TASKS, compare_styles
from vitau.media.synthetic.drawing import draw_crop
from vitau.media.synthetic.people import draw_person
from vitau.media.synthetic.values import OUT_OF_STYLE, Style
from vitau.models.checkpoint import save_model
from vitau.models.vit import ViTConfig, build_vit
from vitau.scoring.predict import Predictor
from vitau.training.pretraining.draw_worker import population

VIT = ViTConfig(input_size=32, patch_size=8, width=32, depth=1, heads=2, stem="conv")
NUM_PEOPLE = 6


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    """Load an untrained recognition model."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("model")
    save_model(folder / "model", build_vit(VIT), VIT, threshold=0.5, synthetic=True, recipe="tiny", protocol="subjects")
    return Predictor(folder, device="cpu")


def scores(predictor, style):
    """Return the score of each person in a style, drawn and decided here."""
    for index in range(NUM_PEOPLE):
        person = draw_person(population(POPULATION), index)
        rng = np.random.default_rng([person.seed, person.index, 9])
        crops = np.stack([draw_crop(person, task, 1.0, rng, styles.SIZE, style=style).image for task in SHOWN_TASKS])
        yield person.palsied, predictor.rule.combine(predictor.recognize(crops).palsy_N)


def test_in_style_is_painted_and_out_of_style_are_all_others(predictor):
    found = compare_styles(predictor, NUM_PEOPLE)
    for name, own in (("in_style", (Style.PAINTED,)), ("out_of_style", OUT_OF_STYLE)):
        truth, score = zip(*(pair for style in own for pair in scores(predictor, style)), strict=True)
        assert found[name]["auroc"] == pytest.approx(roc_auc_score(truth, score), abs=1e-4)
    assert found["people"] == NUM_PEOPLE
    assert found["in_style"] != found["out_of_style"]
    assert found["in_style"]["regions"] is None  # recognition alone names none


def test_the_people_are_in_no_cohort_and_in_no_pretraining():
    seeds = {population(name) for name in (POPULATION, "benchmark", "pretraining")}
    assert len(seeds) == 3
    assert min(seeds) > 2**64
