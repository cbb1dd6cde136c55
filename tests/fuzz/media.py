"""Readers of images and videos, and the recordings from which mutations start."""

import io
import struct
import tarfile
import zlib
from collections.abc import Iterable, Sequence
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any, Final

import av
import cv2
import numpy as np

from tests.fuzz.containers import MP4, Node
from vitau.media.clips import probe, sample_frames
from vitau.media.containers import recognize
from vitau.media.sources import clip_digest
from vitau.media.videos import MAX_PIXELS

NEIGHBOR: Final = "neighbor.mp4"
"""A recording beside the one that is read; no input may lead to it."""
_MAX_FRAMES: Final = 8
_NEIGHBOR_RGB: Final = np.array([250, 0, 250])
_PLAIN: Final = ("png", "jpg", "tiff", "bmp", "webp")


def run_video(data: bytes, folder: Path, suffix: str = "") -> Iterable[str]:
    """Sample a few frames of a recording, and check what an ingest relies on."""
    if not (folder / NEIGHBOR).exists():
        (folder / NEIGHBOR).write_bytes(_write_video("mp4", "libx264", picture=np.full((48, 48, 3), _NEIGHBOR_RGB, np.uint8)))
    path = folder / f"clip{suffix}"
    path.write_bytes(data)
    found = probe(path)
    assert found.width > 0, "a width of 0"
    assert found.height > 0, "a height of 0"
    before_s = -1.0
    for frame, _ in zip(sample_frames(path, 5.0), range(_MAX_FRAMES), strict=False):
        assert frame.image.dtype == np.uint8
        assert frame.image.ndim == 3
        assert frame.image.shape[2] == 3
        assert 0 < frame.image.shape[0] * frame.image.shape[1] <= MAX_PIXELS, "a picture beyond the limit"
        assert np.isfinite(frame.time_s), "a time that is no number"
        assert frame.time_s > before_s, "times that do not grow"
        assert abs(frame.image.mean((0, 1)) - _NEIGHBOR_RGB).max() > 20, "another file was read"
        before_s = frame.time_s
    clip_digest(path)
    return ()


def run_image(data: bytes, folder: Path) -> Iterable[str]:
    """Read the bytes as a photo and as the only image of a sequence."""
    found = recognize(data[:512])
    suffix = ".png" if found is None else found.suffix
    run_video(data, folder, suffix)
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        member = tarfile.TarInfo(f"1{suffix}")
        member.size = len(data)
        tar.addfile(member, io.BytesIO(data))
    return run_video(archive.getvalue(), folder, ".tar")


@cache
def image_seeds() -> Sequence[bytes]:
    """Return pictures of every format, with palettes, alpha, 16 bits, progressive scans, a rotation and a compressed text."""
    plain = [cv2.imencode(f".{suffix}", _picture())[1].tobytes() for suffix in _PLAIN]
    png, jpeg = plain[:2]
    deep = cv2.imencode(".png", _picture().astype(np.uint16) * 257)[1].tobytes()
    alpha = cv2.imencode(".png", np.dstack([_picture(), _picture()[..., :1]]))[1].tobytes()
    gray = cv2.imencode(".png", _picture()[..., 0])[1].tobytes()
    progressive = cv2.imencode(".jpg", _picture(), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1, cv2.IMWRITE_JPEG_RST_INTERVAL, 2])[1]
    lossless = cv2.imencode(".webp", _picture(), [cv2.IMWRITE_WEBP_QUALITY, 101])[1].tobytes()
    exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    rotated = jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:]
    text = b"zTXtnote\0\0" + zlib.compress(b"\0" * (4 << 20))
    chunk = struct.pack(">I", len(text) - 4) + text + struct.pack(">I", zlib.crc32(text))
    return (*plain, deep, alpha, gray, progressive.tobytes(), lossless, rotated, png[:33] + chunk + png[33:], _palette_png())


@cache
def video_seeds() -> Sequence[bytes]:
    """Return recordings of every container that is read, with several codecs."""
    kinds = (
        *(("mp4", "libx264"), ("mp4", "mpeg4"), ("mov", "mjpeg"), ("matroska", "libx264"), ("matroska", "ffv1")),
        *(("webm", "libvpx"), ("webm", "libvpx-vp9"), ("avi", "mpeg4"), ("avi", "mjpeg"), ("mpegts", "mpeg2video")),
        *(("mpegts", "libx264"), ("flv", "flv"), ("asf", "wmv2"), ("mpeg", "mpeg1video"), ("mpeg1video", "mpeg1video")),
    )
    fragments = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
    plain = [_write_video(container, codec) for container, codec in kinds]
    return (*plain, _write_video("mp4", "libx264", fragments), _refer(plain[0]), _write_video("mp4", "mpeg4", aspect=2))


