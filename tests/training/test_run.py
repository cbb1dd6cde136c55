"""A whole training: what it needs, what it starts from, what it answers."""

import json
import platform
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from vitau.asymmetry.fusion import read_fusion
from vitau.data.dataset import Crops
from vitau.errors import CheckpointError, TrainingError
from vitau.models.checkpoint import load_model, model_digest
from vitau.models.vit import build_vit
from vitau.progress import Reporter
from vitau.store import Store, sha256_of
from vitau.training.recipes import RECIPES, find_recipe
from vitau.training.run import choose_device, pretrain, shrunk, train

MakeSnapshot = Callable[..., tuple[Store, str]]


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pretrained")
    pretrain(RECIPES["smoke-palsy"](), out)
    return out


def test_a_pretrained_model_says_that_its_people_were_drawn(pretrained: Path) -> None:
    _, card = load_model(pretrained / "model")
    assert card["synthetic"] is True
    assert card["drawn"]["num_people"] == RECIPES["smoke-palsy"]().drawn.num_people  # type: ignore[union-attr]
    assert sorted(path.name for path in pretrained.iterdir()) == ["history.json", "metrics.json", "model"]


def test_a_training_starts_from_it_and_names_it(make_snapshot: MakeSnapshot, pretrained: Path, tmp_path: Path) -> None:
    store, digest = make_snapshot(12)
    result = train(RECIPES["smoke-palsy"](), store, digest, tmp_path / "out", pretrained=pretrained)
    assert result.pretrained_digest == model_digest(pretrained / "model")
    assert result.pretraining_seconds > 0
    _, card = load_model(tmp_path / "out/model")
    assert card["pretrained"] == "smoke-palsy"
    assert (card["snapshot"], card["protocol"], card["ledger_offset"]) == (digest, "subjects", 3)
    assert json.loads((tmp_path / "out/metrics.json").read_text()) == result.to_json()
    assert result.environment["torch"] == version("torch")
    assert platform.node() not in result.environment.values(), "a machine's name says whose it is"


def test_the_state_of_a_finished_training_is_nowhere(make_snapshot: MakeSnapshot, pretrained: Path, tmp_path: Path) -> None:
    store, digest = make_snapshot(12)
    recipe = RECIPES["smoke-palsy"]()
    unfinished = replace(recipe, train=replace(recipe.train, epochs=2))

    def kill(line: str) -> None:
        if line.startswith("epoch 2"):
            raise KeyboardInterrupt

    reporter = Reporter()
    reporter.line = kill  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        train(unfinished, store, digest, tmp_path / "here", checkpoints_to_store=True, reporter=reporter)
    assert len(list(store.keys("checkpoints/"))) == 1
    result = train(unfinished, store, digest, tmp_path / "there", checkpoints_to_store=True)
    assert result.seconds > 0
    assert not list(store.keys("checkpoints/"))
    assert sorted(path.name for path in (tmp_path / "there").iterdir()) == ["history.json", "metrics.json", "model"]


def test_a_training_starts_from_weights_of_the_user_s_own_and_keeps_their_digest(
    make_snapshot: MakeSnapshot, pretrained: Path, tmp_path: Path
) -> None:
    store, digest = make_snapshot(12)
    recipe = RECIPES["smoke-palsy"]()
    torch.manual_seed(4)
    theirs = build_vit(recipe.model).vit.state_dict()  # type: ignore[arg-type]
    save_file(theirs, tmp_path / "theirs.safetensors")
    still = replace(recipe, train=replace(recipe.train, lr=0.0, weight_decay=0.0))
    sources = [str(tmp_path / "theirs.safetensors")]
    result = train(still, store, digest, tmp_path / "out", weights=sources)
    model, card = load_model(tmp_path / "out/model")
    assert card["weights"] == result.weights == [sha256_of(tmp_path / "theirs.safetensors")]
    assert torch.equal(model.state_dict()["vit.blocks.0.attn.qkv.weight"], theirs["blocks.0.attn.qkv.weight"])
    with pytest.raises(TrainingError, match="starts from --pretrained or from --weights: give one of them"):
        train(still, store, digest, tmp_path / "both", pretrained=pretrained, weights=sources)


def test_a_model_of_another_recipe_is_no_start(make_snapshot: MakeSnapshot, pretrained: Path, tmp_path: Path) -> None:
    store, digest = make_snapshot(12)
    with pytest.raises(TrainingError, match=r"was made by recipe smoke-palsy and has another shape than tiny-regions's"):
        train(RECIPES["tiny-regions"](), store, digest, tmp_path / "out", pretrained=pretrained)


def test_a_training_with_movement_writes_its_fusion_into_the_card(
    make_snapshot: MakeSnapshot, pretrained: Path, tmp_path: Path
) -> None:
    store, digest = make_snapshot(12)
    train(find_recipe("smoke-palsy+movement"), store, digest, tmp_path / "out", pretrained=pretrained)
    _, card = load_model(tmp_path / "out/model")
    fusion = read_fusion(card)
    assert fusion is not None
    assert fusion.task.network > 0
    assert (card["recipe"], card["threshold"]) == ("smoke-palsy+movement", 0.5)
    train(find_recipe("smoke-palsy"), store, digest, tmp_path / "alone", pretrained=pretrained)
    assert read_fusion(load_model(tmp_path / "alone/model")[1]) is None
    with pytest.raises(CheckpointError, match=r"^the fusion in the card of a model cannot be read \('task'\): fetch it again$"):
        read_fusion({"fusion": {"side": None, "movement": card["fusion"]["movement"]}})


def test_a_split_without_people_is_named(make_snapshot: MakeSnapshot, tmp_path: Path) -> None:
    store, digest = make_snapshot(4)
    with pytest.raises(TrainingError, match="split test has no people: label more people"):
        train(RECIPES["smoke-palsy"](), store, digest, tmp_path / "out")


def test_a_recipe_without_pretraining_says_so(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="recipe paper-palsy has no pretraining on drawn people"):
        pretrain(RECIPES["paper-palsy"](), tmp_path)


def test_threads_are_what_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    monkeypatch.setenv("VITAU_TORCH_THREADS", "many")
    with pytest.raises(TrainingError, match="VITAU_TORCH_THREADS is 'many': give a whole number of threads from 1"):
        choose_device()
    monkeypatch.setenv("VITAU_TORCH_THREADS", "1")
    choose_device()
    assert torch.get_num_threads() == 1
    torch.set_num_threads(before)


def test_shrunk_crops_keep_their_people_and_their_landmarks(few_crops: Crops) -> None:
    some = few_crops.where(np.arange(48) % 3 == 1)
    small = shrunk(some, 8)
    assert small.pixels(slice(None)).shape == (16, 8, 8, 3)
    means = [crops.pixels(slice(None)).mean((1, 2, 3)) for crops in (some, small)]
    assert np.allclose(*means, atol=2)
    assert np.array_equal(small.landmarks_NL2, some.landmarks_NL2)
    assert shrunk(some, 16) is some
