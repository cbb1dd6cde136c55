"""Measures of a person on the labeling page: tables and sentences, given as text, and their HTML."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_CELL = "padding:1px 10px 1px 0;text-align:left;vertical-align:top"
_NUMBER = "padding:1px 0 1px 10px;text-align:right;white-space:nowrap"
_SMALL = "margin:4px 0;font-size:13px;line-height:1.35"
_BOLD = "margin:8px 0 2px;font-weight:bold"


@dataclass(frozen=True, kw_only=True, slots=True)
class MeasureSection:
    """The measures of one visit as text.

    ``summary`` and ``notes`` are sentences above and below the table. ``groups`` holds a title and rows of as many cells as
    ``columns``.
    """

    summary: tuple[str, ...]
    columns: tuple[str, ...]
    groups: tuple[tuple[str, tuple[tuple[str, ...], ...]], ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class MeasureBlock:
    """The measures of a person on the page, by visit in the order of time; nothing in it identifies the person.

    ``version`` is that of the measures and is recorded with the answer.
    """

    version: str
    sections: tuple[MeasureSection, ...]
    notes: tuple[str, ...] = ()


def measure_html(block: MeasureBlock) -> str:
    """Return the block as HTML with styles of its own: pages of existing projects have none for it."""
    several = len(block.sections) > 1
    parts = [f'<p style="{_BOLD}">Measured by a program</p>']
    for number, section in enumerate(block.sections, start=1):
        title = f'<p style="{_BOLD}">Visit {number} of {len(block.sections)}</p>' if several else ""
        parts.append(f"{title}{_paragraphs(section.summary)}{_table(section)}{_paragraphs(section.notes)}")
    return f'<div class="vitau-measures">{"".join(parts)}{_paragraphs(block.notes)}</div>'


def _table(section: MeasureSection) -> str:
    if not section.groups:
        return ""
    lines = [_row(section.columns, tag="th")]
    for title, rows in section.groups:
        lines.append(f'<tr><th colspan="{len(section.columns)}" style="{_CELL};padding-top:6px">{escape(title)}</th></tr>')
        lines += [_row(row) for row in rows]
    return f'<table style="border-collapse:collapse;font-size:13px">{"".join(lines)}</table>'


def _row(cells: Sequence[str], *, tag: str = "td") -> str:
    first, *numbers = cells
    rest = "".join(f'<{tag} style="{_NUMBER}">{escape(cell)}</{tag}>' for cell in numbers)
    return f'<tr><{tag} style="{_CELL}">{escape(first)}</{tag}>{rest}</tr>'


def _paragraphs(sentences: Sequence[str]) -> str:
    return "".join(f'<p style="{_SMALL}">{escape(sentence)}</p>' for sentence in sentences)
