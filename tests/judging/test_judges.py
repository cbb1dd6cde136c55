"""Verdicts are those of what is served: photos show no movement, files are judged one by one, and false alarms are counted."""

import csv
import stat

import cv2
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from vitau.asymmetry.clips import measure_clips
from vitau.asymmetry.weights import load_weights
from vitau.cli import app
from vitau.errors import ClipError
from vitau.judging.healthy import CheckedFace, HealthyCheck, check_healthy, lines, summary, write_check
from vitau.judging.judges import NO_MOVEMENT, AsymmetryJudge, ModelJudge, MovementJudge, Outcome, Verdict
from vitau.measures.landmarks.choice import open_backend
from vitau.measures.results import PersonResult
from vitau.measures.run import measure_source
from vitau.measures.sources import Part, Source
from vitau.media.inputs import RecordingOptions
from vitau.media.synthetic.cohort import encode_clip
from vitau.media.synthetic.drawing import draw_frame
from vitau.media.synthetic.people import TASKS, draw_person
from vitau.models.checkpoint import save_model
from vitau.models.vit import ViTConfig, build_vit
from vitau.schema import Side

VIT = ViTConfig(input_size=32, patch_size=8, width=32, depth=1, heads=2, stem="conv")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Create a folder with a photo of a face, one without, and a file that is no image."""
    folder = tmp_path_factory.mktemp("healthy")
    image = draw_frame(draw_person(5, 2, palsied=False), "rest", 0.0, size=(320, 240)).image
    cv2.imwrite(str(folder / "face.png"), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    cv2.imwrite(str(folder / "hills.png"), np.tile(np.linspace(0, 255, 240, dtype=np.uint8)[:, None, None], (1, 320, 3)))
    (folder / "broken.jpg").write_bytes(b"no image")
    (folder / "notes.txt").write_text("neither photo nor clip")
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Write a recognition model that sees a palsy in every face."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("models") / "eager"
    save_model(folder / "model", build_vit(VIT), VIT, threshold=0.001, synthetic=True, recipe="tiny", protocol="subjects")
    return folder


def test_the_movement_judge_gives_a_clip_the_score_of_vitau_measure(tmp_path):
    path, backend = tmp_path / "clip.mp4", open_backend("dlib")
    images = [draw_frame(draw_person(5, 1), task, 1.0, size=(320, 240)).image for task in TASKS[:5]]
    encode_clip(path, images, 6, size=(320, 240))
    (verdict,) = MovementJudge(backend).judge(path)
    source = Source(item="clip", parts=(Part(path=path, options=RecordingOptions()),))
    (measured,) = measure_source(source, backend)
    assert (verdict.face, verdict.score) == (1, measured.person.asymmetry)
    assert (verdict.side, verdict.side_probability) == (measured.person.side, measured.person.side_probability)
    assert verdict.outcome is MovementJudge(backend).decide(measured.person)


def test_the_judge_of_the_halves_answers_as_its_program_does_and_names_what_it_cannot_judge(tmp_path):
    path, short = tmp_path / "clip.mp4", tmp_path / "short.mp4"
    images = [draw_frame(draw_person(5, 1), task, 1.0).image for task in TASKS[:5]]
    encode_clip(path, images, 6)
    encode_clip(short, images[:3], 6)
    judge = AsymmetryJudge()
    (verdict,) = judge.judge(path)
    answers = load_weights().answer(measure_clips([path])[None])
    assert verdict.score == answers.palsy_P[0]
    assert verdict.side == ("right" if answers.right_P[0] >= 0.5 else "left")
    assert verdict.outcome is (Outcome.ALARM if answers.palsy_P[0] >= 0.5 else Outcome.NO_ALARM)
    assert [score > 0 for score in verdict.regions.values()] == (answers.affected_PA[0] > 0.5).tolist()
    (too_short,) = judge.judge(short)
    assert too_short.outcome is Outcome.ABSTAINED
    assert "movement needs 4" in too_short.reason


@pytest.mark.parametrize(
    ("asymmetry", "probability", "outcome"),
    [
        (0.12, 0.99, Outcome.NO_ALARM),
        (0.13, 0.90, Outcome.ALARM),
        (0.40, 0.89, Outcome.UNCERTAIN),
        (None, None, Outcome.ABSTAINED),
    ],
)
def test_movement_is_an_alarm_if_it_is_asymmetric_and_its_measures_agree_about_the_side(asymmetry, probability, outcome):
    side = None if asymmetry is None else Side.LEFT
    person = PersonResult(asymmetry=asymmetry, side=side, side_probability=probability)
    assert MovementJudge(open_backend("dlib")).decide(person) is outcome


def test_movement_abstains_from_photos_and_names_what_it_cannot_judge(folder):
    judge = MovementJudge(open_backend("dlib"))
    assert judge.judge(folder / "face.png") == [Verdict(face=1, outcome=Outcome.ABSTAINED, reason=NO_MOVEMENT)]
    assert judge.judge(folder / "hills.png") == [Verdict(face=0, outcome=Outcome.NO_FACE)]
    (broken,) = judge.judge(folder / "broken.jpg")
    assert broken.outcome is Outcome.SKIPPED
    assert broken.reason


def test_check_healthy_judges_file_by_file_with_the_model_too_and_fails_on_a_false_alarm(folder, model, tmp_path):
    table = tmp_path / "out" / "healthy.csv"
    arguments = ["check-healthy", str(folder / "face.png"), str(folder / "hills.png"), "--model", str(model)]
    result = CliRunner().invoke(app, [*arguments, "--out", str(table)])
    assert result.exit_code == 1, result.output
    with table.open(newline="", encoding="utf-8") as file:
        rows = [(row["file"], row["face"], row["judge"], row["outcome"]) for row in csv.DictReader(file)]
    assert rows == [
        ("face.png", "1", "movement", "abstained"),
        ("face.png", "1", "asymmetry", "abstained"),
        ("face.png", "1", "eager", "alarm"),
        ("hills.png", "0", "movement", "no face"),
        ("hills.png", "0", "asymmetry", "no face"),
        ("hills.png", "0", "eager", "no face"),
    ]
    assert stat.S_IMODE(table.stat().st_mode) == 0o600
    assert "eager: 1 false alarm among 1 judged faces; not judged: 1 no face" in result.output
    assert CliRunner().invoke(app, [*arguments[:2], *arguments[3:], "--allow", "1"]).exit_code == 0


def test_an_unreadable_file_is_listed_and_fails_the_check_even_if_all_alarms_are_allowed(folder, model):
    result = CliRunner().invoke(app, ["check-healthy", str(folder), "--model", str(model), "--allow", "1"])
    assert result.exit_code == 1
    assert "broken.jpg\tmovement\tskipped\t" in result.output
    assert "movement: 0 false alarms among 0 judged faces; not judged: 1 abstained, 1 no face, 1 skipped" in result.output
    assert "Ignored 1 files" in result.output


def test_a_face_of_a_photo_outside_the_limits_of_the_model_is_listed(model, tmp_path):
    image = draw_frame(draw_person(5, 2, palsied=False), "rest", 0.0).image
    blurred = cv2.GaussianBlur(image, (0, 0), 5)
    cv2.imwrite(str(tmp_path / "two.png"), cv2.cvtColor(np.hstack([image, blurred]), cv2.COLOR_RGB2BGR))
    verdicts = ModelJudge(model, "eager").judge(tmp_path / "two.png")
    assert [verdict.face for verdict in verdicts] == [1, 2]
    assert {verdict.outcome for verdict in verdicts} == {Outcome.ALARM, Outcome.ABSTAINED}


def test_a_check_in_which_no_face_was_judged_is_not_passed(folder):
    assert CliRunner().invoke(app, ["check-healthy", str(folder / "hills.png")]).exit_code == 1


def test_a_folder_without_photos_and_clips_is_named(tmp_path):
    with pytest.raises(ClipError, match="contains neither photos nor clips; give a folder of healthy faces"):
        check_healthy([tmp_path], [])


def test_verdicts_are_counted_by_judge_and_no_cell_is_a_formula(tmp_path):
    verdicts = [
        Verdict(face=1, outcome=Outcome.ALARM, score=0.31, side="left", side_probability=0.97),
        Verdict(face=2, outcome=Outcome.UNCERTAIN, score=0.2),
        Verdict(face=1, outcome=Outcome.NO_ALARM, score=0.05),
    ]
    names = ("=cmd.mp4", "=cmd.mp4", "b.mp4")
    faces = [
        CheckedFace(file=name, kind="clip", judge="movement", threshold=0.13, verdict=verdict)
        for name, verdict in zip(names, verdicts, strict=True)
    ]
    checked = HealthyCheck(faces=tuple(faces), num_ignored=0)
    assert list(summary(checked, [MovementJudge(open_backend("dlib"))])) == [
        "movement: 1 false alarm among 3 judged faces, 1 uncertain"
    ]
    assert next(lines(checked)) == "=cmd.mp4\tmovement\talarm\t0.31 (alarm from 0.13)\tside: left, 97%"
    write_check(checked, tmp_path / "healthy.csv")
    assert "\n'=cmd.mp4,clip,1," in (tmp_path / "healthy.csv").read_text()
