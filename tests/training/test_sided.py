"""A sided region model finds the affected side of held-out people."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from vitau.models.checkpoint import load_model
from vitau.training.pretraining.draw_worker import DrawnPeople
from vitau.training.pretraining.drawn_faces import drawn_crops
from vitau.training.recipes import tiny_sided
from vitau.training.run import pretrain
from vitau.training.start import MODEL
from vitau.training.tasks import measure, predict


@pytest.mark.slow
def test_a_sided_model_names_the_side_of_four_in_five_palsied_people_never_seen(tmp_path: Path) -> None:
    recipe = tiny_sided()
    assert recipe.pretrain is not None
    assert recipe.drawn is not None
    short = replace(recipe, pretrain=replace(recipe.pretrain, epochs=12), drawn=replace(recipe.drawn, num_people=1600))
    result = pretrain(short, tmp_path / "out", cache=tmp_path / "cache")
    assert result.side_scales["face"] > 0
    model, card = load_model(tmp_path / "out" / MODEL)
    unseen = drawn_crops(DrawnPeople(num_people=300, frames_per_person=1, size=64, seed="never seen"), tmp_path / "cache")
    unseen = unseen.where(unseen.palsied_N)
    scores = predict("regions", model, unseen, 64, torch.device("cpu"), sided=True)
    sides = measure("regions", unseen, scores, scales=card["side_scales"]).sides
    assert sides.num_subjects > 100
    assert sides.accuracy.value >= 0.8
