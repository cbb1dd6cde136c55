"""Cells of CSV files that no spreadsheet takes for formulas."""

import re
from typing import Final

_FORMULA: Final = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]")
_NUMBER: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def safe_cell(text: str) -> str:
    """Return a text as a cell of a CSV file that no spreadsheet takes for a formula: with an apostrophe before it.

    Numbers stay numbers. :func:`restored_cell` is the inverse.
    """
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def restored_cell(cell: str) -> str:
    """Return the text of a cell that :func:`safe_cell` made."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell
