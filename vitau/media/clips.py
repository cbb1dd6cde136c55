"""Decoding and sampling of recordings: videos, image sequences and photos as streams of frames."""

import re
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias

import av
import cv2
import numpy as np

from vitau.errors import ClipError
from vitau.media.crops import Image

PHOTO_SUFFIXES: Final = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
SEQUENCE_SUFFIX: Final = ".tar"
VIDEO_SUFFIXES: Final = frozenset({".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".wmv"})
"""Suffixes of videos in folders; a file given by name may have any suffix."""
RATE_FPS: Final = 6.0

_EARLY_S: Final = 1e-3  # tolerance of a frame before its sampling time, because timestamps of videos are rounded
_SEEK_S: Final = 10.0  # decoding up to an earlier start is faster than seeking

_TimedImage: TypeAlias = tuple[float, Callable[[], Image]]  # time in s; the image is converted only when it is sampled


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SampledFrame:
    """One sampled frame, RGB uint8: ``index`` counts sampled frames from 0, ``time_s`` starts with the recording."""

    index: int
    time_s: float
    image: Image


@dataclass(kw_only=True, slots=True)
class DecodeCounts:
    """Counts of decoded frames, and of damaged frames and packets; updated while decoding, because headers may be wrong.

    ``truncated``: the recording ends long before the duration in its header.
    """

    num_frames: int = 0
    num_damaged: int = 0
    truncated: bool = False


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
    kind = _kind(path)
    if kind == "video":
        with _opened(path) as container:
            stream = container.streams.video[0]
            return Probe(kind=kind, width=stream.width, height=stream.height, duration_s=_duration_s(stream, container))
    _, load = next(_photo(path, DecodeCounts()) if kind == "photo" else _sequence(path, 1.0, DecodeCounts()), (0.0, None))
    if load is None:
        raise ClipError(f"{path.name} holds no image; give a tar of images")
    height, width = load().shape[:2]
    return Probe(kind=kind, width=width, height=height)


def sample_frames(
    path: Path,
    rate_fps: float = RATE_FPS,
    start_s: float | None = None,
    end_s: float | None = None,
    fps: float | None = None,
    *,
    counts: DecodeCounts | None = None,
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

    Raises:
        ClipError: missing, empty, neither a video nor an image, or without a frame in the time range.
        ValueError: a rate that is not positive.
    """
    if rate_fps <= 0:
        raise ValueError(f"rate_fps is {rate_fps:g}; give a positive number of frames per second")
    counts = counts if counts is not None else DecodeCounts()
    kind = _kind(path)
    if kind == "video":
        timed_images = _video(path, start_s or 0.0, counts)
    elif kind == "photo":
        timed_images, start_s, end_s = _photo(path, counts), None, None
    else:
        timed_images = _sequence(path, fps or rate_fps, counts)
    begin_s, index, due = start_s or 0.0, 0, 0
    for time_s, load in timed_images:
        if end_s is not None and time_s >= end_s - _EARLY_S:
            break
        if time_s < begin_s + due / rate_fps - _EARLY_S:
            continue
        yield SampledFrame(index=index, time_s=round(time_s, 6), image=load())
        index += 1
        due = int((time_s - begin_s + _EARLY_S) * rate_fps) + 1
    if index == 0:
        span = f" from {begin_s:g} s to {'its end' if end_s is None else f'{end_s:g} s'}"
        raise ClipError(f"{path.name} gives no frame{span}; give a complete recording and a range inside it")


def _kind(path: Path) -> str:
    if not path.is_file():
        raise ClipError(f"{path.name} is missing; check its path")
    if path.stat().st_size == 0:
        raise ClipError(f"{path.name} is empty (0 bytes); copy it again")
    if path.suffix.lower() in PHOTO_SUFFIXES:
        return "photo"
    return "sequence" if path.suffix.lower() == SEQUENCE_SUFFIX else "video"


def _opened(path: Path) -> Any:
    try:
        # a playlist named as a video must not open network addresses
        container = av.open(str(path), options={"protocol_whitelist": "file"}, metadata_errors="ignore")
    except (av.FFmpegError, ValueError) as error:
        with path.open("rb") as file:
            is_mp4 = file.read(8)[4:] == b"ftyp"
        if is_mp4:
            raise ClipError(f"{path.name} is truncated: its index (moov atom) is missing; copy or download it again") from error
        raise ClipError(f"{path.name} is not a video; give a video, a photo or a tar of images") from error
    if container.format.name == "tty":  # FFmpeg plays text files
        container.close()
        raise ClipError(f"{path.name} is not a video; give a video, a photo or a tar of images")
    if not container.streams.video:
        container.close()
        raise ClipError(f"{path.name} has no video stream; give a recording with a picture")
    return container


def _video(path: Path, start_s: float, counts: DecodeCounts) -> Iterator[_TimedImage]:
    with _opened(path) as container:
        if start_s > _SEEK_S:
            stream = container.streams.video[0]
            container.seek(int(start_s / stream.time_base) + (stream.start_time or 0), stream=stream)
            timed_images = _decoded(container, counts)
            first = next(timed_images, None)
            if first is not None and first[0] <= start_s:
                yield first
                yield from timed_images
                return
            counts.num_frames = counts.num_damaged = 0
    # a range near the start, or a seek that went too far
    with _opened(path) as container:
        yield from _decoded(container, counts)


def _decoded(container: Any, counts: DecodeCounts) -> Iterator[_TimedImage]:
    """Yield all frames from the current position of the container; skip and count damaged ones."""
    stream = container.streams.video[0]
    stream.codec_context.thread_count = 1  # clips are decoded in parallel processes: more threads would compete
    aspect = float(stream.sample_aspect_ratio or 1)
    start, last_s = stream.start_time or 0, 0.0
    for packet in _packets(container, stream, counts):
        try:
            frames = packet.decode()
        except av.FFmpegError:
            counts.num_damaged += 1
            continue
        for frame in frames:
            if frame.is_corrupt:
                counts.num_damaged += 1
                continue
            if frame.pts is not None:
                last_s = float((frame.pts - start) * frame.time_base)
            elif counts.num_frames:
                last_s += float(1 / (stream.average_rate or 25))
            counts.num_frames += 1
            yield last_s, partial(_upright, frame, aspect)
    duration_s = _duration_s(stream, container)
    counts.truncated = duration_s is not None and last_s < 0.9 * duration_s - 1


def _packets(container: Any, stream: Any, counts: DecodeCounts) -> Iterator[Any]:
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except av.FFmpegError:
            counts.num_damaged += 1
            return
        if packet is None:
            return
        yield packet


def _upright(frame: Any, aspect: float) -> Image:
    """Return the frame with square pixels, rotated according to its metadata."""
    image: Image = frame.to_ndarray(format="rgb24")
    if not 0.99 < aspect < 1.01:
        image = cv2.resize(image, (round(image.shape[1] * aspect), image.shape[0]), interpolation=cv2.INTER_LINEAR)
    return np.ascontiguousarray(np.rot90(image, round(frame.rotation / 90)))


def _duration_s(stream: Any, container: Any) -> float | None:
    if stream.duration:
        return float(stream.duration * stream.time_base)
    return container.duration / av.time_base if container.duration else None


def _photo(path: Path, counts: DecodeCounts) -> Iterator[_TimedImage]:
    image = decode_image(path.read_bytes())
    if image is None:
        raise ClipError(f"{path.name} is not an image that can be read; save it again as JPEG or PNG")
    counts.num_frames += 1
    yield 0.0, partial(np.asarray, image)


def _sequence(path: Path, fps: float, counts: DecodeCounts) -> Iterator[_TimedImage]:
    try:
        archive = tarfile.open(path, mode="r:")  # noqa: SIM115 - closed below; only opening may raise TarError
    except tarfile.TarError as error:
        raise ClipError(f"{path.name} is not an uncompressed tar of images; pack the images again") from error
    with archive:
        members = [m for m in _members(archive, counts) if Path(m.name).suffix.lower() in PHOTO_SUFFIXES]
        for position, member in enumerate(sorted(members, key=lambda member: natural_key(member.name))):
            file = archive.extractfile(member)
            image = None if file is None else decode_image(file.read())
            if image is None:
                counts.num_damaged += 1
                continue
            counts.num_frames += 1
            yield position / fps, partial(np.asarray, image)


def _members(archive: tarfile.TarFile, counts: DecodeCounts) -> Iterator[tarfile.TarInfo]:
    """Yield the files of an archive, up to the first damage."""
    while True:
        try:
            member = archive.next()
        except tarfile.TarError:
            counts.num_damaged += 1
            return
        if member is None:
            return
        if member.isfile():
            yield member


def natural_key(name: str) -> tuple[tuple[str, int], ...]:
    """Return a sort key that puts frame 9 before frame 10."""
    return tuple((text, int(digits or 0)) for text, digits in re.findall(r"(\D*)(\d*)", name.casefold()))


def decode_image(data: bytes) -> Image | None:
    """Decode an image as (H, W, 3) uint8 RGB, rotated according to EXIF; None if the bytes are no image."""
    if not data:
        return None
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    return None if image is None else cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
