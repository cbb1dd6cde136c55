"""A recipe is cross-validated on labeled clips without a store."""

from dataclasses import replace

import numpy as np
import pytest

from tests.training.crossvalidation.test_fold import PALSY, regions
from vitau.asymmetry.clips import LabeledPerson
from vitau.asymmetry.features import FEATURES
from vitau.asymmetry.weights import load_weights
from vitau.errors import TrainingError
from vitau.schema import AUS
from vitau.training.crossvalidation.clips import leave_one_out, load_clips, result_lines


def judged(recipe, crops):
    return leave_one_out(recipe, crops, pretrained=None, num_seeds=1, watch=lambda *_: None)


def test_everybody_is_predicted_once_by_a_model_that_never_saw_them(few_crops):
    (palsy,) = judged(PALSY, few_crops)
    assert (palsy.num_people, palsy.num_palsied, palsy.num_folds) == (24, 12, 12)
    lines = list(result_lines(PALSY, [palsy]))
    assert lines[0] == "recipe least-palsy, protocol lopo, 24 people, 12 folds, seeds: 1"
    assert lines[-1].startswith("| palsy | ")


def test_movement_that_separates_the_cohorts_separates_them_in_a_fused_recipe(few_crops, monkeypatch):
    """The network of these pictures has trained for one epoch; all features of palsied people speak for a palsy."""
    sign = np.where(few_crops.palsied_N, 1.5, 0.0)[:, None]
    features = np.broadcast_to(sign * load_weights().scale_F, (len(few_crops), len(FEATURES)))
    monkeypatch.setattr(
        "vitau.training.crossvalidation.clips.with_movement", lambda crops: replace(crops, movement_NF=features)
    )
    (palsy,) = judged(replace(PALSY, movement=True), few_crops)
    assert palsy.metrics["auroc"].value == 1
    found, side = judged(replace(regions("sided"), movement=True), few_crops)
    assert list(found.by_question) == list(map(str, AUS))
    assert side.metrics["accuracy"].value == 1, "everybody's right side is affected"


def test_clips_that_cannot_be_read_leave_nobody(tmp_path):
    person = LabeledPerson(subject="p1", clips=(tmp_path / "no.mp4",), palsied=True, side=1, affected=(None,) * len(AUS))
    with pytest.raises(
        TrainingError, match=r"^no clip shows a face in enough frames; give clips of people who perform exercises$"
    ):
        load_clips([person])
