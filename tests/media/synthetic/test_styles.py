"""Every style shows the same people: geometry and truth do not change, the pixels do, and dlib finds the faces."""

import json
from dataclasses import replace
from typing import Final

import numpy as np
import pytest
from typer.testing import CliRunner

from vitau.cli import app
from vitau.media import faces
from vitau.media.synthetic.cohort import write_cohort
from vitau.media.synthetic.drawing import draw_crop, draw_frame
from vitau.media.synthetic.people import TASKS, draw_person
from vitau.media.synthetic.values import OUT_OF_STYLE, Style
from vitau.schema import AU, AUS
from vitau.training.pretraining.draw_worker import DrawnPeople, draw_chunk

AT: Final = {AU.AU1: 22, AU.AU2: 25, AU.AU4: 24, AU.AU6: 46, AU.AU9: 35, AU.AU12: 54, AU.AU25: 52, AU.AU26: 10}
"""A landmark of the person's left side in each region."""
GRAY: Final = [
    [74.6, 74.2, 73.9, 73.6, 72.2, 71.2, 70.9, 72.2],
    [74.6, 74.3, 74.0, 111.3, 126.9, 74.1, 72.7, 72.7],
    [75.0, 74.8, 74.1, 69.4, 67.4, 69.9, 72.8, 72.7],
    [76.2, 75.6, 74.6, 61.9, 54.8, 70.0, 73.0, 72.7],
    [76.2, 75.5, 74.7, 70.8, 56.4, 83.2, 73.3, 74.5],
    [75.5, 75.3, 74.6, 116.1, 126.7, 120.4, 73.9, 86.2],
]
"""Mean gray level of each block of 40 × 40 px of a frame as drawn before there were styles."""


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


def test_a_frame_of_the_default_style_is_that_of_before():
    image = draw_frame(draw_person(77, 2), "smile", 0.9, np.random.default_rng([1, 2]), (320, 240)).image
    assert image.mean(2).reshape(6, 40, 8, 40).mean((1, 3)) == pytest.approx(np.array(GRAY), abs=0.2)


@pytest.mark.parametrize("style", OUT_OF_STYLE)
def test_a_style_draws_the_same_image_again(style):
    assert np.array_equal(frame(style).image, frame(style).image)


@pytest.mark.parametrize("style", OUT_OF_STYLE)
@pytest.mark.parametrize("au", AUS)
def test_an_affected_region_shows_at_its_place_and_on_its_side_in_every_style(au, style):
    seen, shares = [], []
    for index in (0, 2):
        person = draw_person(21, index, palsied=False)
        weak = np.zeros((len(AUS), 2))
        weak[AUS.index(au), 1] = 0.9
        plain, changed = (
            draw_frame(one, "rest", 0.0, np.random.default_rng(5), (320, 240), style=style)
            for one in (person, replace(person, weak=weak))
        )
        change = np.abs(changed.image.astype(int) - plain.image).sum(axis=2)
        change = np.where(change > 45, change, 0)  # the noise of a film is less
        x, y = plain.landmarks[AT[au]].round().astype(int)
        seen.append(change[y - 12 : y + 13, x - 12 : x + 13].max())
        left = np.arange(change.shape[1]) > plain.landmarks[27:31, 0].mean() - 3
        shares.append(change[:, left].sum() / max(change.sum(), 1))
    assert np.median(seen) > 60  # of 765, which is clearly visible
    assert np.median(shares) > 0.55


def test_a_sketch_has_lines_at_brows_lids_nostrils_lips_and_jaw():
    drawn = draw_frame(draw_person(77, 2), "rest", 0.0, np.random.default_rng(1), style=Style.SKETCHED)
    gray = drawn.image.mean(axis=2)
    for point in (19, 24, 37, 44, 32, 34, 48, 54, 62, 57, 4, 8, 12):
        x, y = drawn.landmarks[point].round().astype(int)
        assert gray[y - 5 : y + 6, x - 5 : x + 6].min() < 0.6 * np.median(gray), point


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
