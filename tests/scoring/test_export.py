import json
import sys
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch

from tests.scoring.conftest import REGIONS
from vitau.errors import CheckpointError
from vitau.models.checkpoint import load_model, save_model
from vitau.models.inputs import to_input
from vitau.models.regions import build_regions
from vitau.schema import AUS
from vitau.scoring import export
from vitau.scoring.export import OPSET, TOLERANCE, export_onnx, run_onnx
from vitau.scoring.predict import Predictor
from vitau.scoring.scores import score_rows

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # raised inside the exporter
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


@pytest.fixture(scope="module")
def folder(make_bundle, tmp_path_factory):
    """Write a sided model with batch-norm statistics as after training, every output used, and a calibrated recognition."""
    made = tmp_path_factory.mktemp("sided")
    recognition, own = load_model(make_bundle(0.001) / "recognition")
    del own["kind"], own["config"]
    save_model(made / "recognition", recognition, recognition.config, **own, calibration={"scale": 3.0, "bias": 0.5})
    config = replace(REGIONS, mode="sided", latent_route="mapping", num_outputs=9)
    torch.manual_seed(4)
    model = build_regions(config)
    generator = torch.Generator().manual_seed(1)
    for name, buffer in model.named_buffers():
        if name.endswith("running_var"):
            buffer.uniform_(0.5, 1.5, generator=generator)
    card = {
        "side_scales": {"face": 50.0, "region": 5.0, "side": 7.0},
        "region_thresholds": {au: index / 8 for index, au in enumerate(AUS)},
    }
    save_model(made / "model", model, config, **card, threshold=None, synthetic=True)
    return made


@pytest.fixture(scope="module")
def exported(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("onnx")
    return out, export_onnx(folder, out)


def test_both_networks_agree_with_pytorch_on_a_photo(folder, exported, photo):
    out, _ = exported
    predictor = Predictor(folder, device="cpu")
    (face,) = predictor.score(photo)
    crop = face.crop[None]
    (palsy,) = run_onnx(out / "recognition.onnx", to_input(crop, predictor.recognition.input_size).numpy())
    assert palsy[0] == pytest.approx(face.palsy_score, abs=TOLERANCE)
    heatmaps, scores, right, sides = run_onnx(out / "regions.onnx", to_input(crop, predictor.regions.input_size).numpy())
    np.testing.assert_allclose(heatmaps, predictor.heatmaps(crop), atol=TOLERANCE)
    np.testing.assert_allclose(scores[0], [face.regions[au] for au in AUS], atol=TOLERANCE)
    np.testing.assert_allclose(sides[0], [face.sides[au] for au in AUS], atol=TOLERANCE)
    assert right[0] == pytest.approx(face.right_side, abs=TOLERANCE)


@pytest.mark.parametrize("count", [1, 3])
def test_any_number_of_faces_is_accepted(folder, exported, crops, count):
    out, _ = exported
    predictor = Predictor(folder, device="cpu")
    expected = predictor.score_crops(crops[:count])
    (palsy,) = run_onnx(out / "recognition.onnx", to_input(crops[:count], predictor.recognition.input_size).numpy())
    _, scores, *_ = run_onnx(out / "regions.onnx", to_input(crops[:count], predictor.regions.input_size).numpy())
    np.testing.assert_allclose(palsy, expected.palsy_N, atol=TOLERANCE)
    np.testing.assert_allclose(scores, expected.region_NA, atol=TOLERANCE)
    assert len(score_rows(expected, name="x", frame_index=range(count), time_s=range(count), box=[[0] * 4] * count)) == count


def test_inputs_and_outputs_are_described_in_a_card(exported):
    out, networks = exported
    assert [network.file for network in networks] == ["recognition.onnx", "regions.onnx"]
    assert all(network.worst <= TOLERANCE for network in networks)
    card = json.loads((out / "onnx.json").read_text())
    assert (card["opset"], card["thresholds"]["recognition"]["threshold"], card["synthetic"]) == (OPSET, 0.001, True)
    for network in networks:
        model = onnx.load(out / network.file)
        onnx.checker.check_model(model)
        assert {entry.domain: entry.version for entry in model.opset_import}[""] == OPSET
        assert [entry.name for entry in model.graph.input] == list(card["networks"][network.file]["inputs"]) == ["crop"]
        assert [entry.name for entry in model.graph.output] == list(card["networks"][network.file]["outputs"])
        assert {node.domain for node in model.graph.node} == {""}, "an operator of its own"
    assert sorted(path.name for path in out.iterdir()) == ["LANDMARKS.md", "onnx.json", "recognition.onnx", "regions.onnx"]


def test_a_network_that_differs_from_pytorch_is_not_written(make_bundle, tmp_path, monkeypatch):
    run = export.run_onnx
    monkeypatch.setattr(export, "run_onnx", lambda *given: [output + 0.01 for output in run(*given)])
    with pytest.raises(CheckpointError, match=r"^recognition\.onnx differs from PyTorch by 1\.0e-02, which is too much"):
        export_onnx(make_bundle(0.5) / "recognition", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_missing_packages_are_one_sentence(make_bundle, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(
        CheckpointError, match=r"^onnxscript is not installed, which ONNX needs: pip install onnx onnxscript onnxruntime$"
    ):
        export_onnx(make_bundle(0.5), tmp_path)
