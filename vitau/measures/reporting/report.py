"""The pages of a measurement: one per person, and one that lists all people."""

import itertools
import re
from collections.abc import Container, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from vitau.measures.landmarks.backend import FLATTENED, Flattening
from vitau.measures.landmarks.stated import stated_flattening
from vitau.measures.movement.pattern import CAVEAT
from vitau.measures.reporting import summary, words
from vitau.measures.reporting.curves import HEIGHT, WIDTH, draw_curves
from vitau.measures.reporting.pages import render_page
from vitau.measures.reporting.pictures import measured_picture, mirrored_halves
from vitau.measures.results import TASK_WORDS, PersonResult, Recording
from vitau.schema import Skipped
from vitau.store.atomic import write_atomic

PAGE: Final = "report.html"
FOLDER: Final = "reports"


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """A key frame of the page: the measured face and the two mirrored halves, JPEG."""

    title: str
    time_s: float
    measured: bytes
    right_half: bytes
    left_half: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class ListedPerson:
    """A person in the list of all people; ``page`` is the address of the person's page, relative to the list."""

    item: str
    visit: str | None
    person: PersonResult
    num_findings: int
    num_frames: int
    page: str


class ReportWriter:
    """Writes a page per person and, at the end, the page that lists them; use it as a context manager.

    With one person, ``report.html`` is that person's page. With more, it lists them, and their pages are in ``reports/``.
    Pages show faces: they are readable by their owner only.
    """

    def __init__(self, out: Path) -> None:
        self._out = out
        self._people: list[ListedPerson] = []
        self._skipped: Sequence[Skipped] = ()
        self._last: str = ""

    def __enter__(self) -> Self:
        return self

    def add(self, recording: Recording) -> None:
        """Write the page of a person, rendered here unless the recording has it."""
        folder = self._out / FOLDER
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        name = file_name(recording.item, {Path(person.page).stem for person in self._people})
        self._last = recording.page or render_person(recording)
        write_atomic(folder / f"{name}.html", self._last)
        self._people.append(
            ListedPerson(
                item=recording.item,
                visit=recording.visit,
                person=recording.person,
                num_findings=len(summary.findings(recording)),
                num_frames=int(recording.series.usable.sum()),
                page=f"{FOLDER}/{name}.html",
            )
        )

    def write_skipped(self, skipped: Sequence[Skipped]) -> None:
        """Take over what was not measured, for the page that lists all people."""
        self._skipped = skipped

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        if error is None:
            alone = len(self._people) == 1 and not self._skipped
            write_atomic(self._out / PAGE, self._last if alone else render_list(self._people, self._skipped))


def file_name(item: str, used: Container[str] = ()) -> str:
    """Return the name of an input as a file name without suffix, with a number if that name is used."""
    stem = re.sub(r"[^\w.-]+", "_", item).strip("._")[:80] or "person"
    numbered = itertools.chain([stem], (f"{stem}-{number}" for number in itertools.count(2)))
    return next(name for name in numbered if name not in used)


def render_person(recording: Recording) -> str:
    """Render the page of one person, self-contained."""
    flattening = stated_flattening(recording.backend)
    return render_page(
        "report.html.j2",
        recording=recording,
        person=recording.person,
        findings=summary.findings(recording),
        synkinesis=summary.synkinesis(recording),
        larger_side=summary.larger_side,
        not_measurable=summary.not_measurable(recording),
        tables=summary.by_task(recording),
        pattern_caveat=CAVEAT,
        curves=draw_curves(recording),
        size=(WIDTH, HEIGHT),
        pictures=[_picture(recording, number) for number in range(len(recording.key_frames))],
        num_measured=int(recording.series.usable.sum()),
        flattening=flattening,
        kept=[] if flattening is None else _kept(flattening),
        performances=summary.performances(recording),
        comparison_words=summary.comparison_words,
    )


def render_list(people: Sequence[ListedPerson], skipped: Sequence[Skipped]) -> str:
    """Render the page that lists all people of a measurement, the most asymmetric movement first."""
    ordered = sorted(people, key=lambda listed: -(listed.person.asymmetry or 0.0))
    return render_page("people.html.j2", people=ordered, skipped=skipped)


def _picture(recording: Recording, number: int) -> Picture:
    frame = recording.key_frames[number]
    right, left = mirrored_halves(frame)
    return Picture(
        title=TASK_WORDS[frame.task],
        time_s=frame.time_s,
        measured=measured_picture(frame),
        right_half=right,
        left_half=left,
    )


def _kept(flattening: Flattening) -> list[tuple[str, float]]:
    """Return the measures with the share of the true difference between the sides that the landmarks keep."""
    return [(words.measure_words(name), flattening.kept[name].slope) for name in FLATTENED]
