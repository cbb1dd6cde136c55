"""Formats by their first bytes, sizes by their headers, and suffixes that a key can contain."""

from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from vitau.media.containers import image_size, recognize, recognize_file, storable_suffix


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".bmp", ".webp"])
def test_the_size_of_an_image_is_read_from_its_header(suffix: str) -> None:
    data = cv2.imencode(suffix, np.random.default_rng(0).integers(0, 255, (37, 53, 3)).astype(np.uint8))[1].tobytes()
    assert image_size(data) == (53, 37)
    assert image_size(data[:12]) is None
    assert image_size(b"") is None


def test_the_size_of_a_lossless_webp_is_read_from_its_header() -> None:
    image = np.zeros((37, 53, 3), np.uint8)
    data = cv2.imencode(".webp", image, [cv2.IMWRITE_WEBP_QUALITY, 101])[1].tobytes()
    assert image_size(data) == (53, 37)


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.mp4", "libx264"),
        ("a.mov", "libx264"),
        ("a.mkv", "libx264"),
        ("a.webm", "libvpx"),
        ("a.avi", "mpeg4"),
        ("a.ts", "mpeg2video"),
        ("a.mpg", "mpeg2video"),
        ("a.wmv", "wmv2"),
        ("a.flv", "flv"),
    ],
)
def test_every_common_container_is_recognized_and_opened_by_its_own_demuxer(tmp_path: Path, name: str, codec: str) -> None:
    with av.open(str(tmp_path / name), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")))
        container.mux(stream.encode())
    found = recognize_file(tmp_path / name)
    assert found is not None
    with av.open(str(tmp_path / name), format=found.demuxer) as container:
        assert len(list(container.decode(video=0))) == 3


@pytest.mark.parametrize(
    "text", ["#EXTM3U\n", "ffconcat version 1.0\n", "<?xml version='1.0'?><MPD/>", "v=0\n", "%PDF", "x" * 600]
)
def test_a_playlist_is_no_recording(text: str) -> None:
    assert recognize(text.encode()) is None


@pytest.mark.parametrize(
    ("name", "suffix"),
    [("a.MP4", ".mp4"), ("talk.mp4 (1)", ".png"), ("talk", ".png"), ("talk.пнг", ".png"), ("talk.a" + 20 * "b", ".png")],
)
def test_a_suffix_that_no_key_can_contain_is_replaced_by_that_of_the_format(tmp_path: Path, name: str, suffix: str) -> None:
    (tmp_path / name).write_bytes(cv2.imencode(".png", np.zeros((4, 4, 3), np.uint8))[1].tobytes())
    assert storable_suffix(tmp_path / name) == suffix
