"""The figures of tables as SVG, in the paper's form: bars of accuracy by region (its Fig. 6 and 8), or by method.

A bar is ours, its line the 95 % interval, and a diamond the paper's number.
"""

from collections.abc import Iterator, Sequence
from html import escape
from typing import Final

from flows.tables.results import MAIN, Table, TableRow
from flows.tables.words import HEADINGS, has_regions, percent
from vitau.evaluation.crossvalidation.pooled import SeedEstimate
from vitau.schema import PAPER_AUS

COLORS: Final = (
    *("#4e79a7", "#f28e2b", "#59a14f", "#e15759", "#b07aa1"),
    *("#9c755f", "#edc948", "#76b7b2", "#ff9da7", "#79706e"),
)
_STYLE: Final = (
    "<style>svg { font: 12px system-ui, sans-serif; } text { fill: #22262b; } .soft { fill: #5d6670; } "
    ".axis { stroke: #c9c5bc; } .range { stroke: #22262b; } .paper { fill: #fff; stroke: #22262b; } "
    "@media screen and (prefers-color-scheme: dark) { text { fill: #e6e4df; } .soft { fill: #a1a8b0; } "
    ".axis { stroke: #464b52; } .range { stroke: #e6e4df; } .paper { fill: #16181b; stroke: #e6e4df; } }</style>"
)
_WIDTH: Final = 1060
_BAR: Final = (9.0, 26.0)
"""Least and largest width of a bar, px."""
_GAP: Final = 18
_PLOT: Final = 240
_LEFT: Final = 44
_TOP: Final = 14


def figure(table: Table) -> str:
    """Return the figure of a table: bars by region where the paper's table has columns of regions, else by method."""
    return _by_region(table) if has_regions(table) else _by_method(table)


def _by_region(table: Table) -> str:
    rows = table.finished
    num_groups, num_bars = len(PAPER_AUS) + 1, max(1, len(rows))
    bar = min(max(((_WIDTH - _LEFT) / num_groups - _GAP) / num_bars, _BAR[0]), _BAR[1])
    group = max(num_bars * bar + _GAP, (_WIDTH - _LEFT) / num_groups)
    width = _LEFT + group * num_groups
    parts = list(_grid(width))
    for number, au in enumerate([*PAPER_AUS, None]):
        name = "mean of 7" if au is None else str(au)
        start = _LEFT + number * group + (group - num_bars * bar) / 2
        parts.append(_text(_LEFT + (number + 0.5) * group, _TOP + _PLOT + 18, name, anchor="middle"))
        for column, row in enumerate(rows):
            estimate = row.metric(MAIN["regions"]) if au is None else row.region(au)
            color = COLORS[column % len(COLORS)]
            parts += _bar(start + column * bar, bar, color, f"{row.title}, {name}", estimate, row.paper_percent(au))
    legend = list(_legend(rows, width, _TOP + _PLOT + 44))
    height = _TOP + _PLOT + 44 + 20 * -(-(len(rows) + 1) // 4)
    return _svg(table, width, height, [*parts, *legend])


def _grid(width: float) -> Iterator[str]:
    for value in range(0, 101, 20):
        y = _TOP + _PLOT * (1 - value / 100)
        yield f'<line class="axis" x1="{_LEFT}" x2="{width:.0f}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield _text(_LEFT - 6, y + 4, str(value), anchor="end", soft=True)


def _bar(x: float, bar: float, color: str, name: str, estimate: SeedEstimate, paper: float | None) -> list[str]:
    parts = []
    if estimate.value is not None:
        height, middle = _PLOT * estimate.value, x + bar / 2
        parts.append(
            f'<rect x="{x:.1f}" y="{_TOP + _PLOT - height:.1f}" width="{bar - 1:.1f}" height="{height:.1f}" fill="{color}">'
            f"<title>{escape(name)}: {escape(percent(estimate))} %</title></rect>"
        )
        if estimate.interval is not None:
            low, high = (_TOP + _PLOT * (1 - end) for end in estimate.interval)
            parts.append(f'<line class="range" x1="{middle:.1f}" x2="{middle:.1f}" y1="{low:.1f}" y2="{high:.1f}"/>')
    if paper is not None:
        parts.append(_diamond(x + bar / 2, _TOP + _PLOT * (1 - paper / 100), f"{name}: the paper's {paper:.2f} %"))
    return parts


def _legend(rows: Sequence[TableRow], width: float, top: float) -> Iterator[str]:
    step = (width - _LEFT) / 4
    for number, row in enumerate(rows):
        x, y = _LEFT + step * (number % 4), top + 20 * (number // 4)
        yield f'<rect x="{x:.1f}" y="{y - 10:.1f}" width="11" height="11" fill="{COLORS[number % len(COLORS)]}"/>'
        yield _text(x + 17, y, row.title)
    x, y = _LEFT + step * (len(rows) % 4), top + 20 * (len(rows) // 4)
    yield _diamond(x + 5, y - 4, "the paper's number")
    yield _text(x + 17, y, "the paper's number")


def _by_method(table: Table) -> str:
    label, line, plot = 240, 26, _WIDTH - 240 - 190
    parts = []
    for value in range(0, 101, 20):
        x = label + plot * value / 100
        parts.append(f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{_TOP + line * len(table.rows)}"/>')
        parts.append(_text(x, _TOP + line * len(table.rows) + 16, str(value), anchor="middle", soft=True))
    for number, row in enumerate(table.rows):
        middle = _TOP + line * number + line / 2
        estimate = row.metric(MAIN[table.task])
        parts.append(_text(label - 10, middle + 4, row.title, anchor="end"))
        if estimate.value is not None:
            low, high = estimate.interval or (estimate.value, estimate.value)
            color = COLORS[1] if row is table.own else COLORS[0]
            parts.append(
                f'<rect x="{label}" y="{middle - 6:.1f}" width="{plot * estimate.value:.1f}" height="12" fill="{color}"/>'
            )
            start, end = label + plot * low, label + plot * high
            parts.append(f'<line class="range" x1="{start:.1f}" x2="{end:.1f}" y1="{middle:.1f}" y2="{middle:.1f}"/>')
        words = "not run" if row.by_person is None else percent(estimate)
        parts.append(_text(label + plot + 14, middle + 4, words))
        if row.published is not None:
            x = label + plot * row.published.value / 100
            parts.append(_diamond(x, middle, f"{row.title}: the paper's {row.published.value:.2f} %"))
    bottom = _TOP + line * len(table.rows) + 40
    parts.append(_diamond(label + 5, bottom - 4, "the paper's number"))
    parts.append(_text(label + 17, bottom, "the paper's number, which is something else: see the table"))
    return _svg(table, _WIDTH, bottom + 12, parts)


def _text(x: float, y: float, words: str, *, anchor: str = "start", soft: bool = False) -> str:
    kind = ' class="soft"' if soft else ""
    return f'<text{kind} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def _diamond(x: float, y: float, name: str) -> str:
    corners = f"{x:.1f},{y - 5:.1f} {x + 5:.1f},{y:.1f} {x:.1f},{y + 5:.1f} {x - 5:.1f},{y:.1f}"
    return f'<polygon class="paper" points="{corners}"><title>{escape(name)}</title></polygon>'


def _svg(table: Table, width: float, height: float, parts: Sequence[str]) -> str:
    title = f"{HEADINGS[table.name]}: accuracy in percent, with 95 % intervals"
    box = f'viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label="{escape(title)}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {box}>'
        f"<title>{escape(title)}</title>{_STYLE}\n" + "\n".join(parts) + "\n</svg>\n"
    )
