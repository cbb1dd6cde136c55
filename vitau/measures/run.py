"""Measurement of inputs one by one: from files to tables, with all that is skipped and its reason."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from vitau.errors import ClipError
from vitau.measures.analysis import FEWEST_FOR_MOVEMENT, Analysis, analyze
from vitau.measures.key_frames import read_key_frames
from vitau.measures.landmarks.backend import LandmarkBackend
from vitau.measures.results import TASK_WORDS, Exercise, PersonResult, Recording
from vitau.measures.series import RATE_FPS, ReadingState, read_series
from vitau.measures.sources import Source, SourceList
from vitau.measures.tables import TableWriter
from vitau.media.tracking.split import Split
from vitau.processes import parallel_map, single_threaded
from vitau.schema import Skipped


class Sink(Protocol):
    """A receiver of each recording after its measurement, such as a writer of tables or of a report."""

    def add(self, recording: Recording) -> None:
        """Take over a recording; it is not kept elsewhere."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """One measured input in short, for the terminal."""

    item: str
    visit: str | None
    person: PersonResult
    exercises: tuple[Exercise, ...]
    num_frames: int
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class MeasureResult:
    """Measured people, skipped inputs with their reasons, and the number of other files in folders."""

    people: tuple[Summary, ...]
    skipped: tuple[Skipped, ...]
    num_ignored: int


def _as_it_is(_source: Source, recording: Recording) -> Recording:
    return recording


def measure_sources(  # noqa: PLR0913 - an argument for each option of the command
    listed: SourceList,
    out: Path,
    *,
    backend: LandmarkBackend,
    rate_fps: float = RATE_FPS,
    sinks: Sequence[Sink] = (),
    finish: Callable[[Source, Recording], Recording] = _as_it_is,
    num_processes: int = 1,
    num_readers: int = 1,
    watch: Callable[[Iterable[Source], int], Iterable[Source]] = lambda sources, _: sources,
) -> MeasureResult:
    """Measure sources; write the tables into a folder, and hand each recording to the sinks, in the order of the sources.

    Only one recording per process is in memory, and one more. The number of processes changes no result. A file that cannot be
    measured is skipped, and its reason is listed.

    Args:
        listed: the sources, as :func:`vitau.measures.sources.list_sources` lists them.
        out: output folder; created if missing, earlier files are replaced.
        backend: where the landmarks come from.
        rate_fps: measured frames per second of clips.
        sinks: further receivers of each recording.
        finish: called with each recording by the process that measured it; returns what the tables and the sinks receive. It
            can be pickled.
        num_processes: that measure, each one source at a time in one thread.
        num_readers: processes that share a long clip, for each of them.
        watch: wraps the sources and their number to show progress.
    """
    out.mkdir(parents=True, exist_ok=True, mode=0o700)
    people: list[Summary] = []
    skipped = list(listed.skipped)
    split = Split(num_processes=num_readers)
    measure = partial(_measure_alone, backend=backend, rate_fps=rate_fps, split=split, finish=finish)
    num_processes = min(num_processes, max(len(listed.sources), 1))
    with TableWriter(out) as tables:
        measured = parallel_map(measure, listed.sources, num_processes, here=measure)
        for _, outcomes in zip(watch(listed.sources, len(listed.sources)), measured, strict=True):
            for outcome in outcomes:
                if isinstance(outcome, Skipped):
                    skipped.append(outcome)
                    continue
                for sink in (tables, *sinks):
                    sink.add(outcome)
                people.append(
                    Summary(
                        item=outcome.item,
                        visit=outcome.visit,
                        person=outcome.person,
                        exercises=outcome.exercises,
                        num_frames=len(outcome.series),
                        notes=outcome.notes,
                    )
                )
        tables.write_skipped(skipped)
    return MeasureResult(people=tuple(people), skipped=tuple(skipped), num_ignored=listed.num_ignored)


def _measure_alone(
    source: Source,
    *,
    backend: LandmarkBackend,
    rate_fps: float,
    split: Split,
    finish: Callable[[Source, Recording], Recording],
) -> list[Recording | Skipped]:
    with single_threaded():
        measured = measure_source(source, backend, rate_fps=rate_fps, split=split)
        return [one if isinstance(one, Skipped) else finish(source, one) for one in measured]


def measure_source(
    source: Source, backend: LandmarkBackend, *, rate_fps: float = RATE_FPS, split: Split | None = None
) -> Iterator[Recording | Skipped]:
    """Yield the recording of a source, unless nothing can be measured, and what of it is skipped."""
    state = ReadingState()
    try:
        series = read_series(source, backend, state, rate_fps=rate_fps, split=split)
    except ClipError as error:
        yield Skipped(item=source.item, reason=str(error))
        return
    yield from (
        Skipped(item=f"{source.item} ({part.path.name})" if len(source.parts) > 1 else source.item, reason=reason)
        for part, reason in state.problems
    )
    analysis = analyze(series)
    yield Recording(
        item=source.item,
        paths=tuple(dict.fromkeys(part.path for part in source.parts)),
        series=analysis.series,
        exercises=analysis.exercises,
        measures=analysis.measures,
        person=analysis.person,
        key_frames=read_key_frames(source, analysis, rate_fps=rate_fps),
        visit=source.visit,
        recorded_at=source.recorded_at,
        num_frames=state.num_frames,
        left_out=dict(state.left_out),
        notes=(*_notes(state), *_movement_notes(analysis)),
        backend=backend.name,
    )


def _notes(state: ReadingState) -> tuple[str, ...]:
    notes = []
    if state.decoded.truncated:
        notes.append("The recording ends long before the duration in its header; the readable frames were measured.")
    if state.decoded.num_damaged:
        notes.append(f"{state.decoded.num_damaged} damaged frames or packets were skipped.")
    if state.num_other_faces:
        notes.append("A photo shows several faces; only the main one was measured.")
    if state.left_out:
        reasons = ", ".join(f"{count} {reason}" for reason, count in state.left_out.most_common())
        notes.append(f"{state.left_out.total()} of {state.num_frames} frames are not measured ({reasons}).")
    return tuple(notes)


def _movement_notes(analysis: Analysis) -> tuple[str, ...]:
    notes = []
    if analysis.series.eye_distance_mm is None:
        notes.append("No iris was found for certain, so that there is no scale in mm.")
    missing = [TASK_WORDS[exercise.task] for exercise in analysis.exercises if not exercise.performed]
    if len(analysis.series) < FEWEST_FOR_MOVEMENT:
        notes.append("So few frames show no movement; without a stated exercise they are measured as a face at rest.")
    elif missing:
        notes.append(f"Not performed, or not recognized: {', '.join(missing)}.")
    return tuple(notes)
