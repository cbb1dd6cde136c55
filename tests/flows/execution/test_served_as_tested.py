"""One recording is scored alike by `vitau score`, the registered model, the rescore flow and the evaluation."""

import io
import json
import tarfile
import warnings
from types import SimpleNamespace

import cv2
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from typer.testing import CliRunner

from flows.execution.clip_worker import ingest_claimed, local_source
from flows.execution.subject_worker import score_subject
from flows.promotion.evaluation import answer
from flows.studies.engines import usable
from vitau.asymmetry.fusion import FUSION as FUSION_ENTRY
from vitau.asymmetry.fusion import Blend, Fusion, fuse, read_fusion
from vitau.asymmetry.people import with_movement
from vitau.asymmetry.weights import load_weights
from vitau.cli import app
from vitau.data.dataset import load_crops
from vitau.data.parquet import read_table
from vitau.data.snapshot import freeze, snapshot_schema
from vitau.errors import ClipError
from vitau.evaluation.decision import DecisionRule, log_odds
from vitau.media.frames import FrameRecipe
from vitau.media.inputs import RecordingOptions
from vitau.media.manifests import SourceClip
from vitau.media.synthetic.cohort import draw_clip
from vitau.media.synthetic.people import draw_person
from vitau.models.checkpoint import load_model, save_model
from vitau.models.encoder import EncoderConfig
from vitau.models.generator import GeneratorConfig
from vitau.models.regions import RegionConfig, build_regions
from vitau.models.vit import ViTConfig, build_vit
from vitau.schema import AUS, Cohort
from vitau.scoring.predict import Predictor
from vitau.store import open_store
from vitau.training.run import shrunk
from vitau.training.tasks import predict

VIT = ViTConfig(input_size=32, patch_size=8, width=32, depth=2, heads=2, stem="conv")
GENERATOR = GeneratorConfig(size=32, style_dim=32, mapping_layers=2, channel_multiplier=1 / 32, max_channels=24)
ENCODER = EncoderConfig(
    input_size=64, units=(1, 1, 1, 1), widths=(8, 24, 48, 96), style_dim=32, num_styles=GENERATOR.num_styles
)
REGIONS = RegionConfig(encoder=ENCODER, generator=GENERATOR, heatmap_size=32, sigma=5.0, mode="sided")
FPS = 6
PLAIN, MIRRORED, RANGE = {"fps": FPS}, {"fps": FPS, "mirrored": True}, {"fps": FPS, "start_s": 0.5, "end_s": 2.0}
VALUES = ("palsy_score", *AUS, "right_side", *(f"{au}_{side}" for au in AUS for side in ("right", "left")))


@pytest.fixture(scope="module")
def images():
    """Frames of a drawn person; gate 1 rejects two of them: one is blurred, and one is so dark that it shows no face."""
    images = list(draw_clip(draw_person(5, 1), 2))
    images[3] = cv2.GaussianBlur(images[3], (0, 0), 12)
    images[6] = (images[6] * 0.12).astype(np.uint8)
    return images


@pytest.fixture(scope="module")
def clips(images, tmp_path_factory):
    """Image sequences: as recorded, and as a mirror image."""
    folder = tmp_path_factory.mktemp("clips")
    for name, turn in (("straight.tar", 1), ("mirror.tar", -1)):
        with tarfile.open(folder / name, "w") as archive:
            for number, image in enumerate(images):
                data = cv2.imencode(".png", cv2.cvtColor(np.ascontiguousarray(image[:, ::turn]), cv2.COLOR_RGB2BGR))[
                    1
                ].tobytes()
                entry = tarfile.TarInfo(f"{number:03}.png")
                entry.size = len(data)
                archive.addfile(entry, io.BytesIO(data))
    return folder


FUSION = Fusion(model=load_weights(), task=Blend(network=0.5, movement=0.2), side=Blend(network=0.5, movement=0.3)).to_json()


