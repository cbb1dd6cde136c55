"""Ranges of recordings: the stored file has the frames of the range, bit by bit, and nothing else of the recording."""

import io
import tarfile
from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from tests.media.conftest import WriteVideo, full_disk, numbered
from vitau.errors import ClipError
from vitau.media import ranges
from vitau.media.clips import sample_frames
from vitau.media.ranges import cut_range, range_suffix
from vitau.media.sandbox import Limits, run_isolated

RATES_FPS = (6.0, 7.3, 30.0)
SECRET = "Ada Lovelace"
CAPTION = b"\x94\x20\xc1\xe4\xe1"


def textured(num: int, width: int = 64, height: int = 48) -> list[np.ndarray]:
    """Return colored pictures with detail in every direction, each moved a little."""
    rng = np.random.default_rng(1)
    coarse = rng.integers(0, 256, (height // 6, width // 6, 3), dtype=np.uint8)
    picture = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return [np.roll(picture, 2 * index, axis=1) for index in range(num)]


def write(
    path: Path,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    *,
    images: Sequence[np.ndarray] | None = None,
    times_s: Sequence[float] | None = None,
    time_base: Fraction | None = Fraction(1, 1000),
    rotation: int = 0,
    aspect: Fraction | None = None,
    tags: dict[str, str] | None = None,
) -> Path:
    images = textured(60) if images is None else images
    with av.open(str(path), "w") as container:
        container.metadata.update(tags or {})
        stream = container.add_stream(codec, rate=30)
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = pix_fmt
        if time_base is not None:
            stream.time_base = stream.codec_context.time_base = time_base
        if rotation:
            stream.set_display_rotation(rotation)
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        sound = container.add_stream("aac", rate=8000) if tags else None
        for index, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=pix_fmt)
            frame.time_base = time_base or Fraction(1, 30)
            frame.pts = round((times_s[index] if times_s is not None else index / 30) / frame.time_base)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if sound is not None:
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), format="fltp", layout="mono")
            silence.sample_rate = 8000
            container.mux(sound.encode(silence))
            container.mux(sound.encode())
    return path


