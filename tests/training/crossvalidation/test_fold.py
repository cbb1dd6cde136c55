from dataclasses import replace

import numpy as np
import pytest

from vitau.data.protocols import FrameFold, divide
from vitau.errors import TrainingError
from vitau.models.encoder import EncoderConfig
from vitau.models.generator import GeneratorConfig
from vitau.models.regions import RegionConfig
from vitau.models.vit import ViTConfig
from vitau.schema import AUS, Protocol
from vitau.training.config import Recipe, TrainConfig
from vitau.training.crossvalidation import fold as folds
from vitau.training.crossvalidation.fold import SCHEMA, predictions, task_frames, train_fold

QUICK = TrainConfig(epochs=1, batch_size=16, lr=1e-3)
PALSY = Recipe(
    name="least-palsy",
    kind="palsy",
    model=ViTConfig(input_size=16, patch_size=8, width=8, depth=1, heads=2, dropout=0.0),
    train=QUICK,
)


def regions(mode="paired"):
    generator = GeneratorConfig(size=8, style_dim=8, mapping_layers=1, channel_multiplier=0.015625, max_channels=8)
    encoder = EncoderConfig(
        input_size=64, units=(1, 1, 1, 1), widths=(4, 8, 8, 8), style_dim=8, num_styles=generator.num_styles
    )
    model = RegionConfig(encoder=encoder, generator=generator, heatmap_size=8, sigma=2.0, dropout=0.0, mode=mode)
    return Recipe(name="least-regions", kind="regions", model=model, train=replace(QUICK, loss="mse"))


def lopo(crops, index=0):
    found = divide(Protocol.LOPO, subject_N=crops.subject_N, palsied_N=crops.palsied_N, split_N=crops.split_N, seed=0)
    return list(found)[index]


def test_a_fold_predicts_its_test_frames_with_the_threshold_of_its_validation_people(few_crops, tmp_path):
    fold = lopo(few_crops)
    table = train_fold(PALSY, few_crops, fold, tmp_path / "one", identity="one")
    assert table.schema.remove_metadata() == SCHEMA
    assert table["row"].to_pylist() == np.flatnonzero(fold.test_N).tolist()
    assert all(0 <= score <= 1 for score in table["score"].to_pylist())
    assert len(set(table["threshold"].to_pylist())) == 1
    assert table["AU1_score"].null_count == table.num_rows
    assert not (tmp_path / "one").exists()


def test_even_odds_divide_fused_scores_and_a_chosen_threshold_those_of_a_network(few_crops):
    score_N, row_N = np.where(few_crops.palsied_N, 0.99, 0.97), np.arange(len(few_crops))
    alone, fused = (predictions("palsy", few_crops, score_N, row_N, score_N, fused=fused) for fused in (False, True))
    assert set(fused["threshold"].to_pylist()) == {0.5}
    assert alone["score"].to_numpy()[~few_crops.palsied_N].max() < alone["threshold"][0].as_py() != 0.5


def test_the_labels_of_the_people_left_out_change_no_prediction(few_crops, tmp_path):
    """Epoch, threshold and weights come from other people: a leak would show here."""
    fold = lopo(few_crops)
    first = train_fold(PALSY, few_crops, fold, tmp_path / "one", identity="one")
    wrong = replace(few_crops, palsied_N=np.where(fold.test_N, ~few_crops.palsied_N, few_crops.palsied_N))
    assert train_fold(PALSY, wrong, fold, tmp_path / "two", identity="two").equals(first)
    others = replace(few_crops, palsied_N=np.where(fold.val_N, ~few_crops.palsied_N, few_crops.palsied_N))
    assert not train_fold(PALSY, others, fold, tmp_path / "three", identity="three")["threshold"].equals(first["threshold"])


@pytest.mark.parametrize("mode", ["paired", "sided"])
def test_regions_are_trained_and_tested_on_palsied_people_with_labels(few_crops, tmp_path, mode):
    recipe, fold = regions(mode), lopo(few_crops)
    table = train_fold(recipe, few_crops, fold, tmp_path / "one", identity="one")
    assert table["row"].to_pylist() == np.flatnonzero(fold.test_N & few_crops.palsied_N).tolist()
    assert table["score"].null_count == table["threshold"].null_count == table.num_rows
    assert all(table[f"{au}_score"].null_count == 0 for au in AUS)
    assert table["right_score"].null_count == (0 if mode == "sided" else table.num_rows)
    assert table["AU26_left"].null_count == table["right_score"].null_count
    if mode == "sided":
        for au in AUS:
            score_T, side_T2 = table[f"{au}_score"].to_numpy(), [table[f"{au}_{side}"].to_numpy() for side in ("right", "left")]
            assert ((np.sum(side_T2, axis=0) > 0.5) <= (score_T > 0)).all(), "both add up to the region's probability"
    unlabeled = replace(few_crops, known_NA=few_crops.known_NA & ~few_crops.palsied_N[:, None])
    assert not task_frames(recipe, unlabeled, fold).train_N.any()


def test_a_fold_that_was_killed_resumes_and_predicts_the_same(few_crops, tmp_path, monkeypatch):
    recipe = replace(PALSY, train=replace(QUICK, epochs=2))
    whole = train_fold(recipe, few_crops, lopo(few_crops), tmp_path / "whole", identity="fold")

    def killed(*_args, **_options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(folds, "predict", killed)
        with pytest.raises(KeyboardInterrupt):
            train_fold(recipe, few_crops, lopo(few_crops), tmp_path / "killed", identity="fold")
    assert list((tmp_path / "killed").iterdir())
    assert train_fold(recipe, few_crops, lopo(few_crops), tmp_path / "killed", identity="fold")["score"].equals(whole["score"])
    assert not (tmp_path / "killed").exists()


def test_a_fold_with_an_empty_part_or_one_cohort_is_refused(few_crops, tmp_path):
    fold, nobody = lopo(few_crops), np.zeros(len(few_crops), bool)
    with pytest.raises(TrainingError, match="a fold has no validation frames for least-palsy"):
        train_fold(PALSY, few_crops, FrameFold(train_N=fold.train_N, val_N=nobody, test_N=fold.test_N), tmp_path, identity="")
    palsied = FrameFold(train_N=fold.train_N & few_crops.palsied_N, val_N=fold.val_N, test_N=fold.test_N)
    with pytest.raises(TrainingError, match="of one cohort"):
        train_fold(PALSY, few_crops, palsied, tmp_path, identity="")