def write_model(folder, *, calibration, right=1.0, limits=None, **fusion):
    """Write a bundle with untrained weights; ``right`` scales the side, so that a seed's person has a right side."""
    torch.manual_seed(4)
    sides = {"face": 400.0 * right, "region": 5.0}
    save_model(folder / "model", build_regions(REGIONS), REGIONS, side_scales=sides, **fusion)
    band = {"low": 0.45, "high": 0.55, "error": 0.1, "palsied_people": 5, "other_people": 5}
    card = {"threshold": 0.5, "calibration": calibration, "abstention": band}
    card |= fusion | ({"frame_limits": limits} if limits else {})
    save_model(folder / "recognition", build_vit(VIT), VIT, **card)
    return folder


@pytest.fixture(scope="module")
def model(clips, tmp_path_factory):
    """A model that judges the person palsied, although some frames are below the threshold, and names the right side."""
    rough = Predictor(write_model(tmp_path_factory.mktemp("rough"), calibration={"scale": 1.0, "bias": 0.0}), device="cpu")
    faces = list(rough.score_clip(clips / "straight.tar", analyse_all=True))
    mean = float(log_odds([face.palsy_score for face in faces]).mean())
    right = 1.0 if np.mean([face.right_side for face in faces]) > 0.5 else -1.0
    calibration = {"scale": 4.0, "bias": -4.0 * mean + 0.0003}
    return write_model(tmp_path_factory.mktemp("model"), calibration=calibration, right=right)


def by_command(model, path, options, tmp_path):
    """Score with `vitau score`; return rows and the summary of the person."""
    words = ["score", str(model), str(path), "--out", str(tmp_path / "out"), "--json"]
    words += ["--mirrored"] if options.get("mirrored") else []
    for name, key in (("--start", "start_s"), ("--end", "end_s"), ("--fps", "fps")):
        words += [name, str(options[key])] if key in options else []
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    (person,) = json.loads((tmp_path / "out" / "people.json").read_text())
    return pq.read_table(tmp_path / "out" / "scores.parquet").to_pandas(), person


