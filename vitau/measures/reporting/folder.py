"""Everything that `vitau measure` and the page of `vitau serve` write about sources, in one folder."""

from collections.abc import Callable, Iterable
from pathlib import Path

from vitau.measures.landmarks.backend import LandmarkBackend
from vitau.measures.reporting.report import ReportWriter
from vitau.measures.reporting.video import VideoWriter
from vitau.measures.reporting.workbook import WorkbookWriter
from vitau.measures.run import MeasureResult, Sink, measure_sources
from vitau.measures.sources import Source, SourceList


def measure_into(
    out: Path,
    listed: SourceList,
    backend: LandmarkBackend,
    *,
    video: bool = False,
    num_processes: int = 1,
    watch: Callable[[Iterable[Source], int], Iterable[Source]] = lambda sources, _: sources,
) -> MeasureResult:
    """Measure sources; write tables, workbook, report and, if asked, overlay videos into a folder.

    Args:
        out: output folder; created if missing, earlier files are replaced.
        listed: the sources, as :func:`vitau.measures.sources.list_sources` lists them.
        backend: where the landmarks come from.
        video: also write an overlay video of each recording.
        num_processes: that measure; their number changes no result.
        watch: wraps the sources and their number to show progress.
    """
    with ReportWriter(out) as report, WorkbookWriter(out) as workbook:
        sinks: tuple[Sink, ...] = (report, workbook, *([VideoWriter(out, listed.sources)] if video else []))
        result = measure_sources(listed, out, backend=backend, sinks=sinks, num_processes=num_processes, watch=watch)
        report.write_skipped(result.skipped)
        workbook.write_skipped(result.skipped)
    return result
