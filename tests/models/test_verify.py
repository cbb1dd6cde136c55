"""The command that compares our networks with reference numbers agrees with the right ones and finds the wrong ones."""

import json
import shutil

import numpy as np
import pytest
import torch
from torch.nn import functional
from typer.testing import CliRunner

from tests.models.conftest import ORACLE
from vitau.errors import CheckpointError
from vitau.models import reference
from vitau.models.generator import GeneratorConfig
from vitau.models.verify import Check, app, verify


@pytest.fixture
def folder(tmp_path):
    """Some of the reference's files, the quick ones."""
    for name in ("gen_32.npz", "heatmaps.npz", "keys_enc_18.json", "keys_gen_1024.json", "keys_interpreter.json"):
        shutil.copy(ORACLE / name, tmp_path / name)
    return tmp_path


def test_every_file_is_compared_and_its_worst_difference_told(folder):
    shutil.copy(ORACLE / "gen_32.npz", folder / "disc_32.npz")
    ran = CliRunner().invoke(app, ["--oracle", str(folder)])
    assert ran.exit_code == 0
    lines = ran.stdout.splitlines()
    assert lines[0] == "skipped  disc_32.npz: not of a known form"
    assert lines[1].startswith("ok       gen_32.npz: 29 tensors, worst ")
    assert lines[2].startswith("ok       heatmaps.npz: 3 tensors, worst ")
    assert lines[3:] == [
        "ok       keys_enc_18.json: 621 keys and shapes",
        "ok       keys_gen_1024.json: 171 keys and shapes",
        "ok       keys_interpreter.json: 65 keys and shapes",
    ]


def test_a_number_that_is_another_one_differs(tmp_path):
    numbers = dict(np.load(ORACLE / "gen_32.npz"))
    numbers["wplus/feat5"][7] += 3e-4
    np.savez(tmp_path / "gen_32.npz", **numbers)
    ran = CliRunner().invoke(app, ["--oracle", str(tmp_path)])
    assert ran.exit_code == 1
    assert "DIFFERS  gen_32.npz: 29 tensors, worst 3.0e-04 absolute" in ran.stdout


def test_a_key_that_we_do_not_have_differs(tmp_path):
    keys = json.loads((ORACLE / "keys_enc_18.json").read_text())
    (tmp_path / "keys_enc_18.json").write_text(json.dumps({**keys, "extra": [1]}))
    ran = CliRunner().invoke(app, ["--oracle", str(tmp_path)])
    assert (ran.exit_code, ran.stdout) == (1, "DIFFERS  keys_enc_18.json: 622 keys and shapes\n")


def test_a_number_that_we_do_not_compute_differs(tmp_path):
    np.savez(tmp_path / "gen_32.npz", **dict(np.load(ORACLE / "gen_32.npz")), **{"wplus/feat8": np.zeros(64)})
    (check,) = verify(tmp_path)
    assert isinstance(check, Check)
    assert (check.compared, check.agrees) == (29, False)


def test_a_folder_without_numbers_is_one_sentence(tmp_path):
    with pytest.raises(CheckpointError, match=r"holds no reference numbers .* give their folder"):
        list(verify(tmp_path))
    ran = CliRunner().invoke(app, ["--oracle", str(tmp_path / "nowhere")])
    assert (ran.exit_code, ran.stderr.count("\n")) == (1, 1)


@pytest.mark.slow
def test_the_interpreter_is_compared_at_full_size(tmp_path):
    np.savez(tmp_path / "interp.npz", heatmaps=_straightforward_interpreter().numpy())
    (check,) = verify(tmp_path)
    assert isinstance(check, Check)
    assert check.agrees, check


@torch.inference_mode()
def _straightforward_interpreter():
    """Write METHOD's pyramid down once more, block by block, from weights by name."""
    shapes = {key: torch.empty(shape) for key, shape in _shapes("interpreter").items()}
    weight = reference.weights(shapes, "interpreter.")
    config, size = GeneratorConfig(), 128

    def to(x, side):
        return functional.interpolate(x, size=(side, side), mode="bilinear", align_corners=True)

    total = 0
    for i, side in enumerate(config.resolutions):
        feature = torch.from_numpy(reference.normal(f"input.feat{i}", (1, config.channels(side), side, side)))
        total = total + (to(feature, size) if side > size else feature)
        at = 1 if side < size else 0
        x = to(total, 2 * side) if side < size else total
        kernel = weight[f"layer{i}.{at}.weight"]
        x = functional.conv2d(x, kernel, weight[f"layer{i}.{at}.bias"], padding=kernel.shape[-1] // 2).relu()
        norm = {part: weight[f"layer{i}.{at + 3}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")}
        total = functional.batch_norm(x, **norm)
    return functional.conv2d(total, weight[f"layer{i}.{at + 4}.weight"], weight[f"layer{i}.{at + 4}.bias"], padding=2)


def _shapes(name):
    return {key: tuple(shape) for key, shape in json.loads((ORACLE / f"keys_{name}.json").read_text()).items()}