def by_registered_model(model, path, options, tmp_path):
    """Score with the code of the MLflow model."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # MLflow's, about its own type hints
        from vitau.scoring.pyfunc import FaceScorer
    scorer = FaceScorer()
    scorer.load_context(SimpleNamespace(artifacts={"bundle": str(model)}))
    rows = scorer.predict(None, pd.DataFrame([{"path": str(path), "mirrored": None, "start_s": np.nan} | options]))
    return rows, None


def ingested(path, options, tmp_path):
    """Ingest the clip as a row of a manifest; return the store and its usable frames."""
    store = open_store(str(tmp_path / "store"))
    source = SourceClip(row="row 2", subject_id="p", cohort=Cohort.PALSY, source="drawn", paths=(path,), **options)
    return store, usable(ingest_claimed(local_source(source, b"a key of this test"), store, FrameRecipe()))


def by_rescore(model, path, options, tmp_path):
    """Score as the rescore flow does, from the frames in the store."""
    store, frames = ingested(path, options, tmp_path)
    scored = score_subject(store, Predictor(model, device="cpu"), "d" * 64, frames)
    return read_table(store, scored.key).to_pandas(), scored.summary


def by_evaluation(model, path, options, tmp_path):
    """Score the crops of a snapshot as the evaluation and the training do."""
    store, frames = ingested(path, options, tmp_path)
    columns = {"source": "drawn", "cohort": "palsy", "split": "test", "side": "right", **dict.fromkeys(AUS, True)}
    rows = [row | columns for row in frames.to_pylist()]
    digest = freeze(pa.Table.from_pylist(rows, schema=snapshot_schema()), store, 1).digest
    crops = with_movement(load_crops(store, digest, tmp_path / "cache"))
    predictor = Predictor(model, device="cpu")
    answers = answer(predictor, crops)
    network, card = load_model(model / "recognition")
    rule = DecisionRule.from_card(card)
    raw = predict("palsy", network.eval(), shrunk(crops, VIT.input_size), VIT.input_size, torch.device("cpu"))
    trained = rule.calibrate(fuse(read_fusion(card), raw, crops.movement_NF))
    scores = predictor.score_crops(crops.pixels(slice(None)), analyse_all=True, movement_NF=crops.movement_NF)
    np.testing.assert_allclose(trained, scores.palsy_N, atol=1e-6, err_msg="training sees other pixels than scoring")
    rows = pd.DataFrame(scores.region_NA, columns=list(AUS)).assign(palsy_score=trained, right_side=scores.right_N)
    sides = scores.sided_NA2.reshape(len(rows), -1)
    for column, name in enumerate(f"{au}_{side}" for au in AUS for side in ("right", "left")):
        rows[name] = sides[:, column]
    regions = {str(au): {"score": float(score)} for au, score in zip(AUS, answers.region_SA[0], strict=True)}
    return rows, {"palsy_score": float(answers.palsy_S[0]), "regions": regions}


PATHS = (by_command, by_registered_model, by_rescore, by_evaluation)


@pytest.mark.parametrize(
    ("name", "options", "num_usable"),
    [("straight.tar", PLAIN, 12), ("mirror.tar", MIRRORED, 12), ("straight.tar", RANGE, 7)],
    ids=["plain", "mirrored", "range"],
)
def test_one_clip_has_the_same_scores_by_all_four_paths(model, clips, name, options, num_usable, tmp_path):
    found = []
    for path in PATHS:
        (tmp_path / path.__name__).mkdir()
        found.append(path(model, clips / name, options, tmp_path / path.__name__))
    tables = [table for table, _ in found]
    assert [len(table) for table in tables] == [num_usable] * 4, "blurred and dark frames are left out by every path"
    assert not tables[0][list(VALUES)].isna().any(axis=None), "all frames of a palsied person are analyzed"
    assert (tables[0]["palsy_score"] < 0.5).any(), "also those that are below the threshold"
    for table in tables[1:]:
        np.testing.assert_allclose(table[list(VALUES)].astype(float), tables[0][list(VALUES)].astype(float), atol=1e-6, rtol=0)
    assert tables[0]["right_side"].mean() > 0.5
    summaries = [summary for _, summary in found if summary is not None]
    for summary in summaries:
        assert summary["palsy_score"] == pytest.approx(summaries[0]["palsy_score"], abs=1e-4)
        for au in AUS:
            assert summary["regions"][au]["score"] == pytest.approx(summaries[0]["regions"][au]["score"], abs=1e-4)


@pytest.mark.parametrize(("name", "options"), [("straight.tar", PLAIN), ("mirror.tar", MIRRORED)], ids=["plain", "mirrored"])
def test_a_model_with_movement_has_the_same_scores_by_all_four_paths(clips, name, options, tmp_path):
    neutral, found = {"scale": 1.0, "bias": 0.0}, []
    fused = write_model(tmp_path / "fused", calibration=neutral | {"bias": 5.0}, **{FUSION_ENTRY: FUSION})
    alone = write_model(tmp_path / "alone", calibration=neutral | {"bias": 5.0})
    for path in PATHS:
        (tmp_path / path.__name__).mkdir()
        found.append(path(fused, clips / name, options, tmp_path / path.__name__)[0][list(VALUES)].astype(float))
    for table in found[1:]:
        np.testing.assert_allclose(table, found[0], atol=1e-5, rtol=0)
    (tmp_path / "network").mkdir()
    network = by_command(alone, clips / name, options, tmp_path / "network")[0]
    assert np.abs(network["palsy_score"] - found[0]["palsy_score"]).min() > 1e-4, "movement counts in every frame"


def test_a_mirrored_clip_names_the_side_of_the_person_and_not_of_the_picture(model, clips):
    predictor = Predictor(model, device="cpu")

    def right(name, **options):
        return np.array(
            [face.right_side for face in predictor.score(clips / name, options=RecordingOptions(fps=FPS, **options))]
        )

    straight, unmirrored, taken_as_is = right("straight.tar"), right("mirror.tar", mirrored=True), right("mirror.tar")
    assert straight.mean() > 0.5
    assert unmirrored.mean() > 0.5
    assert abs(unmirrored.mean() - straight.mean()) < abs(taken_as_is.mean() - straight.mean()) / 3


def test_the_limits_of_a_model_travel_in_its_card(model, clips, tmp_path):
    strict = write_model(tmp_path, calibration={"scale": 1.0, "bias": 0.0}, limits={"sharpness_min": 1e9})
    with pytest.raises(ClipError, match=r"shows 13 faces, but none within the limits .* \(13 blurred\)"):
        Predictor(strict, device="cpu").score(clips / "straight.tar")
