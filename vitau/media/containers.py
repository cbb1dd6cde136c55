"""Formats of recordings, recognized by their first bytes, and the size of an image by its header.

FFmpeg's own recognition is not used: it also opens playlists, which name other files and addresses.
"""

import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

HEAD_BYTES: Final = 512

_STORABLE: Final = re.compile(r"\.[a-z0-9_=-]{1,16}")
_ATOMS: Final = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot")
_TIFF_TYPES: Final[Mapping[int, str]] = {3: "H", 4: "I", 16: "Q"}


@dataclass(frozen=True, slots=True)
class Format:
    """A format of recordings.

    Attributes:
        kind: ``video``, ``sequence`` or ``photo``.
        suffix: its usual one, with the dot.
        demuxer: FFmpeg's name for it; empty for images and tars.
    """

    kind: str
    suffix: str
    demuxer: str = ""


_STARTS: Final[Mapping[bytes, Format]] = {
    b"\x1aE\xdf\xa3": Format("video", ".mkv", "matroska"),
    b"0&\xb2u\x8ef\xcf\x11": Format("video", ".wmv", "asf"),
    b"\0\0\x01\xba": Format("video", ".mpg", "mpeg"),
    b"\0\0\x01\xb3": Format("video", ".mpg", "mpegvideo"),
    b"FLV\x01": Format("video", ".flv", "flv"),
    b"OggS": Format("video", ".ogv", "ogg"),
    b"\x89PNG\r\n\x1a\n": Format("photo", ".png"),
    b"\xff\xd8\xff": Format("photo", ".jpg"),
    b"II*\0": Format("photo", ".tif"),
    b"MM\0*": Format("photo", ".tif"),
    b"BM": Format("photo", ".bmp"),
}


def recognize(head: bytes) -> Format | None:
    """Return the format of a recording with these first :data:`HEAD_BYTES` bytes, ``None`` for any other file."""
    for start, found in _STARTS.items():
        if head.startswith(start):
            return found
    if head[4:8] in _ATOMS:
        return Format("video", ".mp4", "mov")
    if head[:4] == b"RIFF" and head[8:11] in (b"AVI", b"WEB"):
        return Format("photo", ".webp") if head[8:12] == b"WEBP" else Format("video", ".avi", "avi")
    if head[257:262] == b"ustar":
        return Format("sequence", ".tar")
    if any(head[at : at + 1] == head[at + size : at + size + 1] == b"G" for at, size in ((0, 188), (4, 192), (0, 204))):
        return Format("video", ".ts", "mpegts")
    return None


def recognize_file(path: Path) -> Format | None:
    """Return the format of a file, ``None`` if it is no recording.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return recognize(file.read(HEAD_BYTES))


def storable_suffix(path: Path) -> str:
    """Return the suffix under which a recording is stored: its own, or the one of its format if a key cannot contain it.

    Raises:
        OSError: it cannot be read.
    """
    suffix = path.suffix.lower()
    if _STORABLE.fullmatch(suffix):
        return suffix
    found = recognize_file(path)
    return ".bin" if found is None else found.suffix


def image_size(data: bytes) -> tuple[int, int] | None:
    """Return width and height of a PNG, JPEG, TIFF, BMP or WebP image by its header, ``None`` for any other."""
    found = recognize(data[:HEAD_BYTES])
    if found is None or found.suffix not in _SIZES:
        return None
    try:
        return _SIZES[found.suffix](data)
    except (struct.error, IndexError):  # the file ends in its header
        return None


def _unpack(layout: str, data: bytes, offset: int) -> tuple[int, int]:
    first, second = struct.unpack_from(layout, data, offset)
    return first, second


def _png_size(data: bytes) -> tuple[int, int]:
    return _unpack(">II", data, 16)


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    position = 2
    while True:
        while data[position] == 0xFF and data[position + 1] == 0xFF:  # padding
            position += 1
        if data[position] != 0xFF:
            return None
        marker = data[position + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # a start of frame
            height, width = _unpack(">HH", data, position + 5)
            return width, height
        has_no_length = marker == 0x01 or 0xD0 <= marker <= 0xD8
        position += 2 if has_no_length else 2 + max(2, struct.unpack_from(">H", data, position + 2)[0])


def _tiff_size(data: bytes) -> tuple[int, int] | None:
    order = "<" if data[:2] == b"II" else ">"
    (directory,) = struct.unpack_from(f"{order}I", data, 4)
    (num_entries,) = struct.unpack_from(f"{order}H", data, directory)
    size: dict[int, int] = {}
    for entry in range(num_entries):
        at = directory + 2 + 12 * entry
        tag, kind = struct.unpack_from(f"{order}HH", data, at)
        if tag in (256, 257) and kind in _TIFF_TYPES:
            size[tag] = struct.unpack_from(order + _TIFF_TYPES[kind], data, at + 8)[0]
    return (size[256], size[257]) if len(size) == 2 else None


def _bmp_size(data: bytes) -> tuple[int, int]:
    (header_bytes,) = struct.unpack_from("<I", data, 14)
    width, height = _unpack("<HH", data, 18) if header_bytes == 12 else _unpack("<ii", data, 18)
    return abs(width), abs(height)  # a negative height means that the rows begin at the top


def _webp_size(data: bytes) -> tuple[int, int] | None:
    match data[12:16]:
        case b"VP8X":
            return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
        case b"VP8L":
            bits = int.from_bytes(data[21:25], "little")
            return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
        case b"VP8 ":
            width, height = _unpack("<HH", data, 26)
            return width & 0x3FFF, height & 0x3FFF
    return None


_SIZES: Final[Mapping[str, Callable[[bytes], tuple[int, int] | None]]] = {
    ".png": _png_size,
    ".jpg": _jpeg_size,
    ".tif": _tiff_size,
    ".bmp": _bmp_size,
    ".webp": _webp_size,
}
