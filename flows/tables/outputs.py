"""Outputs of tables: a Markdown, a CSV and an SVG file of each, and one page of all as Markdown and as HTML."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from flows.tables.figures import figure
from flows.tables.results import Table, TableRow
from flows.tables.words import (
    HEADINGS,
    cells,
    facts,
    has_regions,
    header,
    notes,
    region_cells,
    region_header,
)
from vitau.evaluation.crossvalidation.pooled import Pooled, SeedEstimate
from vitau.pages import page_environment
from vitau.schema import AU, AUS
from vitau.store.atomic import make_private_folders, write_atomic

PAGE: Final = "tables.html"
MARKDOWN: Final = "tables.md"
COLUMNS: Final = (
    *("table", "method", "title", "level", "region", "metric", "value", "low", "high", "sd", "seeds"),
    *("paper_percent", "paper_meaning", "protocol", "people", "frames", "parameters", "seconds", "synthetic", "reason"),
)
"""Columns of a table's CSV file: a line per metric, or one with the reason why the method has none."""


def write_outputs(tables: Sequence[Table], out: Path) -> None:
    """Write the tables into a folder, readable by their owner only.

    Each table has a Markdown, a CSV and an SVG file with its name. All tables are in ``tables.md`` and in ``tables.html``.
    """
    make_private_folders(out)
    for table in tables:
        write_atomic(out / f"{table.name}.md", markdown([table]))
        write_atomic(out / f"{table.name}.csv", csv_table(table))
        write_atomic(out / f"{table.name}.svg", figure(table))
    write_atomic(out / MARKDOWN, markdown(tables))
    write_atomic(out / PAGE, page(tables))


def markdown(tables: Sequence[Table], command: str | None = None) -> str:
    """Return tables as a page of Markdown.

    Args:
        tables: of one plan.
        command: that wrote them, for a page among the documents.
    """
    lines = ["# Every row of the paper's tables, on the same people", ""]
    if command is not None:
        lines += [f"`{command}` wrote this page. Do not edit it.", ""]
    lines += [line for sentence in facts(tables) for line in (sentence, "")]
    for table in tables:
        lines += [f"## {HEADINGS[table.name]}", "", *(line for note in notes(table) for line in (note, ""))]
        lines += [*_markdown_table(header(table), [cells(table, row) for row in table.rows]), ""]
        if has_regions(table):
            lines += ["Accuracy by region, percent:", ""]
            lines += _markdown_table(region_header(), [line for row in table.finished for line in region_cells(row)])
            lines += [""]
    return "\n".join(lines)


def csv_table(table: Table) -> str:
    """Return every metric of a table as a line of CSV."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n", restval="")
    writer.writeheader()
    for row in table.rows:
        writer.writerows(_lines(table, row))
    return out.getvalue()


def _lines(table: Table, row: TableRow) -> Iterator[dict[str, Any]]:
    about: dict[str, Any] = {"table": table.name, "method": row.name, "title": row.title, "protocol": str(table.plan.protocol)}
    about["synthetic"] = str(table.plan.people.synthetic).lower()
    if row.published is not None:
        about |= {"paper_percent": row.published.value, "paper_meaning": row.published.meaning}
    if row.by_person is None or row.by_frame is None:
        yield about | {"reason": row.reason}
        return
    about |= {"parameters": row.num_parameters, "seconds": f"{row.seconds:.2f}"}
    for pooled in (row.by_person, row.by_frame):
        for region, metrics in {"": pooled.metrics, **pooled.by_question}.items():
            percent = row.paper_percent(AU(region)) if region in AUS else None
            paper = {"paper_percent": "" if percent is None else percent} if region else {}
            for metric, estimate in metrics.items():
                yield about | paper | _numbers(pooled, estimate) | {"region": region, "metric": metric}


def _numbers(pooled: Pooled, estimate: SeedEstimate) -> dict[str, Any]:
    low, high = estimate.interval or (None, None)
    numbers: Mapping[str, float | None] = {"value": estimate.value, "low": low, "high": high, "sd": estimate.sd}
    return {
        **{name: "" if number is None else f"{number:.6f}" for name, number in numbers.items()},
        "level": pooled.level,
        "seeds": pooled.num_seeds,
        "people": pooled.num_people,
        "frames": pooled.num_frames,
    }


def page(tables: Sequence[Table]) -> str:
    """Render tables as one self-contained HTML page; no pseudonym is on it."""
    return (
        page_environment(Path(__file__).parent)
        .get_template("tables.html.j2")
        .render(
            tables=tables,
            synthetic=tables[0].plan.people.synthetic,
            num_erased=tables[0].plan.people.num_erased,
            headings=HEADINGS,
            facts=[sentence.replace("`", "") for sentence in facts(tables)],
            notes={table.name: [note.replace("`", "") for note in notes(table)] for table in tables},
            header=header,
            cells=lambda table, row: [cell.replace("`", "") for cell in cells(table, row)],
            has_regions=has_regions,
            region_header=region_header(),
            region_cells=region_cells,
            figure=figure,
        )
    )


def _markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(head)} |", "|" + "---|" * len(head), *(f"| {' | '.join(row)} |" for row in rows)]
