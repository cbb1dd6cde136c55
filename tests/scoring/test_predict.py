import shutil
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from tests.scoring.conftest import REGIONS
from vitau.errors import CheckpointError, ClipError
from vitau.evaluation.decision import DecisionRule, log_odds, sigmoid
from vitau.media.clips import DecodeCounts
from vitau.models.checkpoint import load_model, save_model
from vitau.models.heatmaps import decode, decode_sides
from vitau.models.regions import build_regions
from vitau.registry.bundle import SUMS
from vitau.schema import AUS, SCORE_COLUMNS
from vitau.scoring.predict import Predictor
from vitau.scoring.scores import score_rows, score_table


def test_a_healthy_face_is_not_analyzed_and_its_regions_are_null(strict, crops):
    scores = strict.score_crops(crops)
    assert (scores.palsied_N.any(), scores.analysed_N.any(), np.isnan(scores.region_NA).all()) == (False, False, True)
    table = score_table(score_rows(scores, name="x", frame_index=range(4), time_s=[0.0] * 4, box=[[0, 0, 1, 1]] * 4))
    assert table.column_names == list(SCORE_COLUMNS)
    assert all(table[au].null_count == 4 for au in AUS)


def test_a_palsied_face_is_analyzed(lenient, crops):
    scores = lenient.score_crops(crops)
    assert scores.palsied_N.all()
    assert scores.analysed_N.all()
    assert np.abs(scores.region_NA).max() <= 1
    with torch.inference_mode():
        logits = lenient.recognition(lenient.to_input(crops, lenient.recognition))
        regions = decode(lenient.regions(lenient.to_input(crops, lenient.regions)))
    np.testing.assert_allclose(scores.palsy_N, logits.softmax(1)[:, 1], atol=1e-6)
    np.testing.assert_allclose(scores.region_NA, regions, atol=1e-6)


def test_the_thresholds_of_the_regions_are_subtracted_so_that_0_divides(make_bundle, lenient, crops, tmp_path):
    shutil.copytree(make_bundle(0.001), tmp_path / "copy")
    model, card = load_model(tmp_path / "copy" / "model")
    del card["kind"], card["config"]
    save_model(tmp_path / "copy" / "model", model, model.config, **card, region_thresholds={"AU1": 0.25, "AU26": -0.5})
    (tmp_path / "copy" / SUMS).unlink(missing_ok=True)
    shifted = Predictor(tmp_path / "copy", device="cpu").score_crops(crops).region_NA - lenient.score_crops(crops).region_NA
    np.testing.assert_allclose(shifted, np.tile([-0.25, 0, 0, 0, 0, 0, 0, 0.5], (len(crops), 1)), atol=1e-6)


def test_a_sided_model_predicts_the_side_and_a_paired_one_does_not(make_bundle, lenient, crops, tmp_path):
    config = replace(REGIONS, mode="sided")
    torch.manual_seed(3)
    shutil.copytree(make_bundle(0.001) / "recognition", tmp_path / "recognition")
    card = {"side_scales": {"face": 50.0, "region": 5.0, "side": 9.0}, "region_thresholds": {"AU9": 0.1}}
    save_model(tmp_path / "model", build_regions(config), config, **card)
    predictor = Predictor(tmp_path, device="cpu")
    scores = predictor.score_crops(crops)
    sides = decode_sides(predictor.heatmaps(crops))
    margin = sides.amax(-1) - torch.tensor([0.1 * (au == "AU9") for au in AUS])
    np.testing.assert_allclose(scores.region_NA, margin, atol=1e-6)
    share = torch.sigmoid(9 * (sides[..., 0] - sides[..., 1]))
    expected = torch.sigmoid(5 * margin)[..., None] * torch.stack([share, 1 - share], -1)
    np.testing.assert_allclose(scores.sided_NA2, expected, atol=1e-5)
    rows = score_rows(scores, name="x", frame_index=range(4), time_s=[0.0] * 4, box=[[0, 0, 1, 1]] * 4)
    right = torch.sigmoid(50 * (sides[..., 0] - sides[..., 1]).mean(-1))
    np.testing.assert_allclose([row["right_side"] for row in rows], right, atol=1e-5)
    np.testing.assert_allclose([row["AU9_left"] for row in rows], expected[:, list(AUS).index("AU9"), 1], atol=1e-5)
    paired = lenient.score_crops(crops)
    (row, *_) = score_rows(paired, name="x", frame_index=range(4), time_s=[0.0] * 4, box=[[0, 0, 1, 1]] * 4)
    assert {value for name, value in row.items() if name.endswith(("right", "left", "side"))} == {None}


