"""Decoding of videos with FFmpeg: one demuxer by the first bytes, limits by the header, and damaged frames skipped."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias

import av
import cv2
import numpy as np

from vitau.errors import ClipError
from vitau.media.containers import Format, recognize_file
from vitau.media.crops import Image

MAX_PIXELS: Final = 100_000_000
"""Largest picture, by its header: a decoder takes six bytes per pixel."""
MAX_DURATION_S: Final = 4 * 3600.0
"""Longest range of a recording."""
MAX_FRAMES: Final = 2_000_000
"""Most frames of a recording, in its header or decoded."""

_SEEK_S: Final = 10.0  # decoding up to an earlier start is faster than seeking

TimedImage: TypeAlias = tuple[float, Callable[[], Image]]
"""Time in s, and the function that converts the image, which is called only when it is sampled."""


@dataclass(kw_only=True, slots=True)
class DecodeCounts:
    """Counts of decoded frames, and of damaged frames and packets; updated while decoding, because headers may be wrong.

    ``truncated``: the recording ends long before the duration in its header.
    """

    num_frames: int = 0
    num_damaged: int = 0
    truncated: bool = False


def open_video(path: Path) -> Any:
    """Open a video; close it after use.

    Raises:
        ClipError: it is not a video, truncated, without a picture, or too large.
    """
    found = recognize_file(path)
    if found is None or not found.demuxer:
        raise ClipError("the recording is not a video; give a video, a photo or a tar of images")
    try:
        # the demuxer is named, so that no playlist is opened; and none of them opens addresses
        options = {"protocol_whitelist": "file"}
        container = av.open(str(path), format=found.demuxer, options=options, metadata_errors="ignore")
    except (av.FFmpegError, ValueError) as error:
        raise ClipError(_unreadable(found)) from error
    try:
        _check_header(container)
    except ClipError:
        container.close()
        raise
    return container


def _unreadable(found: Format) -> str:
    if found.demuxer == "mov":
        return "the recording is truncated: its index (moov atom) is missing; copy or download it again"
    return "the recording is not a video; give a video, a photo or a tar of images"


def _check_header(container: Any) -> None:
    if not container.streams.video:
        raise ClipError("the recording has no video stream; give a recording with a picture")
    stream = container.streams.video[0]
    if stream.codec_context is None:
        raise ClipError("the recording has an unknown codec; convert it, for instance to H.264")
    check_pixels(stream.width or 0, stream.height or 0)
    if stream.frames > MAX_FRAMES:
        raise ClipError(f"the recording has {stream.frames} frames by its header; cut it, {MAX_FRAMES} are the most")


def check_pixels(width: int, height: int) -> None:
    """Raise ClipError if a picture is too large to be decoded."""
    if width * height > MAX_PIXELS:
        most = f"{MAX_PIXELS // 1_000_000} megapixels are the most"
        raise ClipError(f"the picture has {width}×{height} pixels by its header; save it smaller, {most}")


def _check_duration(stream: Any, container: Any, start_s: float, end_s: float | None) -> None:
    ends = [time_s for time_s in (end_s, duration_s(stream, container)) if time_s is not None]
    if ends and min(ends) - start_s > MAX_DURATION_S:
        lasts = f"the recording lasts {min(ends) - start_s:.0f} s"
        raise ClipError(f"{lasts}; give ranges of at most {MAX_DURATION_S:.0f} s by start_s and end_s")


def decode_video(path: Path, start_s: float, end_s: float | None, counts: DecodeCounts) -> Iterator[TimedImage]:
    """Yield the frames of a video from the last key frame before a time, or from its beginning; count them."""
    with open_video(path) as container:
        stream = container.streams.video[0]
        _check_duration(stream, container, start_s, end_s)
        if start_s > _SEEK_S and _sought(container, stream, start_s):
            timed_images = _decoded(container, counts)
            first = next(timed_images, None)
            if first is not None and first[0] <= start_s:
                yield first
                yield from timed_images
                return
            counts.num_frames = counts.num_damaged = 0
    # a range near the start, or a seek that went too far
    with open_video(path) as container:
        yield from _decoded(container, counts)


def _sought(container: Any, stream: Any, start_s: float) -> bool:
    """Go to the last key frame before a time; return whether that is possible."""
    try:
        container.seek(int(start_s / stream.time_base) + (stream.start_time or 0), stream=stream)
    except (av.FFmpegError, OverflowError):
        return False
    return True


def _decoded(container: Any, counts: DecodeCounts) -> Iterator[TimedImage]:
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
            check_pixels(frame.width, frame.height)  # headers may be wrong
            if frame.pts is not None:
                last_s = float((frame.pts - start) * frame.time_base)
            elif counts.num_frames:
                last_s += float(1 / (stream.average_rate or 25))
            counts.num_frames += 1
            if counts.num_frames > MAX_FRAMES:
                raise ClipError(f"the recording has more than {MAX_FRAMES} frames; cut it")
            yield last_s, partial(_upright, frame, aspect)
    expected_s = duration_s(stream, container)
    counts.truncated = expected_s is not None and last_s < 0.9 * expected_s - 1


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


def duration_s(stream: Any, container: Any) -> float | None:
    """Return the duration in a video's header."""
    if stream.duration:
        return float(stream.duration * stream.time_base)
    return container.duration / av.time_base if container.duration else None
