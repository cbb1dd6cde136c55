"""Signs of drawn people whose weak half is known: what the weights learn from."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from vitau.errors import ClipError
from vitau.measures.evaluation.drawn import LOWER_FACE
from vitau.measures.geometry import Floats
from vitau.measures.landmarks.backend import LandmarkBackend
from vitau.measures.results import Series
from vitau.measures.series import ReadingState, read_series
from vitau.measures.sources import Part, Source
from vitau.measures.weakness.model import LabeledSigns
from vitau.measures.weakness.signs import FOREHEAD_SIGNS, measure_signs
from vitau.media.inputs import RecordingOptions
from vitau.media.synthetic.cohort import write_clip
from vitau.media.synthetic.people import Person, draw_person
from vitau.schema import Side

_SIDES = {None: 0, Side.RIGHT: 1, Side.LEFT: -1}


def draw_signs(
    num_people: int, seed: int, backend: LandmarkBackend, progress: Callable[[int, int], None] | None = None
) -> LabeledSigns:
    """Draw people, half of them with a palsy, and measure their clips; who cannot be measured is left out.

    Args:
        num_people: how many.
        seed: identifies the population.
        backend: where the landmarks come from.
        progress: called with (drawn, all).
    """
    people, signs = [], []
    with TemporaryDirectory() as folder:
        for index in range(num_people):
            person = draw_person(seed, index)
            own = _measure(person, Path(folder) / "clip.mp4", backend)
            if own is not None:
                people.append(person)
                signs.append(own)
            if progress is not None:
                progress(index + 1, num_people)
    return label_signs(people, np.array(signs))


def label_signs(people: list[Person], sign_PS: Floats) -> LabeledSigns:
    """Return signs (P, S) with the truth about their drawn people."""
    return LabeledSigns(
        sign_PS=sign_PS,
        side_P=np.array([_SIDES[person.side] for person in people]),
        regions={au: np.array([au in person.affected for person in people]) for au in FOREHEAD_SIGNS},
        lower_P=np.array([bool(person.affected & LOWER_FACE) for person in people]),
    )


def series_signs(series: Series) -> Floats | None:
    """Return the signs (S,) of the usable frames of a series; ``None`` if they are too few."""
    columns = {name: values[series.usable] for name, values in series.columns.items()}
    return measure_signs(columns, series.time_s[series.usable])


def _measure(person: Person, clip: Path, backend: LandmarkBackend) -> Floats | None:
    write_clip(clip, person)
    source = Source(item=person.subject, parts=(Part(path=clip, options=RecordingOptions()),))
    try:
        return series_signs(read_series(source, backend, ReadingState()))
    except ClipError:
        return None
