"""The work on one recording of a session: what ``vitau measure`` and ``vitau score`` do, in a process of its own."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from vitau.errors import ClipError
from vitau.measures.landmarks.backend import Flattening, LandmarkBackend, Points
from vitau.measures.landmarks.choice import open_backend
from vitau.measures.reporting.folder import measure_into
from vitau.measures.series import RATE_FPS
from vitau.measures.sources import list_sources
from vitau.media.clips import probe, read_encoding
from vitau.media.crops import Image
from vitau.media.faces import FaceCrop
from vitau.media.inputs import RecordingOptions

Progress = Callable[[int, int], None]


def measure(
    recording: Path, results: Path, options: Mapping[str, Any], progress: Progress, *, model: Path | None = None
) -> None:
    """Measure a recording, and score it if there is a model.

    Args:
        recording: photo or clip.
        results: folder for the files, made by this function.
        options: ``mirrored``, and ``video`` for the overlay video.
        progress: called with the number of measured frames and of all, 0 while unknown.
        model: folder of a model.

    Raises:
        ClipError: nothing can be measured.
    """
    how = RecordingOptions(mirrored=bool(options.get("mirrored")))
    backend = _Counting(open_backend(), progress, num_frames(recording))
    measured = measure_into(results, list_sources([recording], how), backend, video=bool(options.get("video")))
    if not measured.people:
        raise ClipError("; ".join(skipped.reason for skipped in measured.skipped))
    if model is not None:
        _score(model, recording, results / "scores", how)


def num_frames(recording: Path) -> int:
    """Return how many frames are measured by the recording's header, 0 if it does not say.

    Raises:
        ClipError: the recording cannot be read.
    """
    found = probe(recording)
    if found.kind == "photo":
        return 1
    rate = read_encoding(recording).frame_rate
    return round(found.duration_s * min(rate, RATE_FPS)) if found.duration_s and rate else 0


def _score(model: Path, recording: Path, out: Path, options: RecordingOptions) -> None:
    from vitau.scoring.batch import score_inputs  # torch, which measuring alone may not need
    from vitau.scoring.predict import Predictor

    score_inputs(Predictor(model), [recording], out, model_name=model.name, options=options)


class _Counting:
    """A landmark backend that reports the number of each frame that it is asked for."""

    def __init__(self, backend: LandmarkBackend, progress: Progress, total: int) -> None:
        self._backend, self._progress, self._total = backend, progress, total
        self.name = backend.name

    @property
    def flattening(self) -> Flattening | None:
        """Flattening of the backend."""
        return self._backend.flattening

    def points(self, image: Image, face: FaceCrop, frame_index: int = 0, clip: str = "") -> Points | None:
        """Return the points of the backend."""
        self._progress(frame_index + 1, max(self._total, frame_index + 1))
        return self._backend.points(image, face, frame_index, clip)
