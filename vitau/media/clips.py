"""Decoding and sampling of recordings: videos, image sequences and photos as streams of frames."""

import os
import re
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import cv2
import numpy as np

from vitau.errors import ClipError
from vitau.media.containers import HEAD_BYTES, Format, image_size, recognize, recognize_file
from vitau.media.crops import Image
from vitau.media.videos import DecodeCounts, TimedImage, check_pixels, decode_video, duration_s, frame_times, open_video

__all__ = [
    "DecodeCounts",
    "Encoding",
    "Probe",
    "SampledFrame",
    "decode_image",
    "kind_of",
    "natural_key",
    "probe",
    "read_encoding",
    "sample_frames",
]

PHOTO_SUFFIXES: Final = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
SEQUENCE_SUFFIX: Final = ".tar"
VIDEO_SUFFIXES: Final = frozenset({".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".wmv"})
"""Suffixes of videos in folders; a file given by name may have any suffix."""
RATE_FPS: Final = 6.0

MAX_IMAGES: Final = 100_000
"""Most images of a sequence."""
MAX_IMAGE_BYTES: Final = 256 << 20
"""Largest file of one image."""

T = TypeVar("T")

_EARLY_S: Final = 1e-3  # tolerance of a frame before its sampling time, because timestamps of videos are rounded


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SampledFrame:
    """One sampled frame, RGB uint8: ``index`` counts sampled frames from 0, ``time_s`` starts with the recording.

    ``number`` counts all frames of the sampled range from 0, as other programs do.
    """

    index: int
    time_s: float
    image: Image
    number: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Position:
    """The place of a sampled frame: its index among sampled frames, its number in the range, its time in the recording, s."""

    index: int
    number: int
    time_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Probe:
    """The metadata of a recording, read without decoding it; only a video has a ``duration_s``."""

    kind: str
    width: int
    height: int
    duration_s: float | None = None


def probe(path: Path) -> Probe:
    """Return the kind (``video``, ``sequence`` or ``photo``) and the size of a recording.

    Raises:
        ClipError: missing, empty, neither a video nor an image, or without a picture.
    """
    kind = kind_of(path)
    if kind == "video":
        with open_video(path) as container:
            stream = container.streams.video[0]
            if not (stream.width and stream.height):
                raise ClipError("the recording has a picture without a size; save it again with another program")
            return Probe(kind=kind, width=stream.width, height=stream.height, duration_s=duration_s(stream, container))
    _, load = next(_photo(path, DecodeCounts()) if kind == "photo" else decode_sequence(path, 1.0, DecodeCounts()), (0.0, None))
    if load is None:
        raise ClipError("the recording holds no image; give a tar of images")
    height, width = load().shape[:2]
    return Probe(kind=kind, width=width, height=height)


@dataclass(frozen=True, kw_only=True, slots=True)
class Encoding:
    """The codec of a recording's pictures, such as ``h264`` or ``png``, and its frames per second."""

    codec: str | None = None
    frame_rate: float | None = None


def read_encoding(path: Path, fps: float | None = None) -> Encoding:
    """Return the encoding of a recording by its header; empty if it cannot be read.

    Args:
        path: a video, an uncompressed tar of images, or a photo.
        fps: frames per second of an image sequence.
    """
    try:
        kind = kind_of(path)
        if kind == "video":
            with open_video(path) as container:
                stream = container.streams.video[0]
                rate = stream.average_rate
                return Encoding(codec=stream.codec_context.name, frame_rate=round(float(rate), 3) if rate else None)
        if kind == "photo":
            return Encoding(codec=_image_codec(recognize_file(path)))
        with tarfile.open(path, mode="r:") as archive:
            members = (member for member in _members(archive, DecodeCounts()) if not member.issparse())
            image = next((member for member in members if Path(member.name).suffix.lower() in PHOTO_SUFFIXES), None)
            file = None if image is None else archive.extractfile(image)
            return Encoding(codec=None if file is None else _image_codec(recognize(file.read(HEAD_BYTES))), frame_rate=fps)
    except (ClipError, OSError, tarfile.TarError):
        return Encoding()  # whoever decodes it says what is wrong


def _image_codec(found: Format | None) -> str | None:
    return None if found is None else found.suffix.removeprefix(".")


def sample_frames(
    path: Path,
    rate_fps: float = RATE_FPS,
    start_s: float | None = None,
    end_s: float | None = None,
    fps: float | None = None,
    *,
    counts: DecodeCounts | None = None,
    is_cut: bool = False,
    first: Position | None = None,
) -> Iterator[SampledFrame]:
    """Yield the frames of a recording at a constant rate, one in memory at a time.

    The first frame at or after each time ``start_s`` + k / ``rate_fps`` is sampled, by the timestamps of the frames. A variable
    frame rate does not matter. A recording with fewer frames yields each frame once.

    Args:
        path: a video, an uncompressed tar of images (in the order of their names), or a photo.
        rate_fps: sampled frames per second.
        start_s: start of the range, s from the start of the recording.
        end_s: end of the range, exclusive.
        fps: frames per second of an image sequence; without it, every image is sampled.
        counts: updated while decoding. Damaged frames are skipped and counted.
        is_cut: the file holds the range only, as :func:`vitau.media.ranges.cut_range` writes it.
        first: the sampled frame to start with, see :func:`sampled_positions`; by default the first of the range.

    Raises:
        ClipError: missing, empty, too large, neither a video nor an image, or without a frame in the time range.
        ValueError: a rate that is not positive.
    """
    if rate_fps <= 0:
        raise ValueError(f"rate_fps is {rate_fps:g}; give a positive number of frames per second")
    counts = counts if counts is not None else DecodeCounts()
    kind = kind_of(path)
    if kind == "photo":
        start_s = end_s = None
    begin_s, from_s = start_s or 0.0, first.time_s if first else start_s
    frames = within(_timed_images(path, kind, from_s or 0.0, end_s, fps or rate_fps, counts, is_cut=is_cut), from_s, end_s)
    first = first or Position(index=0, number=0, time_s=begin_s)
    index = first.index
    for number, time_s, load in _at_rate(enumerate(frames, first.number), rate_fps, begin_s):
        yield SampledFrame(index=index, time_s=round(time_s, 6), image=load(), number=number)
        index += 1
    if index == first.index:
        raise no_frame(start_s, end_s)


def _at_rate(frames: Iterable[tuple[int, tuple[float, T]]], rate_fps: float, begin_s: float) -> Iterator[tuple[int, float, T]]:
    """Yield number, time and value of the frames to be sampled among numbered frames, the first of which is one of them."""
    due = 0
    for number, (time_s, value) in frames:
        if time_s >= begin_s + due / rate_fps - _EARLY_S:
            yield number, time_s, value
            due = int((time_s - begin_s + _EARLY_S) * rate_fps) + 1


def sampled_positions(
    path: Path, rate_fps: float, start_s: float | None = None, end_s: float | None = None, *, is_cut: bool = False
) -> list[Position]:
    """Return where the sampled frames of a video will be by the timestamps in its file; decoding may find others.

    Raises:
        ClipError: it cannot be read, or is no video.
    """
    times = ((time_s, None) for time_s in frame_times(path, is_cut=is_cut))
    numbered = enumerate(within(times, start_s, end_s))
    sampled = _at_rate(numbered, rate_fps, start_s or 0.0)
    return [Position(index=index, number=number, time_s=time_s) for index, (number, time_s, _) in enumerate(sampled)]


def within(frames: Iterable[tuple[float, T]], start_s: float | None, end_s: float | None) -> Iterator[tuple[float, T]]:
    """Yield the frames of a time range, whose end is exclusive, and stop at the first one after it."""
    for time_s, frame in frames:
        if end_s is not None and time_s >= end_s - _EARLY_S:
            return
        if time_s >= (start_s or 0.0) - _EARLY_S:
            yield time_s, frame


def no_frame(start_s: float | None, end_s: float | None) -> ClipError:
    """Build the error for a range without a frame."""
    span = f" from {start_s or 0.0:g} s to {'its end' if end_s is None else f'{end_s:g} s'}"
    return ClipError(f"the recording gives no frame{span}; give a complete recording and a range inside it")


def kind_of(path: Path) -> str:
    """Return ``video``, ``sequence`` or ``photo``: by the suffix if it is a usual one, else by the first bytes.

    Raises:
        ClipError: missing, empty, or not readable.
    """
    try:
        if not path.is_file():
            raise ClipError("the recording is missing; check its path")
        if path.stat().st_size == 0:
            raise ClipError("the recording is empty (0 bytes); copy it again")
        found = recognize_file(path)
    except OSError as error:
        raise ClipError(f"the recording cannot be read ({os.strerror(error.errno or 0)}); check its permissions") from error
    suffix = path.suffix.lower()
    if suffix in PHOTO_SUFFIXES:
        return "photo"
    if suffix == SEQUENCE_SUFFIX:
        return "sequence"
    return "video" if found is None or suffix in VIDEO_SUFFIXES else found.kind


def _timed_images(
    path: Path, kind: str, start_s: float, end_s: float | None, fps: float, counts: DecodeCounts, *, is_cut: bool
) -> Iterator[TimedImage]:
    match kind:
        case "video":
            return decode_video(path, start_s, end_s, counts, is_cut=is_cut)
        case "photo":
            return _photo(path, counts)
    return decode_sequence(path, fps, counts, is_cut=is_cut)


def _photo(path: Path, counts: DecodeCounts) -> Iterator[TimedImage]:
    if path.stat().st_size > MAX_IMAGE_BYTES:
        raise ClipError(f"the photo's file has more than {MAX_IMAGE_BYTES >> 20} MiB; save it smaller")
    image = decode_image(path.read_bytes())
    if image is None:
        raise ClipError("the photo is not an image that can be read; save it again as JPEG or PNG")
    counts.num_frames += 1
    yield 0.0, partial(np.asarray, image)


def decode_sequence(path: Path, fps: float, counts: DecodeCounts, *, is_cut: bool = False) -> Iterator[TimedImage]:
    """Yield the images of a tar in the order of their names; those of a cut range are named by their number in the sequence.

    Raises:
        ClipError: it is no tar, or it has too many or too large members.
    """
    try:
        archive = tarfile.open(path, mode="r:")  # noqa: SIM115 - closed below; only opening may raise TarError
    except tarfile.TarError as error:
        raise ClipError("the recording is not an uncompressed tar of images; pack the images again") from error
    with archive:
        members = [m for m in _members(archive, counts) if Path(m.name).suffix.lower() in PHOTO_SUFFIXES]
        for position, member in enumerate(sorted(members, key=lambda member: natural_key(member.name))):
            image = _member_image(archive, member)
            if image is None:
                counts.num_damaged += 1
                continue
            counts.num_frames += 1
            yield (int(Path(member.name).stem) if is_cut else position) / fps, partial(np.asarray, image)


def _member_image(archive: tarfile.TarFile, member: tarfile.TarInfo) -> Image | None:
    if member.issparse() or member.size > MAX_IMAGE_BYTES:  # a sparse file takes more memory than its archive has bytes
        return None
    file = archive.extractfile(member)
    return None if file is None else decode_image(file.read())


def _members(archive: tarfile.TarFile, counts: DecodeCounts) -> Iterator[tarfile.TarInfo]:
    """Yield the files of an archive, up to the first damage."""
    for _ in range(MAX_IMAGES):
        try:
            member = archive.next()
        except tarfile.TarError:
            counts.num_damaged += 1
            return
        if member is None:
            return
        if member.isfile():
            yield member
    raise ClipError(f"the archive has {MAX_IMAGES} members or more; pack fewer images")


def natural_key(name: str) -> tuple[tuple[str, int], ...]:
    """Return a sort key that puts frame 9 before frame 10."""
    return tuple((text, int(digits or 0)) for text, digits in re.findall(r"(\D*)(\d*)", name.casefold()))


def decode_image(data: bytes) -> Image | None:
    """Decode an image as (H, W, 3) uint8 RGB, rotated according to EXIF; None if the bytes are no image.

    Raises:
        ClipError: its header says that it is too large.
    """
    size = image_size(data)
    if size is None:
        return None
    check_pixels(*size)
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    return None if image is None else cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
