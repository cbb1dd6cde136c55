"""Ranges of recordings: the frames of a range are stored without the rest of the recording, and without loss.

A longer recording may show other people, name them in its metadata, and let them be heard. So a clip with a time range is
stored as a new file with the pictures of its range only. It has no sound, no captions and no metadata of the recording.
"""

import errno
import io
import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from hashlib import blake2b
from itertools import chain
from pathlib import Path
from typing import Any, Final, TypeAlias

import av
import cv2
from av.video.frame import PictureType

from vitau.errors import ClipError, StoreError
from vitau.media.clips import SEQUENCE_SUFFIX, decode_sequence, kind_of, no_frame, within
from vitau.media.containers import storable_suffix
from vitau.media.crops import Image
from vitau.media.videos import FIRST_FRAME, DecodeCounts, Picture, decode_frames

VIDEO_SUFFIX: Final = ".mov"
"""QuickTime keeps exact timestamps, which Matroska rounds to milliseconds."""

_Fingerprint: TypeAlias = tuple[float, tuple[int, ...], bytes]
"""Time in s, shape and digest of a picture."""

_RGB: Final = "rgb24"
_FINEST: Final = 100_000  # least ticks per second, for frames whose times are not multiples of the time base
_TOO_LARGE: Final = (errno.EFBIG,)
_DISK_FULL: Final = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Encoding:
    """A way to store pictures without loss: in their own pixel format, or upright in RGB."""

    codec: str
    options: dict[str, str]
    upright: bool = False

    def takes(self, frame: Any) -> bool:
        """Return whether FFmpeg has the encoder, and the encoder accepts the pixel format of a frame."""
        try:
            formats = av.codec.Codec(self.codec, "w").video_formats or ()
        except ValueError:
            return False
        return self.upright or frame.format.name in {accepted.name for accepted in formats}


# no reordering of frames, so that timestamps need no edit list; captions of the recording would be copied
_LOSSLESS: Final = {"preset": "veryfast", "qp": "0", "bf": "0", "a53cc": "0"}
_ENCODINGS: Final = (
    _Encoding(codec="libx264", options=_LOSSLESS),
    _Encoding(codec="libx264rgb", options=_LOSSLESS, upright=True),
    _Encoding(codec="png", options={}, upright=True),
)
"""Tried in this order: the first that gives every picture back as it was is used."""


def range_suffix(path: Path, fps: float) -> str:
    """Return the end of the name under which a range of a recording is stored.

    A photo keeps its suffix, since a range says nothing about it. Which images of a sequence are in a range depends on ``fps``.

    Raises:
        ClipError: the recording is missing, empty, or not readable.
    """
    match kind_of(path):
        case "photo":
            return storable_suffix(path)
        case "sequence":
            return f"-{fps:g}{SEQUENCE_SUFFIX}"
    return VIDEO_SUFFIX


def cut_range(path: Path, out: Path, start_s: float | None, end_s: float | None, fps: float) -> None:
    """Write the frames of a range to a file of their own; ``sample_frames`` with ``is_cut`` gives the same frames from it.

    A video becomes a video in lossless H.264 or PNG, a sequence becomes a tar of PNG images, and a photo is copied.

    Args:
        path: the whole recording.
        out: the file to write, whose name ends with :func:`range_suffix`.
        start_s: start of the range, s from the start of the recording.
        end_s: end of the range, exclusive.
        fps: frames per second of an image sequence.

    Raises:
        ClipError: the recording cannot be decoded, has no frame in the range, or the range cannot be stored without loss.
        StoreError: the disk is full.
    """
    try:
        match kind_of(path):
            case "photo":
                out.write_bytes(path.read_bytes())
            case "sequence":
                _cut_sequence(path, out, start_s, end_s, fps)
            case _:
                _cut_video(path, out, start_s, end_s)
    except OSError as error:  # PyAV's errors of files are OSErrors too
        if error.errno in _DISK_FULL:
            reason = os.strerror(error.errno or 0)
            raise StoreError(f"the range of a clip cannot be written ({reason}); free space on the disk") from error
        if error.errno in _TOO_LARGE:
            raise ClipError(
                "its range is too large to be stored without loss; give a shorter range, "
                "or cut the recording with another program and list the file without a range"
            ) from error
        raise


