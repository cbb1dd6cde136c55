"""Decoding of videos with FFmpeg: one demuxer by the first bytes, limits by the header, and damaged frames skipped."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Final, TypeAlias

import av
import cv2
import numpy as np
from av.video.reformatter import VideoReformatter

from vitau.errors import ClipError
from vitau.media.containers import Format, recognize_file
from vitau.media.crops import Image

MAX_PIXELS: Final = 100_000_000
"""Largest picture, by its header: a decoder takes six bytes per pixel."""
MAX_DURATION_S: Final = 4 * 3600.0
"""Longest range of a recording."""
MAX_FRAMES: Final = 2_000_000
"""Most frames of a recording, in its header or decoded."""

FIRST_FRAME: Final = "first frame at {} s"
"""The comment in the file of a cut range: the time of its first frame in the recording, as a fraction."""

_SEEK_S: Final = 10.0  # decoding up to an earlier start is faster than seeking

TimedImage: TypeAlias = tuple[float, Callable[[], Image]]
"""Time in s, and the function that converts the image, which is called only when it is sampled."""


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A decoded frame of FFmpeg, the aspect ratio of its pixels, and the converter that all frames of a recording share."""

    frame: Any
    aspect: float
    converter: VideoReformatter

    def upright(self) -> Image:
        """Return the picture (H, W, 3) uint8 RGB with square pixels, rotated according to its metadata.

        Raises:
            ClipError: it would be too large.
        """
        # one thread, as for decoding: for such small pictures, two wait for each other longer than they work
        converted: Any = self.converter.reformat(self.frame, format="rgb24", threads=1)
        image: Image = converted.to_ndarray()
        if not 0.99 < self.aspect < 1.01:
            size = (max(1, round(image.shape[1] * self.aspect)), image.shape[0])
            check_pixels(*size)  # an aspect ratio of 65535:1 is possible
            image = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
        return np.ascontiguousarray(np.rot90(image, round(self.frame.rotation / 90)))


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


def decode_video(
    path: Path, start_s: float, end_s: float | None, counts: DecodeCounts, *, is_cut: bool = False
) -> Iterator[TimedImage]:
    """Yield the images of a video as :func:`decode_frames` yields its frames."""
    for time_s, picture in decode_frames(path, start_s, end_s, counts, is_cut=is_cut):
        yield time_s, picture.upright


def decode_frames(
    path: Path, start_s: float, end_s: float | None, counts: DecodeCounts, *, is_cut: bool = False
) -> Iterator[tuple[float, Picture]]:
    """Yield the frames of a video from the last key frame before a time, or from its beginning; count them.

    Times start with the recording. The file of a cut range notes the time of its first frame.
    """
    with open_video(path) as container:
        stream = container.streams.video[0]
        if not is_cut:
            _check_duration(stream, container, start_s, end_s)
        origin = _first_frame(container) if is_cut else Fraction(0)
        if start_s - origin > _SEEK_S and _sought(container, stream, start_s - float(origin)):
            frames = _decoded(container, counts, origin)
            first = next(frames, None)
            if first is not None and first[0] <= start_s:
                yield first
                yield from frames
                return
            counts.num_frames = counts.num_damaged = 0
    # a range near the start, or a seek that went too far
    with open_video(path) as container:
        yield from _decoded(container, counts, _first_frame(container) if is_cut else Fraction(0))


def frame_times(path: Path, *, is_cut: bool = False) -> list[float]:
    """Return the times of the frames of a video in order, s, by the timestamps in its file: nothing is decoded.

    Raises:
        ClipError: it cannot be opened.
    """
    with open_video(path) as container:
        stream, counts = container.streams.video[0], DecodeCounts()
        first, start = _first_frame(container) if is_cut else Fraction(0), stream.start_time or 0
        packets = (packet for packet in _packets(container, stream, counts) if packet.pts is not None and not packet.is_discard)
        return sorted(float(first + (packet.pts - start) * packet.time_base) for packet in packets)


def _first_frame(container: Any) -> Fraction:
    found = re.fullmatch(FIRST_FRAME.format(r"(\d+/\d+)"), container.metadata.get("comment", ""))
    if found is None:
        raise ClipError("the file of the range does not say when its first frame was; cut it again from the recording")
    return Fraction(found[1])


def _sought(container: Any, stream: Any, start_s: float) -> bool:
    """Go to the last key frame before a time; return whether that is possible."""
    try:
        container.seek(int(start_s / stream.time_base) + (stream.start_time or 0), stream=stream)
    except (av.FFmpegError, OverflowError):
        return False
    return True


def _decoded(container: Any, counts: DecodeCounts, first: Fraction = Fraction(0)) -> Iterator[tuple[float, Picture]]:
    """Yield all frames from the current position of the container; skip and count damaged ones.

    ``first`` is the time of the first frame in s.
    """
    stream = container.streams.video[0]
    stream.codec_context.thread_count = 1  # clips are decoded in parallel processes: more threads would compete
    aspect = float(stream.sample_aspect_ratio or 1)
    start, last_s, converter = stream.start_time or 0, 0.0, VideoReformatter()
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
                last_s = float(first + (frame.pts - start) * frame.time_base)
            elif counts.num_frames:
                last_s += float(1 / (stream.average_rate or 25))
            counts.num_frames += 1
            if counts.num_frames > MAX_FRAMES:
                raise ClipError(f"the recording has more than {MAX_FRAMES} frames; cut it")
            yield last_s, Picture(frame, aspect, converter)
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


def duration_s(stream: Any, container: Any) -> float | None:
    """Return the duration in a video's header."""
    if stream.duration:
        return float(stream.duration * stream.time_base)
    return container.duration / av.time_base if container.duration else None
