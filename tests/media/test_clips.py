"""Sampling by timestamps, image sequences, photos, and files that are no recordings."""

import io
import struct
import tarfile
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from tests.media.conftest import WriteVideo, numbered
from vitau.errors import ClipError
from vitau.media.clips import DecodeCounts, Encoding, Probe, probe, read_encoding, sample_frames


def numbers(path: Path, **kwargs: float) -> list[int]:
    """Return the numbers of the sampled frames."""
    return [round(float(frame.image.mean()) / 4) for frame in sample_frames(path, **kwargs)]


def times(path: Path, **kwargs: float) -> list[float]:
    return [frame.time_s for frame in sample_frames(path, **kwargs)]


def write_tar(path: Path, images: Sequence[np.ndarray | bytes], name: str = "{}.png") -> Path:
    with tarfile.open(path, "w") as archive:
        for index, image in reversed(list(enumerate(images))):
            data = image if isinstance(image, bytes) else cv2.imencode(".png", image)[1].tobytes()
            member = tarfile.TarInfo(name.format(index))
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def faststart(path: Path) -> Path:
    """Rewrite the packets with the index first, so that a truncated file has a readable beginning."""
    out = path.with_name("faststart.mp4")
    with av.open(str(path)) as source, av.open(str(out), "w", options={"movflags": "faststart"}) as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    return out


def test_six_frames_are_taken_of_every_second(write_video: WriteVideo) -> None:
    path = write_video(numbered(60))
    assert numbers(path) == list(range(0, 60, 5))
    np.testing.assert_allclose(times(path), np.arange(12) / 6, atol=1e-3)
    assert [frame.index for frame in sample_frames(path)] == list(range(12))


def test_another_rate_samples_that_many_frames_per_second(write_video: WriteVideo) -> None:
    assert numbers(write_video(numbered(60)), rate_fps=2) == [0, 15, 30, 45]


def test_a_clip_slower_than_the_rate_gives_each_frame_once(write_video: WriteVideo) -> None:
    assert numbers(write_video(numbered(8), fps=4)) == list(range(8))


def test_a_sampled_frame_is_numbered_among_all_frames(write_video: WriteVideo) -> None:
    frames = list(sample_frames(write_video(numbered(60)), rate_fps=5))
    assert len(frames) > 5
    assert [round(float(frame.image.mean()) / 4) for frame in frames] == [frame.number for frame in frames]
    assert frames[2].index == 2 < frames[2].number


def test_frames_are_sampled_by_their_timestamps_when_the_frame_rate_varies(write_video: WriteVideo) -> None:
    clock = [0.0, 0.05, 0.1, 0.2, 0.21, 0.6, 0.65, 0.7, 0.71, 0.9]
    path = write_video(numbered(10), times_s=clock)
    assert numbers(path) == [0, 3, 5, 7, 9]
    np.testing.assert_allclose(times(path), [0.0, 0.2, 0.6, 0.7, 0.9], atol=1e-3)


def test_a_clip_whose_timestamps_start_late_starts_at_zero(write_video: WriteVideo) -> None:
    path = write_video(numbered(30), times_s=[5 + index / 30 for index in range(30)], name="late.mkv")
    assert times(path)[0] == 0.0
    assert numbers(path) == [0, 5, 10, 15, 20, 25]


def test_a_time_range_includes_its_start_and_excludes_its_end(write_video: WriteVideo) -> None:
    assert numbers(write_video(numbered(60)), start_s=0.5, end_s=1.0) == [15, 20, 25]


def test_a_late_range_gives_the_same_frames_as_decoding_everything(write_video: WriteVideo) -> None:
    path = write_video([np.full((48, 64, 3), index, np.uint8) for index in range(150)], fps=10)
    everything = {frame.time_s: frame.image.mean() for frame in sample_frames(path, rate_fps=10)}
    counts = DecodeCounts()
    late = list(sample_frames(path, rate_fps=10, start_s=12.0, end_s=13.0, counts=counts))
    assert [frame.time_s for frame in late] == [time_s for time_s in everything if 12 <= time_s < 13]
    assert [frame.image.mean() for frame in late] == [everything[frame.time_s] for frame in late]
    assert counts.num_frames < 40  # decoding did not begin at the start


def test_a_phone_clip_is_rotated_upright(write_video: WriteVideo) -> None:
    image = np.zeros((48, 64, 3), np.uint8)
    image[:, :16] = 255  # the left edge of the sensor is the top of the image
    path = write_video([image] * 3)
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    data[at : at + 36] = struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, 48 << 16, 0, 1 << 30)
    path.write_bytes(data)
    frame = next(sample_frames(path))
    assert frame.image.shape == (64, 48, 3)
    assert frame.image[:12].mean() > 200
    assert frame.image[20:].mean() < 50


def test_a_frame_has_the_colors_that_ffmpeg_converts(write_video: WriteVideo) -> None:
    path = write_video([np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)] * 2)
    with av.open(str(path)) as container:
        expected = next(container.decode(video=0)).to_ndarray(format="rgb24")
    assert (next(sample_frames(path)).image == expected).all()


def test_frames_are_decoded_one_by_one(write_video: WriteVideo) -> None:
    counts = DecodeCounts()
    list(islice(sample_frames(write_video(numbered(60)), counts=counts), 2))
    assert counts.num_frames < 30


def test_images_of_a_sequence_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "sequence.tar", numbered(12))
    assert numbers(path) == list(range(12))
    assert numbers(path, fps=30.0) == [0, 5, 10]
    np.testing.assert_allclose(times(path, fps=30.0), [0, 5 / 30, 10 / 30], atol=1e-6)