def _cut_sequence(path: Path, out: Path, start_s: float | None, end_s: float | None, fps: float) -> None:
    written = False
    with tarfile.open(out, "w", format=tarfile.USTAR_FORMAT) as archive:
        for time_s, load in within(decode_sequence(path, fps, DecodeCounts()), start_s, end_s):
            png = cv2.imencode(".png", cv2.cvtColor(load(), cv2.COLOR_RGB2BGR))[1].tobytes()
            member = tarfile.TarInfo(f"{round(time_s * fps):08d}.png")  # its number in the sequence gives its time
            member.size = len(png)
            archive.addfile(member, io.BytesIO(png))
            written = True
    if not written:
        raise no_frame(start_s, end_s)


def _cut_video(path: Path, out: Path, start_s: float | None, end_s: float | None) -> None:
    for encoding in _ENCODINGS:
        frames = within(decode_frames(path, start_s or 0.0, end_s, DecodeCounts()), start_s, end_s)
        try:
            written = _encode(frames, out, encoding)
        except av.FFmpegError as error:
            if error.errno in (*_DISK_FULL, *_TOO_LARGE):
                raise
            continue
        if written == []:
            raise no_frame(start_s, end_s)
        if written is not None and written == _fingerprints(out):
            return
    raise ClipError(
        "its range cannot be stored without loss, as when the picture changes its size; "
        "cut the recording with another program, and list the file without a range"
    )


def _encode(frames: Iterator[tuple[float, Picture]], out: Path, encoding: _Encoding) -> list[_Fingerprint] | None:
    """Write frames to a video; return their fingerprints, ``None`` if this encoding cannot store them."""
    first = next(frames, None)
    if first is None:
        return []
    model = first[1].frame
    if not encoding.takes(model):
        return None
    written: list[_Fingerprint] = []
    ticks = model.time_base.denominator
    while ticks < _FINEST:
        ticks *= 10
    first_tick = last_tick = round(first[0] * ticks)
    with av.open(str(out), "w", format="mov", options={"fflags": "+bitexact"}) as container:  # the same bytes every time
        container.metadata["comment"] = FIRST_FRAME.format(f"{first_tick}/{ticks}")
        stream = _add_stream(container, first[1], encoding, Fraction(1, ticks))
        for time_s, picture in chain([first], frames):
            if (picture.frame.width, picture.frame.height) != (model.width, model.height):
                return None
            tick = round(time_s * ticks)
            if written and tick <= last_tick:  # it is never sampled: a frame that is not earlier came before
                continue
            image = picture.upright()
            written.append(_fingerprint(time_s, image))
            frame = av.VideoFrame.from_ndarray(image, format=_RGB) if encoding.upright else picture.frame
            frame.pts, frame.time_base, frame.pict_type = tick - first_tick, Fraction(1, ticks), PictureType.NONE
            container.mux(stream.encode(frame))
            last_tick = tick
        container.mux(stream.encode())
    return written


def _add_stream(container: Any, picture: Picture, encoding: _Encoding, time_base: Fraction) -> Any:
    model = picture.frame
    stream = container.add_stream(encoding.codec, rate=25, options=encoding.options)
    stream.time_base = stream.codec_context.time_base = time_base
    stream.codec_context.thread_count = 1  # clips are cut in parallel processes
    if encoding.upright:
        stream.height, stream.width = picture.upright().shape[:2]
        stream.pix_fmt = _RGB
        return stream
    stream.width, stream.height, stream.pix_fmt = model.width, model.height, model.format.name
    stream.codec_context.sample_aspect_ratio = Fraction(picture.aspect).limit_denominator(100_000)
    for name in ("color_range", "color_primaries", "color_trc", "colorspace"):
        setattr(stream.codec_context, name, getattr(model, name))
    if model.rotation:
        stream.set_display_rotation(model.rotation)
    return stream


def _fingerprints(path: Path) -> list[_Fingerprint] | None:
    """Return the fingerprints of the frames of a cut range, ``None`` if it cannot be read."""
    try:
        frames = decode_frames(path, 0.0, None, DecodeCounts(), is_cut=True)
        return [_fingerprint(time_s, picture.upright()) for time_s, picture in frames]
    except ClipError:
        return None


def _fingerprint(time_s: float, image: Image) -> _Fingerprint:
    return round(time_s, 6), image.shape, blake2b(image.tobytes(), digest_size=16).digest()
