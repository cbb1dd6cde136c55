"""Limits by headers, before anything is decoded: pixels, duration and number of frames of videos, members of archives."""

import io
import struct
import tarfile
from collections.abc import Sequence
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from tests.media.conftest import WriteVideo, numbered
from vitau.errors import ClipError
from vitau.media import clips, sources, videos
from vitau.media.clips import DecodeCounts, decode_image, probe, sample_frames
from vitau.media.manifests import SourceClip
from vitau.media.sandbox import Limits, run_isolated
from vitau.schema import Cohort


def write_avi(path: Path, *, codec: str = "rawvideo", images: Sequence[np.ndarray[Any, Any]] | None = None) -> Path:
    images = numbered(30) if images is None else images
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=30)
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = "yuv420p" if codec == "rawvideo" else "yuvj420p"
        for index, image in enumerate(images):
            if codec == "rawvideo":
                frame = av.VideoFrame.from_ndarray(image, format="rgb24")
                frame.pts, frame.time_base = index, Fraction(1, 30)
                container.mux(stream.encode(frame))
                continue
            packet = av.Packet(cv2.imencode(".jpg", image)[1].tobytes())
            packet.pts = packet.dts = index
            packet.time_base, packet.stream, packet.is_keyframe = Fraction(1, 30), stream, True
            container.mux(packet)
    return path


def patched(path: Path, after: bytes, offset: int, value: bytes) -> Path:
    """Overwrite a field in the header of a file, at an offset from the beginning of a mark."""
    data = bytearray(path.read_bytes())
    at = data.index(after) + offset
    data[at : at + len(value)] = value
    path.write_bytes(data)
    return path


def with_size(path: Path, width: int, height: int) -> Path:
    return patched(path, b"strf", 12, struct.pack("<ii", width, height))


def with_num_frames(path: Path, number: int) -> Path:
    return patched(path, b"strh", 40, struct.pack("<I", number))


def refusal(path: Path, **options: Any) -> str:
    with pytest.raises(ClipError) as refused:
        list(sample_frames(path, **options))
    return str(refused.value)


def test_a_video_of_too_many_pixels_is_refused_by_its_header(tmp_path: Path) -> None:
    path = with_size(write_avi(tmp_path / "huge.avi"), 20_000, 5_001)
    message = "the picture has 20000×5001 pixels by its header; save it smaller, 100 megapixels are the most"
    assert refusal(path) == message
    with pytest.raises(ClipError, match="20000×5001 pixels"):
        probe(path)
    assert probe(with_size(path, 20_000, 5_000)).width == 20_000, "the most that is accepted"


def test_a_picture_larger_than_its_header_is_refused_when_it_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_avi(tmp_path / "growing.avi", codec="mjpeg", images=[*numbered(3), *numbered(3, 128, 96)])
    monkeypatch.setattr(videos, "MAX_PIXELS", 64 * 48)
    assert probe(path).width == 64
    counts = DecodeCounts()
    assert refusal(path, counts=counts).startswith("the picture has 128×96 pixels by its header; save it smaller")
    assert counts.num_frames == 3


def test_a_video_of_too_many_frames_is_refused_by_its_header(tmp_path: Path) -> None:
    path = with_num_frames(write_avi(tmp_path / "long.avi"), 2_000_001)
    assert refusal(path, end_s=1.0) == "the recording has 2000001 frames by its header; cut it, 2000000 are the most"


