"""The consensus as a table, for spreadsheets: one row per person and visit, with what it waits for."""

import csv
import io
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from labeling.consensus.consensus import Consensus
from labeling.consensus.severity import CaseSeverity
from vitau.schema import AUS, FIRST_VISIT, REGION_NAMES, RegionLabels, safe_cell, split_case

COLUMNS: Final[Mapping[str, str]] = {
    "subject": "pseudonym",
    "visit": "visit as in the manifest, 1 where none is stated",
    "state": "labeled, adjudicated, waits for the adjudicator, or waits for readers",
    "side": "the person's own affected side: left, right or both",
    **{au.value: f"{REGION_NAMES[au]}: 1 affected, 0 not affected, empty if open or not to be told" for au in AUS},
    **{f"severity_{au}": f"{REGION_NAMES[au]}: 0 slight, 1 clear, 2 no movement; the readers' median" for au in AUS},
    **{
        f"synkinesis_{au}": f"{REGION_NAMES[au]}: 1 moves along with another, 0 does not; empty if readers differ" for au in AUS
    },
    "grade": "House–Brackmann, 1 to 6; the readers' median",
}
"""Columns and their meanings."""

_FIRST_NUMBER: Final = list(COLUMNS).index(AUS[0].value)


def consensus_rows(
    agreed: Consensus, cases: Collection[str], severities: Mapping[str, CaseSeverity] | None = None
) -> list[list[str]]:
    """Return the table in the order of pseudonyms and visits; people without any answer are in it too.

    Args:
        agreed: the consensus.
        cases: everyone to label, each at each visit.
        severities: what the readers' answers make of each labeled case; none by default.
    """
    labels = {label.case: label for label in agreed.labels}
    disputed = {case.case for case in agreed.disagreements}
    rows = []
    for case in sorted({*cases, *labels, *disputed}):
        label = labels.get(case)
        state = "waits for the adjudicator" if case in disputed else "waits for readers"
        if label is not None:
            state = "adjudicated" if case in agreed.adjudicated else "labeled"
        subject, visit = split_case(case)
        rows.append(
            [subject, visit or FIRST_VISIT, state, *_answers(label), *_severities((severities or {}).get(case, CaseSeverity()))]
        )
    return rows


def consensus_csv(rows: Sequence[Sequence[str]]) -> str:
    """Return the table as CSV; no cell is a formula to a spreadsheet."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerows([list(COLUMNS), *([safe_cell(cell) for cell in row] for row in rows)])
    return out.getvalue()


def consensus_xlsx(rows: Sequence[Sequence[str]]) -> bytes:
    """Return the table as a workbook, with a second sheet on what the columns mean."""
    import xlsxwriter

    out = io.BytesIO()
    texts_only = {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False}
    with xlsxwriter.Workbook(out, texts_only) as book:
        bold = book.add_format({"bold": True})
        sheets: dict[str, Sequence[Sequence[str]]] = {
            "consensus": [list(COLUMNS), *rows],
            "columns": [["column", "meaning"], *map(list, COLUMNS.items())],
        }
        for name, table in sheets.items():
            sheet = book.add_worksheet(name)
            sheet.freeze_panes(1, 0)
            for number, row in enumerate(table):
                for column, cell in enumerate(row):
                    value = float(cell) if name == "consensus" and column >= _FIRST_NUMBER and number and cell else cell
                    sheet.write(number, column, value, *([bold] if number == 0 else []))
            sheet.autofit()
    return out.getvalue()


def _answers(label: RegionLabels | None) -> list[str]:
    if label is None:
        return [""] * (1 + len(AUS))
    regions = [label.affected.get(au) for au in AUS]
    return [label.side.value if label.side else "", *("" if region is None else str(int(region)) for region in regions)]


def _severities(case: CaseSeverity) -> list[str]:
    values = [*(case.severity.get(au) for au in AUS), *(case.synkinesis.get(au) for au in AUS), case.grade]
    return ["" if value is None else f"{float(value):g}" for value in values]
