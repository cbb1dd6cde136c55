"""Write the measures of people as the tables of `vitau measure`."""

from dataclasses import dataclass
from pathlib import Path

from flows.measuring.people import PersonMeasures, people_measures
from flows.workspace import Workspace
from vitau.measures.analysis import Analysis
from vitau.measures.reporting.workbook import WorkbookWriter
from vitau.measures.results import Recording
from vitau.measures.stored import BACKEND
from vitau.measures.tables import TableWriter
from vitau.schema import Skipped


@dataclass(frozen=True, kw_only=True)
class ExportSummary:
    """The number of people in the tables, and those without measures, each with the reason."""

    people: int
    skipped: tuple[Skipped, ...]


def export_measures(workspace: Workspace, out: Path) -> ExportSummary:
    """Write the tables and the workbook of everyone into a folder; people are named by their pseudonym.

    Args:
        workspace: the rows and the objects.
        out: created if missing; earlier files are replaced. Only its owner can read the files.

    Raises:
        StoreError: the measures of a clip cannot be read.
    """
    out.mkdir(parents=True, exist_ok=True, mode=0o700)
    skipped = []
    num_people = 0
    with TableWriter(out) as tables, WorkbookWriter(out) as workbook:
        for person in people_measures(workspace).values():
            if person.analysis is None:
                assert person.reason is not None, "it has no analysis"
                skipped.append(Skipped(item=person.subject, reason=person.reason))
                continue
            recording = recording_of(person, person.analysis)
            tables.add(recording)
            workbook.add(recording)
            num_people += 1
        tables.write_skipped(skipped)
        workbook.write_skipped(skipped)
    return ExportSummary(people=num_people, skipped=tuple(skipped))


def recording_of(person: PersonMeasures, analysis: Analysis) -> Recording:
    """Return the measures of a person in the form in which the commands write those of a recording."""
    return Recording(
        item=person.subject,
        paths=(),
        series=analysis.series,
        exercises=analysis.exercises,
        measures=analysis.measures,
        person=analysis.person,
        num_frames=len(analysis.series),
        notes=person.notes,
        backend=BACKEND,
    )