def test_frames_that_no_header_counts_are_counted_while_decoding(
    write_video: WriteVideo, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_video(numbered(30), name="stream.ts")
    with av.open(str(path)) as container:
        assert container.streams.video[0].frames == 0, "its header has no number of frames"
    monkeypatch.setattr(videos, "MAX_FRAMES", 29)
    assert refusal(path) == "the recording has more than 29 frames; cut it"
    monkeypatch.setattr(videos, "MAX_FRAMES", 30)
    assert len(list(sample_frames(path))) == 6


def test_a_recording_that_is_too_long_needs_a_range(tmp_path: Path) -> None:
    path = with_num_frames(write_avi(tmp_path / "day.avi"), 30 * 5 * 3600)
    message = "the recording lasts 18000 s; give ranges of at most 14400 s by start_s and end_s"
    assert refusal(path) == message
    assert refusal(path, start_s=0.0, end_s=18_000.0) == message
    assert "lasts 14401 s" in refusal(path, start_s=3599.0)
    assert len(list(sample_frames(path, start_s=0.0, end_s=0.5))) == 3
    assert "gives no frame from 3600 s" in refusal(path, start_s=3600.0), "exactly four hours are accepted"


def write_tar(path: Path, members: Sequence[tuple[str, bytes]]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, data in members:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def png(size: int = 8) -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
    return cv2.imencode(".png", noise)[1].tobytes()


def test_an_archive_of_too_many_members_is_refused_and_not_read_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clips, "MAX_IMAGES", 6)
    assert len(list(sample_frames(write_tar(tmp_path / "five.tar", [(f"{n}.png", png()) for n in range(5)])))) == 5
    six = write_tar(tmp_path / "six.tar", [(f"{n}.png", png()) for n in range(6)])
    assert refusal(six) == "the archive has 6 members or more; pack fewer images"
    others = write_tar(tmp_path / "others.tar", [(f"{n}.txt", b"") for n in range(6)])
    assert refusal(others) == "the archive has 6 members or more; pack fewer images", "members that are no images count too"


def test_a_member_that_is_too_large_is_damaged_and_the_others_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_tar(tmp_path / "s.tar", [("0.png", png()), ("1.png", png(64)), ("2.png", png())])
    monkeypatch.setattr(clips, "MAX_IMAGE_BYTES", len(png(64)) - 1)
    counts = DecodeCounts()
    assert len(list(sample_frames(path, counts=counts))) == 2
    assert counts == DecodeCounts(num_frames=2, num_damaged=1)


def count_damaged(path: Path) -> int:
    counts = DecodeCounts()
    list(sample_frames(path, counts=counts))
    return counts.num_damaged


def test_a_sparse_member_does_not_fill_the_memory(tmp_path: Path) -> None:
    data = png()
    member = tarfile.TarInfo("1.png")
    member.type, member.size = tarfile.GNUTYPE_SPARSE, 0
    header = bytearray(member.tobuf(tarfile.GNU_FORMAT)[:512])
    header[386:398] = header[398:410] = b"00000000000\0"  # one empty piece
    header[483:495] = f"{200 << 20:011o}".encode() + b"\0"  # 200 MiB by its header, which are not in the file
    header[148:156] = b" " * 8
    header[148:156] = f"{sum(header):06o}\0 ".encode()
    path = write_tar(tmp_path / "s.tar", [("0.png", data)])
    archive = path.read_bytes()
    end = 512 + -(-len(data) // 512) * 512
    path.write_bytes(archive[:end] + bytes(header) + archive[end:])
    with tarfile.open(path) as read:
        assert [(entry.issparse(), entry.size) for entry in read.getmembers()] == [(False, len(data)), (True, 200 << 20)]
    assert run_isolated(partial(count_damaged, path), Limits(memory_bytes=100 << 20)) == 1


def test_a_photo_in_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(png())
    with path.open("r+b") as file:
        file.truncate(256 << 20)
    assert len(list(sample_frames(path))) == 1
    with path.open("r+b") as file:
        file.truncate((256 << 20) + 1)
    assert refusal(path) == "the photo's file has more than 256 MiB; save it smaller"


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp"])
def test_an_image_of_too_many_pixels_is_refused_by_its_header(suffix: str) -> None:
    data = bytearray(cv2.imencode(suffix, np.zeros((8, 8, 3), np.uint8))[1].tobytes())
    width, height = (10_001, 10_000)
    if suffix == ".png":
        data[16:24] = struct.pack(">II", width, height)
    elif suffix == ".bmp":
        data[18:26] = struct.pack("<ii", width, height)
    else:
        at = data.index(b"\xff\xc0") + 5
        data[at : at + 4] = struct.pack(">HH", height, width)
    with pytest.raises(ClipError, match=r"^the picture has 10001×10000 pixels by its header; save it smaller, 100 megapixels"):
        decode_image(bytes(data))


def sequence(paths: Sequence[Path]) -> SourceClip:
    return SourceClip(row="row 2", subject_id="p", cohort=Cohort.CONTROL, source="ckplus", paths=tuple(paths))


def test_a_folder_of_too_many_or_too_large_images_is_not_packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    for path in paths:
        path.write_bytes(png())
    work = tmp_path / "work"
    with paths[1].open("r+b") as file:
        file.truncate((256 << 20) + 1)
    with pytest.raises(ClipError) as refused:
        sources.fetch(sequence(paths), work)
    assert str(refused.value) == "row 2: one of its images has more than 256 MiB; save it smaller"
    monkeypatch.setattr(sources, "MAX_IMAGES", 2)
    with pytest.raises(ClipError) as refused:
        sources.fetch(sequence([paths[0], paths[2]]), work)
    assert str(refused.value) == "row 2: it has 2 images or more; give fewer"
    assert not list(work.iterdir())
    monkeypatch.setattr(sources, "MAX_IMAGES", 3)
    assert sources.fetch(sequence([paths[0], paths[2]]), work).suffix == ".tar"