def test_a_broken_image_of_a_sequence_is_counted_and_the_rest_kept(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "sequence.tar", [*numbered(2), b"nothing", *numbered(1)])
    counts = DecodeCounts()
    assert len(list(sample_frames(path, counts=counts))) == 3
    assert counts == DecodeCounts(num_frames=3, num_damaged=1)


def test_a_grayscale_photo_is_one_rgb_frame(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "photo.png"), np.full((40, 50), 77, np.uint8))
    counts = DecodeCounts()
    (frame,) = sample_frames(tmp_path / "photo.png", start_s=3.0, counts=counts)
    assert counts == DecodeCounts(num_frames=1)
    assert frame.image.shape == (40, 50, 3)
    assert (frame.image == 77).all()
    assert frame.time_s == 0.0


def test_channels_are_red_green_blue(tmp_path: Path, write_video: WriteVideo) -> None:
    red = np.full((48, 64, 3), (220, 30, 30), np.uint8)
    cv2.imwrite(str(tmp_path / "photo.png"), red[..., ::-1])
    for path in (tmp_path / "photo.png", write_video([red])):
        np.testing.assert_allclose(next(sample_frames(path)).image[20, 20], (220, 30, 30), atol=8)


def test_a_probe_returns_kind_and_size(tmp_path: Path, write_video: WriteVideo) -> None:
    cv2.imwrite(str(tmp_path / "photo.png"), np.zeros((40, 50, 3), np.uint8))
    video = probe(write_video(numbered(60)))
    assert (video.kind, video.width, video.height) == ("video", 64, 48)
    assert video.duration_s == pytest.approx(2.0, abs=0.1)
    assert probe(tmp_path / "photo.png") == Probe(kind="photo", width=50, height=40)
    assert probe(write_tar(tmp_path / "s.tar", numbered(2))) == Probe(kind="sequence", width=64, height=48)


def test_the_encoding_of_a_recording_is_read_from_its_header(tmp_path: Path, write_video: WriteVideo) -> None:
    assert read_encoding(write_video(numbered(30), fps=25)) == Encoding(codec="h264", frame_rate=25.0)
    cv2.imwrite(str(tmp_path / "photo.jpg"), np.zeros((40, 50, 3), np.uint8))
    assert read_encoding(tmp_path / "photo.jpg") == Encoding(codec="jpg")
    (tmp_path / "photo.jpg").rename(tmp_path / "photo.png")
    assert read_encoding(tmp_path / "photo.png") == Encoding(codec="jpg"), "a suffix is only a name"
    assert read_encoding(write_tar(tmp_path / "s.tar", numbered(2)), 30.0) == Encoding(codec="png", frame_rate=30.0)


def test_a_recording_that_cannot_be_read_has_no_encoding(tmp_path: Path) -> None:
    for name in ("broken.mp4", "broken.tar", "broken.png"):
        (tmp_path / name).write_bytes(b"no recording")
        assert read_encoding(tmp_path / name) == Encoding()
    assert read_encoding(tmp_path / "missing.mp4") == Encoding()


def test_a_truncated_clip_gives_its_readable_frames_and_is_reported(write_video: WriteVideo) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (90, 48, 64, 3)).astype(np.uint8)
    path = faststart(write_video(list(noise)))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 2 // 5])
    counts = DecodeCounts()
    frames = list(sample_frames(path, counts=counts))
    assert 3 <= len(frames) <= 12
    assert counts.num_damaged > 0 or counts.truncated
    assert counts.num_frames < 60


def audio_only(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.rate, frame.pts = 16000, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode())


def without_index(path: Path) -> None:
    data = path.with_name("whole.mp4").read_bytes()
    path.write_bytes(data[: data.index(b"moov") - 4])


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        ("gone.mp4", lambda _: None, "the recording is missing; check its path"),
        ("empty.mp4", lambda path: path.touch(), "the recording is empty (0 bytes); copy it again"),
        (
            "text.mp4",
            lambda path: path.write_text("this is no video " * 99),
            "the recording is not a video; give a video, a photo or a tar of images",
        ),
        (
            "notes.txt",
            lambda path: path.write_text("FFmpeg would play this " * 99),
            "the recording is not a video; give a video, a photo or a tar of images",
        ),
        (
            "cut.mp4",
            without_index,
            "the recording is truncated: its index (moov atom) is missing; copy or download it again",
        ),
        ("sound.mp4", audio_only, "the recording has no video stream; give a recording with a picture"),
        (
            "photo.jpg",
            lambda path: path.write_bytes(b"no"),
            "the photo is not an image that can be read; save it again as JPEG or PNG",
        ),
        (
            "images.tar",
            lambda path: path.write_bytes(b"no tar" * 200),
            "the recording is not an uncompressed tar of images; pack the images again",
        ),
        (
            "none.tar",
            lambda path: write_tar(path, [b"x"], "readme{}.txt"),
            "the recording gives no frame from 0 s to its end; give a complete recording and a range inside it",
        ),
    ],
)
def test_a_file_that_cannot_be_decoded_is_refused_in_one_sentence(
    tmp_path: Path, write_video: WriteVideo, name: str, make: object, message: str
) -> None:
    write_video(numbered(30), name="whole.mp4")
    path = tmp_path / name
    make(path)
    with pytest.raises(ClipError) as refused:
        list(sample_frames(path))
    assert str(refused.value) == message


def test_a_range_after_the_end_is_refused(write_video: WriteVideo) -> None:
    with pytest.raises(ClipError, match=r"gives no frame from 50 s to 60 s; give a complete recording and a range inside it"):
        list(sample_frames(write_video(numbered(30)), start_s=50, end_s=60))


def test_a_rate_of_zero_is_a_bad_argument(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="rate_fps is 0; give a positive number"):
        list(sample_frames(tmp_path / "any.mp4", rate_fps=0))
