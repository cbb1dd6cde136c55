"""A champion of confounded people needs a named policy, and every score of it carries the warning; no service runs."""

import pytest
import torch

from flows.promote import facts_of
from flows.promotion.evaluation import gather
from flows.promotion.shortcuts import probe_people
from tests.data.fake_cohorts import freeze_cohort
from vitau.catalog.catalog import Training
from vitau.data import layout
from vitau.data.dataset import load_crops
from vitau.evaluation.promotion.policy import CONFOUNDED_SOURCES, PATIENTS
from vitau.models.checkpoint import load_model, save_model
from vitau.models.vit import ViTConfig, build_vit
from vitau.registry.bundle import folder_digest
from vitau.schema import Cohort
from vitau.training.config import Recipe, TrainConfig
from vitau.training.run import train

RECIPE = Recipe(
    name="smoke-palsy",
    kind="palsy",
    model=ViTConfig(input_size=16, patch_size=8, width=8, depth=1, heads=2, dropout=0.0),
    train=TrainConfig(epochs=1, batch_size=32),
)
WARNING = "Confounded sources: how people were recorded separates palsied people from the others (shortcut probe, AUROC "


def trained(workspace, tmp_path, **recordings):
    """Return a training on drawn people who were recorded in some way, its model in the store, and the model's card."""
    digest = freeze_cohort(workspace.store, tmp_path, 30, **recordings)
    out = tmp_path / "out"
    result = train(RECIPE, workspace.store, digest, out, cache=workspace.folder("crops"))
    return stored(workspace, digest, out, result.to_json()), load_model(out / "model")[1]


def stored(workspace, snapshot, out, metrics):
    model = folder_digest(out)
    for path in sorted((out / "model").iterdir()):
        workspace.store.put(layout.model_file_key(model, f"model/{path.name}"), path)
    return Training(
        key="k",
        model="vitau-palsy",
        recipe=RECIPE.name,
        snapshot=snapshot,
        model_digest=model,
        model_key=layout.model_key(model),
        version=1,
        run_id="r",
        metrics=metrics,
    )


def camera(workspace, training, policy):
    """Return what the verdict says about the shortcut probe."""
    facts = facts_of(workspace, training, None, policy, gather(workspace, training, None))
    (found,) = [reason for reason in facts["verdict"]["reasons"] if reason["check"] == "shortcut probe"]
    return facts, found


def test_palsied_people_in_color_and_controls_in_gray_are_refused_unless_the_policy_accepts_it(workspace, tmp_path):
    training, card = trained(workspace, tmp_path, gray=[Cohort.CONTROL])
    facts, found = camera(workspace, training, PATIENTS)
    assert not found["holds"]
    assert "the recordings separate the cohorts (saturation 1.00" in found["sentence"]
    assert found["sentence"].endswith("a champion of such people needs VITAU_POLICY=confounded-sources")
    assert not facts["verdict"]["promote"]
    facts, found = camera(workspace, training, CONFOUNDED_SOURCES)
    assert found["holds"]
    assert facts["warning"].startswith(WARNING)
    assert card["warnings"] == [facts["warning"]]
    assert card["shortcut_probe"]["auroc"] >= 0.9


def test_codecs_of_their_own_separate_the_cohorts_too(workspace, tmp_path):
    encodings = {Cohort.PALSY: {"codec": "vp9", "frame_rate": "30.0"}, Cohort.CONTROL: {"codec": "png", "frame_rate": "30.0"}}
    digest = freeze_cohort(workspace.store, tmp_path, 40, encodings=encodings)
    probe = probe_people.fn(workspace, digest)
    assert probe.separates
    assert "codec_vp9 1.00" in probe.most_telling
    assert "frame_rate" not in probe.by_column, "it is alike for all"


@pytest.mark.parametrize("gray", [(), tuple(Cohort)])
def test_people_who_were_recorded_alike_are_not_flagged(workspace, tmp_path, gray):
    encodings = {cohort: {"codec": "h264", "frame_rate": "30.0"} for cohort in Cohort}
    training, card = trained(workspace, tmp_path, gray=gray, encodings=encodings)
    facts, found = camera(workspace, training, PATIENTS)
    assert found["holds"], found
    assert 0 < card["shortcut_probe"]["auroc"] < 0.9
    assert card["warnings"] == []
    assert facts["warning"] is None


def test_a_version_from_before_the_probe_is_probed_now_and_cannot_carry_the_warning(workspace, tmp_path):
    digest = freeze_cohort(workspace.store, tmp_path, 40, gray=[Cohort.PALSY])
    torch.manual_seed(0)
    card = {"threshold": 0.5, "snapshot": digest, "recipe": RECIPE.name, "ledger_offset": 0}
    save_model(tmp_path / "out" / "model", build_vit(RECIPE.model), RECIPE.model, **card)
    metrics = {"kind": "palsy", "protocol": "subjects", "synthetic": True, "best_epoch": 1, "seconds": 1.0}
    training = stored(workspace, digest, tmp_path / "out", metrics)
    _, found = camera(workspace, training, CONFOUNDED_SOURCES)
    assert not found["holds"]
    assert found["sentence"].endswith("do not carry the warning, which it is older than; train it again")


def test_an_erased_person_is_not_probed_and_the_measures_of_before_are_deleted(workspace, tmp_path):
    digest = freeze_cohort(workspace.store, tmp_path, 12)
    assert probe_people.fn(workspace, digest).num_people == 12
    workspace.catalog.begin_erasure({"s000"})
    assert probe_people.fn(workspace, digest).num_people == 11
    cache = workspace.folder("crops")
    load_crops(workspace.store, digest, cache, without={"s000"})
    assert len(list(cache.glob("nuisance-*"))) == 1
