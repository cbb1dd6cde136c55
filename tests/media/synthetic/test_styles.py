"""Every style shows the same people: geometry and truth do not change, the pixels do, and dlib finds the faces."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from vitau.cli import app
from vitau.media import faces
from vitau.media.synthetic.cohort import write_cohort
from vitau.media.synthetic.drawing import draw_crop, draw_frame
from vitau.media.synthetic.people import TASKS, draw_person
from vitau.media.synthetic.values import OUT_OF_STYLE, Style
from vitau.training.pretraining.draw_worker import DrawnPeople, draw_chunk


def frame(style, index=2, task="smile", **options):
    return draw_frame(draw_person(77, index, **options), task, 0.9, np.random.default_rng([1, index]), (320, 240), style=style)


def test_landmarks_are_the_same_in_every_style_and_pixels_are_not():
    drawn = {style: frame(style) for style in Style}
    for style in OUT_OF_STYLE:
        assert np.array_equal(drawn[style].landmarks, drawn[Style.PAINTED].landmarks)
        assert np.abs(drawn[style].image.astype(int) - drawn[Style.PAINTED].image).mean() > 15
    assert np.abs(drawn[Style.FILMED].image.astype(int) - drawn[Style.SKETCHED].image).mean() > 15


def test_the_default_style_and_the_people_for_pretraining_are_painted():
    person, rng = draw_person(78, 3), np.random.default_rng
    assert np.array_equal(
        draw_crop(person, "snarl", 0.8, rng(1), 64).image,
        draw_crop(person, "snarl", 0.8, rng(1), 64, style=Style.PAINTED).image,
    )
    drawn = draw_chunk(DrawnPeople(num_people=1, frames_per_person=1, size=64), range(1))["pixels"][0]
    assert len(np.unique(drawn.reshape(-1, 3), axis=0)) > 400  # colors: nothing is sketched


@pytest.mark.parametrize("style", OUT_OF_STYLE)
def test_a_style_draws_the_same_image_again(style):
    assert np.array_equal(frame(style).image, frame(style).image)


@pytest.mark.parametrize("style", OUT_OF_STYLE)
def test_a_palsy_shows_in_every_style_and_on_its_side(style):
    index = next(index for index in range(50) if draw_person(77, index, palsied=True).severity > 0.85)
    palsied = draw_person(77, index, palsied=True)
    with_palsy, without = (frame(style, index, palsied=is_palsied) for is_palsied in (True, False))
    change = np.abs(with_palsy.image.astype(int) - without.image).sum(axis=2)
    change = np.where(change > 60, change, 0)
    middle = without.landmarks[27:31, 0].mean()
    left_half = np.arange(change.shape[1]) > middle
    own, other = (left_half, ~left_half) if palsied.side == "left" else (~left_half, left_half)
    assert change[:, own].sum() > 1.2 * change[:, other].sum()


def test_a_sketch_has_the_gray_of_pencil_and_a_film_has_colors():
    sketched, filmed = (frame(style).image.astype(int) for style in OUT_OF_STYLE[::-1])
    spread = [np.median(np.ptp(image[80:160, 120:200], axis=2)) for image in (sketched, filmed)]
    assert spread[0] < 40
    assert spread[1] > spread[0]


@pytest.mark.parametrize("style", OUT_OF_STYLE)
def test_dlib_finds_the_faces_of_every_style(style):
    found = []
    for index in range(6):
        drawing = draw_frame(draw_person(41, index), TASKS[index % 7], 1.0, np.random.default_rng(index), style=style)
        nose = drawing.landmarks[30]
        boxes = [face.box for face in faces.detect(drawing.image)]
        found.append(any(x < nose[0] < x + w and y < nose[1] < y + h for x, y, w, h in boxes))
    assert all(found)


def test_a_cohort_of_another_style_has_the_same_truth_and_is_not_mixed(tmp_path):
    for style in (Style.PAINTED, Style.SKETCHED):
        write_cohort(tmp_path / style, 1, 8, frames_per_task=1, style=style, num_processes=1)
    truths = [(tmp_path / style / "truth.csv").read_text() for style in (Style.PAINTED, Style.SKETCHED)]
    assert truths[0] == truths[1]
    assert "style" not in json.loads((tmp_path / "painted" / "cohort.json").read_text())
    with pytest.raises(ValueError, match="holds people drawn with"):
        write_cohort(tmp_path / "sketched", 1, 8, frames_per_task=1, num_processes=1)


def test_synth_names_the_styles_that_there_are(tmp_path):
    result = CliRunner().invoke(app, ["synth", str(tmp_path / "out"), "--style", "oil"])
    assert str(result.exception) == "there is no style 'oil'; give one of painted, filmed, sketched"
    assert not (tmp_path / "out").exists()