def test_the_option_analyzes_healthy_faces_too(strict, crops):
    scores = strict.score_crops(crops, analyse_all=True)
    assert (scores.palsied_N.any(), scores.analysed_N.all(), np.isnan(scores.region_NA).any()) == (False, True, False)


def test_scores_do_not_depend_on_the_batch(lenient, crops):
    many = np.tile(crops, (9, 1, 1, 1))  # more than one batch
    scores = lenient.score_crops(many)
    alone = lenient.score_crops(crops[2:3])
    np.testing.assert_allclose(scores.palsy_N[2::4], alone.palsy_N[0], atol=1e-5)
    np.testing.assert_allclose(scores.region_NA[2::4], np.repeat(alone.region_NA, 9, axis=0), atol=1e-5)


def test_recognition_decides_about_a_person_and_all_frames_are_analyzed_or_none(make_bundle, crops):
    predictor = Predictor(make_bundle(0.5), device="cpu")
    mean = float(predictor.score_crops(crops).palsy_N.mean())
    predictor.rule = DecisionRule(threshold=mean - 1e-6)
    palsied = predictor.score_person(lambda: [crops[:3], crops[3:]])
    assert (palsied.palsied_N.all(), palsied.analysed_N.all()) == (False, True)
    np.testing.assert_allclose(palsied.region_NA, predictor.score_crops(crops, analyse_all=True).region_NA, atol=1e-6)
    predictor.rule = DecisionRule(threshold=mean + 1e-6)
    healthy = predictor.score_person(lambda: [crops[:3], crops[3:]])
    assert (healthy.palsied_N.any(), healthy.analysed_N.any()) == (True, False)
    assert predictor.score_person(lambda: [crops], analyse_all=True).analysed_N.all()


def test_the_calibration_of_the_card_is_applied(make_bundle, crops, tmp_path):
    shutil.copytree(make_bundle(0.5), tmp_path / "copy")
    model, card = load_model(tmp_path / "copy" / "recognition")
    del card["kind"], card["config"]
    save_model(tmp_path / "copy" / "recognition", model, model.config, **card, calibration={"scale": 3.0, "bias": 1.0})
    before = Predictor(make_bundle(0.5), device="cpu").score_crops(crops).palsy_N
    after = Predictor(tmp_path / "copy", device="cpu").score_crops(crops).palsy_N
    np.testing.assert_allclose(after, sigmoid(3 * log_odds(before) + 1), atol=1e-6)


def test_no_crops_give_no_scores(lenient, crops):
    assert lenient.score_crops(crops[:0]).region_NA.shape == (0, 8)


def test_recognition_alone_scores_but_does_not_analyze(make_bundle, crops):
    predictor = Predictor(make_bundle(0.001) / "recognition")
    scores = predictor.score_crops(crops, analyse_all=True)
    assert (scores.palsied_N.all(), scores.analysed_N.any()) == (True, False)


def test_regions_without_recognition_are_refused(make_bundle):
    folder = make_bundle(0.5)
    (folder / "recognition").rename(folder / "elsewhere")
    with pytest.raises(CheckpointError) as error:
        Predictor(folder)
    assert str(error.value) == f"{folder} has a region model but no recognition/ to run first: fetch the whole folder"


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="is no model folder: give one with model/ in it"):
        Predictor(tmp_path / "none")