@cache
def playlist_seeds() -> Sequence[bytes]:
    """Return lists that name other files and addresses, as they are and behind the first bytes of a recording."""
    lists = (
        f"#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4.0,\n{NEIGHBOR}\n#EXT-X-ENDLIST\n",
        "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1280000\nhttp://127.0.0.1:1/mustermann.m3u8\n",
        f'#EXTM3U\n#EXT-X-MAP:URI="{NEIGHBOR}"\n#EXT-X-KEY:METHOD=AES-128,URI="file:///etc/passwd"\n#EXTINF:2,\n{NEIGHBOR}\n',
        f"ffconcat version 1.0\nfile {NEIGHBOR}\nduration 2\n",
        f"ffconcat version 1.0\nfile 'subfile,,start,0,end,0,,:{NEIGHBOR}'\n",
        f'<MPD><Period><AdaptationSet mimeType="video/mp4"><BaseURL>{NEIGHBOR}</BaseURL></AdaptationSet></Period></MPD>',
        f'<?xml version="1.0"?><smil><body><video src="{NEIGHBOR}"/></body></smil>',
        f"[playlist]\nFile1={NEIGHBOR}\nLength1=1\n",
        f"[Reference]\nRef1=file:{NEIGHBOR}\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\nm=video 9 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
    )
    coded = [text.encode() for text in lists]
    heads = (b"\0\0\0\x14ftypisom\0\0\2\0isom", b"\x1aE\xdf\xa3", b"RIFF\xff\0\0\0AVI ", b"FLV\1\5\0\0\0\t", b"G" + b"\0" * 187)
    return (*coded, *(head + text for head, text in zip(heads * 2, coded, strict=True)), _refer(video_seeds()[0]))


def _picture(size: int = 48) -> np.ndarray:
    y, x = np.mgrid[:size, :size]
    return np.stack([(x * 5) % 256, (y * 5) % 256, (x + y) % 256], axis=-1).astype(np.uint8)


def _palette_png() -> bytes:
    chunks = (
        b"IHDR" + struct.pack(">IIBBBBB", 16, 16, 2, 3, 0, 0, 1),
        b"PLTE" + bytes(range(12)),
        b"tRNS\0\x80\xff\xff",
        b"IDAT" + zlib.compress(b"\0\x1b\x1b\x1b\x1b" * 30),
        b"IEND",
    )
    coded = [struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(coded)


def _write_video(
    container: str, codec: str, options: dict[str, str] | None = None, *, picture: Any = None, aspect: int = 1
) -> bytes:
    out = io.BytesIO()
    with av.open(out, "w", format=container, options={**(options or {}), "fflags": "bitexact"}) as file:  # no random numbers
        stream: Any = file.add_stream(codec, rate=25)
        stream.width = stream.height = 48
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.thread_count = 1
        stream.codec_context.sample_aspect_ratio = Fraction(aspect)
        stream.codec_context.options = {"g": "6"} if codec == "libx264" else {}
        for index in range(12):
            shown = np.roll(_picture(), index, axis=0) if picture is None else picture
            file.mux(stream.encode(av.VideoFrame.from_ndarray(shown, format="rgb24")))
        file.mux(stream.encode())
    return out.getvalue()


def _refer(mp4: bytes) -> bytes:
    """Return an mp4 whose samples are in another file, by its table of references."""
    nodes = MP4.parse(mp4)
    place = b"\0\0\0\0" + NEIGHBOR.encode() + b"\0"
    _find(nodes, b"dref").payload = struct.pack(">III4s", 0, 1, 8 + len(place), b"url ") + place
    return MP4.build(nodes)


def _find(nodes: list[Node], tag: bytes) -> Node:
    """Return the first node with a tag."""
    waiting = list(nodes)
    for node in waiting:
        if node.tag == tag:
            return node
        waiting += node.payload if isinstance(node.payload, list) else []
    raise LookupError(tag)
