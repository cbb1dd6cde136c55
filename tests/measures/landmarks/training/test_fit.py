from pathlib import Path

import numpy as np
import pytest
import torch

from vitau.command_line import run
from vitau.errors import CheckpointError, TrainingError
from vitau.measures.landmarks.refinement import WEIGHTS
from vitau.measures.landmarks.refinement.network import PointNet, load_networks, save_networks, to_input
from vitau.measures.landmarks.training import __main__ as command
from vitau.measures.landmarks.training.draw import DrawnPatches, draw_patches
from vitau.measures.landmarks.training.fit import FitConfig, combinations, fit

TINY = (8, 8, 8)


@pytest.fixture(scope="module")
def drawn() -> DrawnPatches:
    return draw_patches("upper", 32, 5)


def test_a_network_learns_where_the_points_are(drawn: DrawnPatches) -> None:
    losses: list[float] = []
    config = FitConfig(epochs=25, batch_size=16, widths=(16, 16, 16), learning_rate=4e-2)
    network = fit("upper", drawn, config, lambda _, loss: losses.append(loss))
    assert losses[-1] < 0.5 * losses[0]
    untrained = PointNet(11, (16, 16, 16)).eval()
    with torch.inference_mode():
        near, far = (net(to_input(drawn.patches))[0].numpy() - drawn.points for net in (network, untrained))
    assert np.abs(near).mean() < 0.6 * np.abs(far).mean()


def test_the_training_command_writes_the_same_weights_for_the_same_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = []
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        out = tmp_path / f"{name}.safetensors"
        arguments = f"refinement --out {out} --num-patches 48 --epochs 1 --seed {seed} --processes 1 --widths 8,8,8"
        monkeypatch.setattr("sys.argv", ["training", *arguments.split()])
        with pytest.raises(SystemExit) as ended:
            run(command.app)
        assert not ended.value.code
        written.append(out.read_bytes())
    assert written[0] == written[1]
    assert written[0] != written[2]
    assert {name: len(net.heatmaps.bias) for name, net in load_networks(tmp_path / "a.safetensors").items()} == {
        "upper": 11,
        "lower": 15,
    }


def test_loaded_networks_find_the_points_of_the_trained_ones(tmp_path: Path, drawn: DrawnPatches) -> None:
    trained = {
        "upper": fit("upper", drawn, FitConfig(epochs=2, batch_size=16, widths=TINY)),
        "lower": PointNet(15, TINY).eval(),
    }
    save_networks(tmp_path / "both.safetensors", trained, {"widths": list(TINY)})
    loaded = load_networks(tmp_path / "both.safetensors")
    with torch.inference_mode():
        for name, network in trained.items():
            here, there = (net(to_input(drawn.patches[:4]))[0] for net in (network, loaded[name]))
            assert torch.allclose(here, there, atol=0.3), "float16 moves a point by a fraction of a pixel"


def test_too_few_patches_are_refused(drawn: DrawnPatches) -> None:
    with pytest.raises(TrainingError, match="32 patches are fewer than a batch of 48; draw more"):
        fit("upper", drawn, FitConfig(epochs=1))


def test_the_learned_differences_are_zero_for_points_that_are_all_shifted_alike() -> None:
    for region, rows in (("upper", (0, 1)), ("lower", (0, 2))):
        assert torch.allclose(combinations(region)[list(rows)].sum(dim=1), torch.zeros(2), atol=1e-6)


def test_the_committed_weights_are_at_most_two_megabytes() -> None:
    assert WEIGHTS.stat().st_size <= 2_000_000


def test_weights_that_cannot_be_used_are_one_clear_sentence(tmp_path: Path) -> None:
    (tmp_path / "damaged.safetensors").write_bytes(WEIGHTS.read_bytes()[:5000])
    save_networks(tmp_path / "upper.safetensors", {"upper": PointNet(11, TINY)}, {"widths": list(TINY)})
    for name in ("none", "damaged", "upper"):
        with pytest.raises(CheckpointError, match=r"\.safetensors") as caught:
            load_networks(tmp_path / f"{name}.safetensors")
        assert "\n" not in str(caught.value)
