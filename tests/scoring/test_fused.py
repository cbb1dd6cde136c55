"""A model with movement: it is measured in clips, absent in photos, shown in the report, and left out of ONNX."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.scoring.conftest import REGIONS
from vitau.asymmetry.fusion import FUSION, Blend, Fusion
from vitau.asymmetry.weights import load_weights
from vitau.evaluation.decision import log_odds
from vitau.judging.judges import NO_MOVEMENT, ModelJudge
from vitau.models.checkpoint import load_model, model_digest, save_model
from vitau.models.regions import build_regions
from vitau.scoring.batch import score_inputs
from vitau.scoring.export import Recognition, Regions
from vitau.scoring.predict import Predictor

ADDED = {FUSION: Fusion(model=load_weights(), task=Blend(network=0.4, movement=1.0)).to_json()}
SIDED = {
    FUSION: Fusion(model=load_weights(), task=Blend(network=3.0, movement=1.0), side=Blend(network=2.0, movement=1.0)).to_json()
}


@pytest.fixture(scope="module")
def fused(make_bundle, tmp_path_factory):
    """A bundle of a sided region model and recognition, both with movement."""
    folder, config = tmp_path_factory.mktemp("fused"), replace(REGIONS, mode="sided")
    network, card = load_model(make_bundle(0.001) / "recognition")
    own = {name: value for name, value in card.items() if name not in ("kind", "config")}
    save_model(folder / "recognition", network, network.config, **own, **ADDED)
    torch.manual_seed(3)
    scales = {"face": 5.0, "region": 5.0, "side": 9.0}
    save_model(folder / "model", build_regions(config), config, side_scales=scales, **own | SIDED)
    return Predictor(folder, device="cpu")


def test_the_fusion_is_part_of_the_digest_of_a_model(make_bundle, tmp_path):
    shutil.copytree(make_bundle(0.5) / "recognition", tmp_path / "one")
    network, card = load_model(tmp_path / "one")
    own = {name: value for name, value in card.items() if name not in ("kind", "config")}
    assert model_digest(tmp_path / "one") != save_model(tmp_path / "two", network, network.config, **own, **ADDED)


def test_movement_of_a_clip_is_in_every_frame_and_in_the_report_and_a_photo_has_none(fused, clip, photo, tmp_path):
    score_inputs(fused, [clip, photo], tmp_path, model_name="m", analyse_all=True)
    moving, still = json.loads((tmp_path / "people.json").read_text())
    assert still["movement"] == {}
    assert still["uncertain"]
    assert len(moving["movement"]["contributions"]) == 6
    page = (tmp_path / "report.html").read_text()
    with_contributions = {path.parent.name for path in (tmp_path / "overlays").glob("*/*-contributions.jpg")}
    assert with_contributions == {"001"}, "the clip alone has movement to draw"
    assert page.count('title="network and movement together"') == 4
    assert "What movement adds to the score" in page
    assert "Here the network answers alone." in page
    assert page.count("So few frames show no movement, which this model needs to be sure.") == 1
    assert [verdict.reason for verdict in ModelJudge(fused.folder, "m").judge(photo)] == [NO_MOVEMENT]
    faces = list(fused.score_path(clip))
    crops = np.stack([face.crop for face in faces])
    alone = fused.score_crops(crops).palsy_N
    added = log_odds(np.array([face.palsy_score for face in faces])) - log_odds(alone)
    assert np.allclose(added, moving["movement"]["log_odds"], atol=1e-3)


def test_the_networks_of_onnx_answer_as_the_model_does_about_a_photo(fused, crops):
    expected = fused.score_crops(crops, analyse_all=True)
    with torch.inference_mode():
        recognition = Recognition(fused.recognition, fused.rule.calibration, fused.recognition_fusion)
        (palsy,) = recognition(fused.to_input(crops, fused.recognition))
        regions = Regions(fused.regions, fused.side_scales, fused.region_threshold_A, fused.fusion)
        _, scores, right, sides = regions(fused.to_input(crops, fused.regions))
    np.testing.assert_allclose(palsy, expected.palsy_N, atol=1e-6)
    np.testing.assert_allclose(scores, expected.region_NA, atol=1e-6)
    np.testing.assert_allclose(right, expected.right_N, atol=1e-6)
    np.testing.assert_allclose(sides, expected.sided_NA2, atol=1e-6)
