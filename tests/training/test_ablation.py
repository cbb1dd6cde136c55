"""The grid of losses and features: one table, cells that stay, sentences for what cannot be."""

import json
import multiprocessing
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from vitau.errors import TrainingError
from vitau.schema import Snapshot, Split
from vitau.store import Store
from vitau.training.ablation import PAPER, ablate, table
from vitau.training.recipes import RECIPES

MakeSnapshot = Callable[..., tuple[Store, str]]


def _kill_the_first_worker() -> None:
    while not multiprocessing.active_children():
        time.sleep(0.005)
    multiprocessing.active_children()[0].kill()


@pytest.mark.slow
def test_a_grid_goes_on_where_it_was_and_its_table_has_the_paper_beside_it(make_snapshot: MakeSnapshot, tmp_path: Path) -> None:
    store, digest = make_snapshot(12)
    recipe, out = RECIPES["smoke-regions"](), tmp_path / "grid"
    one = ablate(recipe, store, digest, out, losses=["mse"], features=["late"], drawn_people=24)
    weights = out / "cells/mse-late/model/weights.safetensors"
    before = weights.stat().st_mtime_ns
    two = ablate(recipe, store, digest, out, losses=["kl", "mse"], features=["late"], drawn_people=24)
    assert weights.stat().st_mtime_ns == before
    assert [(row["loss"], row["features"]) for row in two["rows"]] == [("mse", "late"), ("kl", "late")]
    assert two["rows"][0] == one["rows"][0]
    assert [row["paper"] for row in two["rows"]] == [{"accuracy_of_paper_7": 0.7959, "protocol": "frames"}, None]
    assert json.loads((out / "ablation.json").read_text()) == two
    assert sorted(path.name for path in out.iterdir()) == ["ablation.json", "ablation.md", "cells", "settings.json"]
    metrics = json.loads((out / "cells/kl-late/metrics.json").read_text())
    assert (metrics["recipe"], metrics["drawn"]["num_people"]) == ("smoke-regions-kl-late", 24)
    model = json.loads((out / "cells/kl-late/model/model.json").read_text())
    assert model["config"]["features"] == "late"
    for row in two["rows"]:
        low, high = row["accuracy_interval"]
        assert low <= row["accuracy"] <= high
        assert (row["protocol"], row["n_test_subjects"]) == ("subjects", 2)
    expected = f"{out} holds a grid with drawn people 24, not 120: choose another --out"
    with pytest.raises(TrainingError, match=f"^{expected}$"):
        ablate(recipe, store, digest, out)


def test_a_page_says_why_its_numbers_are_not_the_paper_s_before_it_gives_them() -> None:
    frozen = Snapshot(digest="d", uri="", ledger_offset=0, num_frames=9, subjects=dict.fromkeys(Split, 1), synthetic=True)
    row = {
        "loss": "mse",
        "features": "all",
        "protocol": "subjects",
        "n_test_subjects": 31,
        "accuracy_of_paper_7": 0.7314,
        "accuracy_of_paper_7_interval": [0.65, 0.8],
        "accuracy": 0.7,
        "accuracy_interval": [0.6, 0.8],
        "auroc": 0.8431,
        "auroc_interval": [0.7, 0.9],
        "paper": {"accuracy_of_paper_7": PAPER["mse", "all"], "protocol": "frames"},
    }
    lines = table(
        RECIPES["tiny-regions"](), frozen, [row, row | {"auroc": None, "auroc_interval": None, "paper": None}]
    ).splitlines()
    assert lines[0] == "# Losses and features of tiny-regions on synthetic people"
    assert lines[2].startswith("These numbers cannot be compared with the paper's: these people are drawn, they are divided by")
    accuracies = "| mse | all | 73.1 [65.0, 80.0] | 70.0 [60.0, 80.0]"
    assert lines[-2] == f"{accuracies} | 0.843 [0.700, 0.900] | subjects | 31 | 81.36 | frames |"
    assert lines[-1] == f"{accuracies} | – | subjects | 31 | – | – |"
    real = table(RECIPES["paper-regions"](), replace(frozen, synthetic=False), [row])
    assert "synthetic" not in real
    assert "drawn" not in real


def test_a_killed_process_is_one_sentence(make_snapshot: MakeSnapshot, tmp_path: Path) -> None:
    store, digest = make_snapshot(12)
    recipe = replace(RECIPES["smoke-regions"](), pretrain=None, drawn=None)
    killer = threading.Thread(target=_kill_the_first_worker)
    killer.start()
    expected = f"a process that trained a cell of {tmp_path}/out was killed: run it again with fewer --jobs, what is done stays"
    with pytest.raises(TrainingError, match=f"^{expected}$"):
        ablate(recipe, store, digest, tmp_path / "out", losses=["mse"], jobs=1)
    killer.join()


def test_a_cell_that_cannot_be_trained_is_named(make_snapshot: MakeSnapshot, tmp_path: Path) -> None:
    store, digest = make_snapshot(4)
    recipe = replace(RECIPES["smoke-regions"](), pretrain=None, drawn=None)
    with pytest.raises(TrainingError, match=r"^cell kl-early: split test has no palsied people: label more people$"):
        ablate(recipe, store, digest, tmp_path / "out", losses=["kl"], features=["early"], jobs=1)


@pytest.mark.parametrize(
    ("recipe", "options", "expected"),
    [
        (
            "tiny-regions",
            {"losses": ["hinge"]},
            "no loss 'hinge' for the regions; there are mse, kl, cross_entropy, bce_with_logits",
        ),
        ("tiny-regions", {"features": ["none"]}, "no features 'none' for the regions; there are all, early, middle, late"),
        ("tiny-palsy", {}, "recipe tiny-palsy recognizes a palsy: the grid needs a recipe of the regions, as tiny-regions"),
        (
            "paper-regions",
            {"drawn_people": 500},
            "recipe paper-regions has no pretraining on drawn people: leave out --drawn-people",
        ),
    ],
)
def test_what_does_not_fit_is_one_sentence(
    make_snapshot: MakeSnapshot, tmp_path: Path, recipe: str, options: dict[str, object], expected: str
) -> None:
    store, digest = make_snapshot(6)
    with pytest.raises(TrainingError, match=f"^{expected}$"):
        ablate(RECIPES[recipe](), store, digest, tmp_path / "out", **options)  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


def test_the_command_answers_with_one_line(
    make_snapshot: MakeSnapshot, command: Callable[..., tuple[object, str, str]], tmp_path: Path
) -> None:
    store, digest = make_snapshot(6)
    arguments = ["--store", store.uri, "--snapshot", digest, "--out", str(tmp_path / "out"), "--losses", "mse,hinge"]
    code, output, errors = command("ablate", *arguments)
    assert (code, output) == (1, "")
    assert errors == "Error: no loss 'hinge' for the regions; there are mse, kl, cross_entropy, bce_with_logits\n"
