"""Fixtures of the media tests: synthetic images and small videos."""

import resource
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from vitau.media.synthetic.drawing import draw_frame
from vitau.media.synthetic.people import draw_person

WriteVideo = Callable[..., Path]


@pytest.fixture(scope="session")
def smiles() -> dict[int, list[np.ndarray]]:
    """Draw three synthetic people, four 640×480 RGB frames of a smile per person."""
    people = {index: draw_person(1, index) for index in (3, 4, 5)}
    return {index: [draw_frame(person, "smile", a).image for a in (0.0, 0.3, 0.6, 0.9)] for index, person in people.items()}


@contextmanager
def full_disk() -> Iterator[None]:
    """Limit files of this process to 4 kB, which fails like a full disk.

    Not a fixture: pytest writes its output before it leaves the fixtures, and its output may be a long file.
    """
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def write_video(tmp_path: Path) -> WriteVideo:
    """Write images as a video, at ``times_s`` or at ``fps``."""

    def write(
        images: Sequence[np.ndarray], *, name: str = "clip.mp4", fps: int = 30, times_s: Sequence[float] | None = None
    ) -> Path:
        path = tmp_path / name
        height, width = images[0].shape[:2]
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=fps, options={"preset": "ultrafast", "g": "10"})
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
            for index, image in enumerate(images):
                frame = av.VideoFrame.from_ndarray(image, format="rgb24")
                frame.time_base = Fraction(1, 1000)
                frame.pts = round(1000 * (times_s[index] if times_s is not None else index / fps))
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        return path

    return write


def numbered(num: int, width: int = 64, height: int = 48) -> list[np.ndarray]:
    """Return plain frames whose gray level encodes their number, 4 levels apart."""
    return [np.full((height, width, 3), 4 * index % 256, np.uint8) for index in range(num)]
