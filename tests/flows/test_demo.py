import json

import pytest
import torch

from flows.cli.demo import out_of_style
from flows.demo import count_new, judge_styles
from flows.ingest import IngestSummary
from flows.promotion.registered_models import PALSY, REGIONS
from flows.rescore import RescoreSummary
from vitau.catalog.catalog import Training
from vitau.models.checkpoint import save_model
from vitau.models.vit import ViTConfig, build_vit


def training(model: str) -> Training:
    return Training(
        key=f"key of {model}",
        model=model,
        recipe="tiny-palsy",
        snapshot="s",
        model_digest="d",
        model_key="k",
        version=1,
        run_id="r",
        metrics={},
    )


TRAINED = {model: training(model) for model in (PALSY, REGIONS)}
ALL_KNOWN = {own.key for own in TRAINED.values()}


@pytest.mark.parametrize(
    ("new_clips", "num_answers", "known", "new_subjects", "expected"),
    [
        (0, 0, ALL_KNOWN, 0, 0),
        (1, 0, ALL_KNOWN, 0, 1),
        (0, 8, ALL_KNOWN, 0, 8),
        (0, 0, ALL_KNOWN, 3, 3),
        pytest.param(0, 0, {TRAINED[PALSY].key}, 0, 1, id="regions were trained and refused, so nobody was scored by them"),
        (0, 0, set(), 0, 2),
    ],
)
def test_everything_was_there_already_only_if_nothing_was_added_not_even_a_refused_model(
    new_clips, num_answers, known, new_subjects, expected
):
    ingested = IngestSummary(clips=4, new_clips=new_clips, cut_clips=new_clips, frames=9, faces=9, quarantined={}, skipped=())
    scored = RescoreSummary(subjects=3, new_subjects=new_subjects, overlays=0, not_scored=0)
    assert count_new(ingested, num_answers, known, TRAINED, scored) == expected


def test_the_champion_is_judged_in_other_styles_once_and_a_small_demo_draws_few_people(workspace, tmp_path):
    torch.manual_seed(0)
    config = ViTConfig(input_size=32, patch_size=8, width=32, depth=1, heads=2, stem="conv")
    save_model(tmp_path / "champion" / "model", build_vit(config), config, threshold=0.5, synthetic=True)
    found = judge_styles.fn(workspace, tmp_path / "champion", 5)
    assert (found["people"], set(found)) == (4, {"people", "in_style", "out_of_style"})
    (kept,) = workspace.folder("styles").iterdir()
    kept.write_text(json.dumps(found | {"people": 99}))
    assert judge_styles.fn(workspace, tmp_path / "champion", 5)["people"] == 99  # read, not judged again
    assert f"palsy AUROC {found['in_style']['auroc']:.3f}" in out_of_style(found)
    assert "in styles that it never saw" in out_of_style(found)
    assert out_of_style(found).endswith("mean region AUROC undefined and undefined.")