def test_all_faces_of_a_photo_are_scored_largest_first(lenient, photo):
    image = cv2.cvtColor(cv2.imread(str(photo)), cv2.COLOR_BGR2RGB)
    small = cv2.resize(image, None, fx=0.7, fy=0.7, interpolation=cv2.INTER_AREA)
    both = np.full((image.shape[0], image.shape[1] + small.shape[1], 3), 90, np.uint8)
    both[: small.shape[0], : small.shape[1]] = small
    both[:, small.shape[1] :] = image
    faces = lenient.score_image(both, "both.png")
    assert [face.row["face_index"] for face in faces] == [0, 1]
    assert faces[0].row["box"][0] > faces[1].row["box"][0]
    assert faces[0].crop.shape == (256, 256, 3)
    assert list(faces[0].row) == list(SCORE_COLUMNS)


def test_a_clip_is_scored_six_times_per_second(lenient, clip):
    counts = DecodeCounts()
    faces = list(lenient.score_clip(clip, counts=counts))
    assert len(faces) >= 0.9 * counts.num_frames > 0
    assert np.diff([face.row["time_s"] for face in faces]).min() == pytest.approx(1 / 6, abs=1e-3)
    assert {face.row["input"] for face in faces} == {str(clip)}


def test_a_photo_without_a_face_is_an_error_with_advice(lenient, landscape):
    with pytest.raises(ClipError) as error:
        list(lenient.score_path(landscape))
    assert str(error.value) == "the photo shows no face; give a photo of a face that looks at the camera"


def test_three_lines_of_python_give_scores_and_heatmaps(make_bundle, photo):
    from vitau import Predictor as FromTheTop

    predictor = FromTheTop(make_bundle(0.001), device="cpu")
    (face,) = predictor.score(str(photo))
    assert (face.palsied, face.palsy_score, face.right_side, face.sides) == (True, face.row["palsy_score"], None, {})
    assert face.regions == {au: face.row[au] for au in AUS}
    heatmaps = predictor.heatmaps_of(face)
    for au in AUS:
        assert heatmaps[au].shape == (32, 32)
        assert heatmaps[au].mean() == pytest.approx(face.regions[au], abs=1e-5)


def test_a_path_bytes_and_pixels_give_the_same_scores(lenient, photo):
    pixels = cv2.cvtColor(cv2.imread(str(photo)), cv2.COLOR_BGR2RGB)
    (path,), (data,), (image,) = (lenient.score(source) for source in (photo, photo.read_bytes(), pixels))
    assert path.row | {"input": ""} == data.row == image.row
    assert lenient.score(photo.read_bytes(), "me")[0].row["input"] == "me"


def test_a_healthy_face_has_no_regions_without_the_option(strict, photo):
    assert strict.score(photo)[0].regions == {}
    assert len(strict.score(photo, analyse_all=True)[0].regions) == 8


def test_a_sided_model_names_the_sides_of_a_face(make_bundle, photo, tmp_path):
    config = replace(REGIONS, mode="sided")
    shutil.copytree(make_bundle(0.001) / "recognition", tmp_path / "recognition")
    save_model(tmp_path / "model", build_regions(config), config, side_scales={"face": 50.0, "region": 5.0})
    (face,) = Predictor(tmp_path, device="cpu").score(photo)
    assert face.right_side == face.row["right_side"]
    assert face.sides == {au: (face.row[f"{au}_right"], face.row[f"{au}_left"]) for au in AUS}


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"no image", "the photo is not an image that can be read; save it again as JPEG or PNG"),
        (b"", "the photo is not an image that can be read; save it again as JPEG or PNG"),
        (None, "the photo shows no face; give a photo of a face that looks at the camera"),
    ],
)
def test_bytes_that_cannot_be_scored_are_an_error_with_advice(lenient, landscape, data, sentence):
    with pytest.raises(ClipError) as error:
        lenient.score(landscape.read_bytes() if data is None else data)
    assert str(error.value) == sentence
