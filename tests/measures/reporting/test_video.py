import av
import numpy as np
import pytest

from vitau.measures.reporting.video import write_overlay
from vitau.media.clips import SampledFrame, probe


@pytest.fixture(scope="module")
def video(recording, tmp_path_factory):
    """The overlay of a gray recording: everything colored in it was drawn by us. Frame 3 shows no face."""
    from dataclasses import replace

    kept = np.arange(len(recording.series)) != 3
    series = replace(
        recording.series,
        frame_index=recording.series.frame_index[kept],
        time_s=recording.series.time_s[kept],
        task=tuple(task for task, keep in zip(recording.series.task, kept, strict=True) if keep),
        columns={name: values[kept] for name, values in recording.series.columns.items()},
        points=recording.series.points[kept],
        usable=recording.series.usable[kept],
    )
    gray = np.full((481, 641, 3), 128, dtype=np.uint8)
    frames = (SampledFrame(index=number, time_s=number / 10, image=gray) for number in range(35))
    path = tmp_path_factory.mktemp("video") / "d001.mp4"
    assert write_overlay(replace(recording, series=series), frames, path) == 35
    return path


@pytest.fixture(scope="module")
def pictures(video):
    with av.open(str(video)) as container:
        return [(float(frame.time), frame.to_ndarray(format="rgb24").astype(int)) for frame in container.decode(video=0)]


def test_the_video_is_h264_with_even_sides_and_the_times_of_the_recording(video, pictures):
    with av.open(str(video)) as container:
        assert container.streams.video[0].codec_context.name == "h264"
    found = probe(video)
    assert (found.width % 2, found.height % 2) == (0, 0)
    assert [time for time, _ in pictures] == pytest.approx([number / 10 for number in range(35)])


def colored(picture, color):
    red, _, blue = (picture[..., channel] for channel in range(3))
    return (red - blue > 70) if color == "orange" else (blue - red > 70)


def test_the_lines_of_each_side_are_drawn_on_that_side_of_the_face(pictures, recording):
    _, picture = pictures[20]
    face = picture[:480]
    middle = recording.series.points[20][33][0]
    for color, before in (("orange", True), ("blue", False)):
        columns = np.nonzero(colored(face, color))[1]
        assert len(columns) > 50
        assert ((columns < middle + 4) if before else (columns > middle - 4)).all(), color


def test_a_frame_without_a_face_has_no_lines_and_one_that_is_not_usable_has_none_either(pictures):
    for number in (3, 7):
        assert colored(pictures[number][1][:480], "orange").sum() == 0, number
    assert colored(pictures[8][1][:480], "orange").sum() > 50


def test_a_mirrored_recording_is_shown_as_others_see_the_person(recording, tmp_path):
    from dataclasses import replace

    image = np.zeros((480, 640, 3), dtype=np.uint8)
    image[:, :40] = 255
    path = tmp_path / "mirrored.mp4"
    series = replace(recording.series, mirrored=True)
    write_overlay(replace(recording, series=series), [SampledFrame(index=0, time_s=0.0, image=image)], path)
    with av.open(str(path)) as container:
        (frame,) = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert frame[200:300, -30:].mean() > 200
    assert frame[200:300, :30].mean() < 50
