import json

import av
import numpy as np
import pytest
from typer.testing import CliRunner

from vitau.cli import app
from vitau.measures.reporting.check import check_clip, lines
from vitau.measures.results import Task
from vitau.media.inputs import RecordingOptions
from vitau.media.synthetic.drawing import draw_frame
from vitau.media.synthetic.people import draw_person

EFFORTS = (0.0, 0.0, 0.6, 1.0, 1.0, 1.0, 0.6, 0.0)
TASKS = ("rest", "brow_raise", "eye_closure", "smile")


def write_video(path, images, rate=30, every=5):
    """Write pictures as a video in which each stands for ``every`` frames."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "16", "preset": "ultrafast", "threads": "1"})
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for image in images:
            for _ in range(every):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path


PERSON = draw_person(11, 2, palsied=False)


def shaded(image, share):
    """Darken what is to the right of the nose in the picture."""
    nose = draw_frame(PERSON, "rest", 0.0).landmarks[30, 0]
    return (image * np.where(np.arange(image.shape[1]) > nose, share, 1.0)[None, :, None]).astype(np.uint8)


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(5)
    return [draw_frame(PERSON, task, effort, rng).image for task in TASKS for effort in EFFORTS]


@pytest.fixture(scope="module")
def clip(images, tmp_path_factory):
    return write_video(tmp_path_factory.mktemp("clips") / "good.mp4", images)


def checked(path, **options):
    found = check_clip(path, RecordingOptions(**options))
    return found, {aspect.name: aspect.good for aspect in found.aspects}


def test_a_good_recording_is_good_in_every_aspect_and_its_exercises_are_named(clip):
    found, good = checked(clip)
    assert found.good, lines(found)
    assert set(good) == {"face", "size", "frontal", "light", "even light", "sharpness", "one person", "frame rate"}
    assert {Task.REST, Task.BROW_RAISE, Task.SMILE} <= set(found.exercises)
    assert {Task.LOWER_TEETH, Task.LIP_PUCKER} <= set(found.missing)
    assert found.lasts_s == pytest.approx(32 * 5 / 30, abs=0.3)


@pytest.mark.parametrize(
    ("poor", "change"),
    [
        ("light", lambda image: (image * 0.12).astype(np.uint8)),
        ("even light", lambda image: shaded(image, 0.3)),
        ("size", lambda image: np.pad(image[::2, ::2], ((120, 120), (160, 160), (0, 0)), mode="edge")),
        ("one person", lambda image: np.concatenate([image, image], axis=1)),
        ("face", lambda image: np.full_like(image, 120)),
    ],
)
def test_what_is_poor_is_named_with_what_to_do(tmp_path, images, poor, change):
    found, good = checked(write_video(tmp_path / "poor.mp4", [change(image) for image in images[:6]]))
    assert not good[poor]
    assert not found.good
    advice = next(aspect.advice for aspect in found.aspects if aspect.name == poor)
    assert any(line.startswith(f"{poor}\tPOOR\t") and line.endswith(f": {advice}") for line in lines(found))


def test_a_slow_recording_is_poor(tmp_path, images):
    _, good = checked(write_video(tmp_path / "slow.mp4", images[:6], rate=6, every=1))
    assert not good["frame rate"]


def test_the_side_to_be_lit_is_the_persons_own_also_in_a_mirror_image(tmp_path, images):
    def advice(path, **options):
        found, _ = checked(path, **options)
        return next(aspect.advice for aspect in found.aspects if aspect.name == "even light")

    path = write_video(tmp_path / "shaded.mp4", [shaded(image, 0.3) for image in images[:6]])
    assert "the person's left side" in advice(path), "the right of the picture is dark"
    assert "the person's right side" in advice(path, mirrored=True)


def test_the_command_prints_the_check_of_a_recording_and_fails_if_it_is_poor(clip, tmp_path, images):
    ran = CliRunner().invoke(app, ["check", str(clip), "--json"])
    assert ran.exit_code == 0
    assert json.loads(ran.stdout)["good"] is True
    dark = write_video(tmp_path / "dark.mp4", [(image * 0.12).astype(np.uint8) for image in images[:6]])
    ran = CliRunner().invoke(app, ["check", str(dark)])
    assert ran.exit_code == 1
    assert "light\tPOOR\tbrightness" in ran.stdout
