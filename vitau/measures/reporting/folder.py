"""Everything that `vitau measure` and the page of `vitau serve` write about sources, in one folder."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from vitau.measures.landmarks.backend import LandmarkBackend
from vitau.measures.reporting.report import ReportWriter, file_name, render_person
from vitau.measures.reporting.video import write_video
from vitau.measures.reporting.workbook import WorkbookWriter
from vitau.measures.results import Recording
from vitau.measures.run import MeasureResult, measure_sources
from vitau.measures.sources import Source, SourceList


def measure_into(
    out: Path,
    listed: SourceList,
    backend: LandmarkBackend,
    *,
    video: bool = False,
    num_processes: int = 1,
    num_readers: int = 1,
    watch: Callable[[Iterable[Source], int], Iterable[Source]] = lambda sources, _: sources,
) -> MeasureResult:
    """Measure sources; write tables, workbook, report and, if asked, overlay videos into a folder.

    Args:
        out: output folder; created if missing, earlier files are replaced.
        listed: the sources, as :func:`vitau.measures.sources.list_sources` lists them.
        backend: where the landmarks come from.
        video: also write an overlay video of each recording.
        num_processes: that measure; their number changes no result.
        num_readers: processes that share a long clip, for each of them.
        watch: wraps the sources and their number to show progress.
    """
    with ReportWriter(out) as report, WorkbookWriter(out) as workbook:
        result = measure_sources(
            listed,
            out,
            backend=backend,
            sinks=(report, workbook),
            finish=_Pictures(out=out, videos=video_names(listed.sources) if video else {}),
            num_processes=num_processes,
            num_readers=num_readers,
            watch=watch,
        )
        report.write_skipped(result.skipped)
        workbook.write_skipped(result.skipped)
    return result


def video_names(sources: Iterable[Source]) -> dict[Source, str]:
    """Return the file name of each source's video, without suffix."""
    names: dict[Source, str] = {}
    for source in sources:
        names[source] = file_name(source.item, names.values())
    return names


@dataclass(frozen=True, kw_only=True, slots=True)
class _Pictures:
    """The page and the video of a recording, made by the process that measured it: they take longer than all tables."""

    out: Path
    videos: Mapping[Source, str]

    def __call__(self, source: Source, recording: Recording) -> Recording:
        """Write the video, if there is to be one; return the recording with its page and without its pictures."""
        if source in self.videos:
            write_video(self.out, self.videos[source], source, recording)
        return replace(recording, page=render_person(recording), key_frames=())