def write_jpegs(path: Path, images: Sequence[np.ndarray], ticks: Sequence[int], time_base: Fraction) -> Path:
    """Write a video whose packets are JPEG images, of any size and at any time."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=30)
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt, stream.time_base = "yuvj420p", time_base
        for image, tick in zip(images, ticks, strict=True):
            packet = av.Packet(cv2.imencode(".jpg", image)[1].tobytes())
            packet.pts = packet.dts = tick
            packet.time_base, packet.stream, packet.is_keyframe = time_base, stream, True
            container.mux(packet)
    return path


def cut(path: Path, start_s: float | None, end_s: float | None, fps: float = 6.0) -> Path:
    out = path.with_name(f"range{range_suffix(path, fps)}")
    cut_range(path, out, start_s, end_s, fps)
    return out


def sampled(path: Path, rate_fps: float, start_s: float | None, end_s: float | None, **options: Any) -> list[tuple[Any, ...]]:
    frames = sample_frames(path, rate_fps, start_s, end_s, **options)
    return [(frame.index, frame.time_s, frame.image.shape, frame.image.tobytes()) for frame in frames]


def pictures(path: Path) -> list[np.ndarray]:
    """Return every picture of a stored video, whatever its time."""
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def side_data(frame: Any) -> set[str]:
    return {frame.side_data[index].type.name for index in range(len(frame.side_data))}


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt", "options"),
    [
        ("clip.mp4", "libx264", "yuv420p", {}),
        ("varying.mp4", "libx264", "yuv420p", {"times_s": np.cumsum(np.random.default_rng(0).uniform(0.004, 0.08, 60))}),
        ("late.mkv", "libx264", "yuv420p", {"times_s": [5 + index / 30 for index in range(60)]}),
        ("film.mp4", "libx264", "yuv420p", {"time_base": Fraction(1001, 30000)}),
        ("phone.mp4", "libx264", "yuvj420p", {"rotation": 90}),
        ("phone.mov", "libx264", "yuv420p", {"rotation": -90}),
        ("wide.mp4", "libx264", "yuv420p", {"aspect": Fraction(64, 45)}),
        ("browser.webm", "libvpx", "yuv420p", {}),
        ("full.mkv", "libx264", "yuv444p", {}),
        ("ten_bits.mkv", "libx264", "yuv420p10le", {}),
        ("old.avi", "mpeg4", "yuv420p", {"time_base": None}),
        ("camera.avi", "mjpeg", "yuvj422p", {"time_base": None}),
        ("disc.mpg", "mpeg2video", "yuv420p", {"time_base": None}),
        ("stream.ts", "libx264", "yuv420p", {"time_base": None}),
        ("studio.mov", "prores_ks", "yuv422p10le", {}),
        ("screen.mov", "png", "rgb24", {}),
        ("gray.mkv", "ffv1", "gray", {}),
        ("odd.mkv", "ffv1", "yuv420p", {"images": textured(60, 65, 47)}),
    ],
)
def test_a_cut_range_gives_the_same_pixels_at_the_same_times(
    tmp_path: Path, name: str, codec: str, pix_fmt: str, options: dict[str, Any]
) -> None:
    path = write(tmp_path / name, codec, pix_fmt, **options)
    for start_s, end_s in ((0.5, 1.2), (None, 0.04), (1.5, None)):
        out = cut(path, start_s, end_s)
        for rate_fps in RATES_FPS:
            whole = sampled(path, rate_fps, start_s, end_s)
            assert whole, "the range has frames"
            assert sampled(out, rate_fps, start_s, end_s, is_cut=True) == whole


def test_a_usual_recording_keeps_its_pixel_format_and_a_fallback_is_as_exact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "clip.mp4")
    whole = sampled(path, 30.0, 0.5, 1.2)
    for encodings, stored in (
        (ranges._ENCODINGS, ("h264", "yuv420p")),
        (ranges._ENCODINGS[1:], ("h264", "gbrp")),
        (ranges._ENCODINGS[2:], ("png", "rgb24")),
    ):
        monkeypatch.setattr(ranges, "_ENCODINGS", encodings)
        out = cut(path, 0.5, 1.2)
        with av.open(str(out)) as container:
            context = container.streams.video[0].codec_context
            assert (context.name, context.pix_fmt) == stored
        assert sampled(out, 30.0, 0.5, 1.2, is_cut=True) == whole


def test_a_range_late_in_a_recording_is_cut_at_the_same_frames(write_video: WriteVideo) -> None:
    path = write_video(textured(150), fps=10)
    out = cut(path, 12.0, 13.0)
    assert len(pictures(out)) == 10
    assert sampled(out, 10.0, 12.0, 13.0, is_cut=True) == sampled(path, 10.0, 12.0, 13.0)


def test_the_file_holds_no_frame_outside_of_its_range(write_video: WriteVideo) -> None:
    path = write_video(numbered(60))
    out = cut(path, 0.5, 1.0)
    everything, stored = pictures(path), pictures(out)
    assert [round(float(picture.mean()) / 4) for picture in stored] == list(range(15, 30))
    assert all(np.array_equal(picture, everything[15 + index]) for index, picture in enumerate(stored))


def test_frames_at_the_time_of_an_earlier_one_are_left_out_since_none_is_ever_sampled(tmp_path: Path) -> None:
    clock = [0, 100, 100, 200, 200, 200, 300, 400, 500, 600]
    path = write_jpegs(tmp_path / "twice.mkv", textured(10), clock, Fraction(1, 1000))
    out = cut(path, 0.1, 0.5)
    assert len(pictures(out)) == 4
    for rate_fps in RATES_FPS:
        assert sampled(out, rate_fps, 0.1, 0.5, is_cut=True) == sampled(path, rate_fps, 0.1, 0.5)


def test_sound_and_metadata_stay_behind(tmp_path: Path) -> None:
    tags = {"title": SECRET, "artist": SECRET, "comment": SECRET, "location": "+52.0-001.0/"}
    path = write(tmp_path / "named.mp4", tags=tags)
    assert SECRET.encode() in path.read_bytes()
    out = cut(path, 0.5, 1.0)
    data = out.read_bytes()
    assert SECRET.encode() not in data
    assert b"+52.0" not in data
    with av.open(str(out)) as container:
        assert [stream.type for stream in container.streams] == ["video"]
        assert container.metadata["comment"].startswith("first frame at ")
        assert container.metadata.keys() == {"comment", "major_brand", "minor_version", "compatible_brands"}


def with_captions(packets: Iterator[av.Packet]) -> Iterator[av.Packet]:
    """Yield H.264 packets with closed captions (CEA-708) before each picture."""
    message = b"\xb5\x00\x31GA94\x03\xc1\xff\xfc" + CAPTION[:2] + b"\xff"
    unit = b"\0\0\0\1\x06\x04" + bytes([len(message)]) + message + b"\x80"
    for packet in packets:
        captioned = av.Packet(unit + bytes(packet))
        captioned.pts, captioned.dts, captioned.time_base = packet.pts, packet.dts, packet.time_base
        captioned.is_keyframe = packet.is_keyframe
        yield captioned


def test_captions_stay_behind(tmp_path: Path) -> None:
    path = tmp_path / "captioned.ts"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"bf": "0"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for image in [*textured(30), None]:
            frame = None if image is None else av.VideoFrame.from_ndarray(image, format="rgb24")
            for packet in with_captions(iter(stream.encode(frame))):
                packet.stream = stream
                container.mux(packet)
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        assert "A53_CC" in side_data(frame), "the recording has captions"
    out = cut(path, 0.2, 0.8)
    with av.open(str(out)) as container:
        assert all("A53_CC" not in side_data(frame) for frame in container.decode(video=0))
    assert b"GA94" in path.read_bytes()
    assert b"GA94" not in out.read_bytes()


def test_a_range_after_the_end_has_no_frame(write_video: WriteVideo) -> None:
    path = write_video(numbered(30))
    with pytest.raises(
        ClipError, match=r"^the recording gives no frame from 5 s to 6 s; give a complete recording and a range"
    ):
        cut(path, 5.0, 6.0)


def test_a_picture_that_changes_its_size_is_refused_with_a_way_out(tmp_path: Path) -> None:
    path = write_jpegs(tmp_path / "call.avi", [*textured(10), *textured(10, 48, 36)], list(range(20)), Fraction(1, 30))
    assert len({picture.shape for picture in pictures(path)}) == 2
    with pytest.raises(ClipError) as caught:
        cut(path, 0.1, 0.5)
    assert str(caught.value) == (
        "its range cannot be stored without loss, as when the picture changes its size; "
        "cut the recording with another program, and list the file without a range"
    )
    assert len(pictures(cut(path, 0.1, 0.3))) == 6


def test_a_range_beyond_the_limit_of_file_sizes_is_refused_with_a_way_out(write_video: WriteVideo) -> None:
    path = write_video(textured(30, 320, 240))
    with full_disk(), pytest.raises(ClipError) as caught:
        cut(path, 0.1, None)
    assert str(caught.value) == (
        "its range is too large to be stored without loss; give a shorter range, "
        "or cut the recording with another program and list the file without a range"
    )


def test_the_same_range_becomes_the_same_bytes_also_in_the_sandbox(write_video: WriteVideo, tmp_path: Path) -> None:
    path = write_video(textured(30))
    first = cut(path, 0.2, 0.7).read_bytes()
    isolated = tmp_path / "isolated.mov"
    run_isolated(partial(cut_range, path, isolated, 0.2, 0.7, 6.0), Limits())
    assert cut(path, 0.2, 0.7).read_bytes() == isolated.read_bytes() == first


def test_a_file_without_the_time_of_its_first_frame_is_no_cut_range(write_video: WriteVideo) -> None:
    with pytest.raises(ClipError, match="does not say when its first frame was; cut it again from the recording"):
        sampled(write_video(numbered(3)), 6.0, None, None, is_cut=True)


def test_images_of_a_sequence_outside_of_the_range_and_their_metadata_stay_behind(tmp_path: Path) -> None:
    path = tmp_path / "images.tar"
    with tarfile.open(path, "w") as archive:
        for index, image in enumerate(textured(20)):
            jpeg = cv2.imencode(".jpg", image)[1].tobytes()
            data = b"broken" if index == 7 else jpeg[:2] + b"\xff\xfe\x00\x0e" + SECRET.encode() + jpeg[2:]
            member = tarfile.TarInfo(f"{SECRET} {index}.jpg")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    out = cut(path, 0.5, 1.0, fps=10.0)
    assert out.name == "range-10.tar"
    assert SECRET.encode() not in out.read_bytes()
    with tarfile.open(out) as archive:
        assert archive.getnames() == ["00000005.png", "00000006.png", "00000008.png", "00000009.png"]
    for rate_fps in RATES_FPS:
        whole = sampled(path, rate_fps, 0.5, 1.0, fps=10.0)
        assert whole
        assert sampled(out, rate_fps, 0.5, 1.0, fps=10.0, is_cut=True) == whole
    with pytest.raises(ClipError, match="gives no frame from 2 s to 3 s"):
        cut(path, 2.0, 3.0, fps=10.0)


def test_a_photo_has_no_range_and_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "photo.JPG"
    cv2.imwrite(str(path), textured(1)[0])
    out = cut(path, 1.0, 2.0)
    assert out.name == "range.jpg"
    assert out.read_bytes() == path.read_bytes()
