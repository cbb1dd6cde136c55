"""Write the measures of people as the tables of `vitau measure`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from flows.measuring.people import PersonMeasures, VisitMeasures, people_measures
from flows.workspace import Workspace
from vitau.measures.analysis import Analysis
from vitau.measures.reporting.workbook import WorkbookWriter
from vitau.measures.results import Recording
from vitau.measures.stored import BACKEND
from vitau.measures.tables import TableWriter
from vitau.schema import Skipped, Visit

NO_VISIT: Final = "no clip of this visit has measures: run `python -m flows measures`, or record the visit again"


@dataclass(frozen=True, kw_only=True)
class ExportSummary:
    """The number of people in the tables, and the people and visits without measures, each with the reason."""

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
            if person.reason is not None:
                skipped.append(Skipped(item=person.subject, reason=person.reason))
                continue
            num_people += 1
            for of_visit in person.visits:
                name = _name(person, of_visit)
                if of_visit.analysis is None:
                    skipped.append(Skipped(item=name, reason=NO_VISIT))
                    continue
                recording = _recording(name, of_visit.visit, of_visit.analysis, person.notes)
                tables.add(recording)
                workbook.add(recording)
        tables.write_skipped(skipped)
        workbook.write_skipped(skipped)
    return ExportSummary(people=num_people, skipped=tuple(skipped))


def _name(person: PersonMeasures, of_visit: VisitMeasures) -> str:
    return person.subject if len(person.visits) == 1 else f"{person.subject}_{of_visit.visit.name or 'no-visit'}"


def _recording(name: str, visit: Visit, analysis: Analysis, notes: tuple[str, ...]) -> Recording:
    """Return the measures of one visit in the form in which the commands write those of a recording."""
    return Recording(
        item=name,
        paths=(),
        series=analysis.series,
        exercises=analysis.exercises,
        measures=analysis.measures,
        person=analysis.person,
        visit=visit.name,
        recorded_at=visit.recorded_at,
        num_frames=len(analysis.series),
        notes=notes,
        backend=BACKEND,
    )
