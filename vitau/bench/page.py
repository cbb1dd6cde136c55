"""The page docs/performance.md: what `vitau bench` measured, on which machine, and how close it is to the floors."""

import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final

from vitau.bench.measure import Case, Result, machine
from vitau.bench.run import notes_of, wanted
from vitau.errors import BenchError
from vitau.store.atomic import write_atomic

_DISTRIBUTIONS: Final = ("torch", "numpy", "opencv-python-headless", "dlib-bin", "av", "pyarrow")


def write_page(path: Path, measured: Sequence[tuple[str, Result | BenchError]], *, now: datetime | None = None) -> None:
    """Write the results as Markdown; a benchmark that could not run is listed with its reason.

    Args:
        path: the page, written atomically.
        measured: name and result of each benchmark.
        now: time of the measurement; by default the current time.
    """
    on = machine()
    versions = ", ".join(f"{name} {version(name)}" for name in _DISTRIBUTIONS)
    date = f"{now or datetime.now(UTC):%d %B %Y}"
    lines = [
        "# Performance",
        "",
        "`make bench` wrote this page. Do not edit it.",
        "",
        "Every figure is measured beside an honest baseline, in turns, in one run.",
        "Compare the ratios, not the rates. A floor is the rate of a part that no implementation can leave out.",
        "",
        f"{date}; {on['cpu']}, {on['cores']} cores, load {on['load']} at the end.",
        f"Python {platform.python_version()}, {versions}.",
        "",
    ]
    for name, result in measured:
        lines += _titled(f"vitau bench {name}", result)
    write_atomic(path, "\n".join(lines).encode())


def add_section(path: Path, command: str, result: Result) -> None:
    """Add the result of another command to a page, atomically; an earlier result of that command is replaced.

    Raises:
        BenchError: there is no page.
    """
    if not path.is_file():
        raise BenchError(f"there is no page {path}: write it first with `vitau bench all --page {path}`")
    first, *sections = path.read_text(encoding="utf-8").split("\n## ")
    kept = [section for section in sections if not section.startswith(f"`{command}`")]
    page = "\n## ".join([first, *kept]).rstrip("\n") + "\n\n"
    write_atomic(path, (page + "\n".join(_titled(command, result))).encode())


def _titled(command: str, result: Result | BenchError) -> list[str]:
    return [f"## `{command}`", "", *(_not_run(result) if isinstance(result, BenchError) else _section(result)), ""]


def _not_run(error: BenchError) -> list[str]:
    return [f"Not measured: {error}."]


def _section(result: Result) -> list[str]:
    rows = [_row(case) for case in result.cases]
    about = f"{result.compared[0].upper()}{result.compared[1:]}. Difference: {result.difference}."
    table = [
        "| Case | Ratio | At least | Ours | Baseline | Unit | Difference | Rounds |",
        "|---|---:|---:|---:|---:|---|---:|---:|",
        *rows,
    ]
    notes = [f"* {note}" for case in result.cases for note in [*notes_of(case), *_shares(case)]]
    return [about, "", *table, *(["", *notes] if notes else [])]


def _row(case: Case) -> str:
    limit = wanted(case) or "–"
    cells = (
        case.name,
        f"{case.ratio:.2f}×",
        limit,
        f"{case.ours:.1f}",
        f"{case.baseline:.1f}",
        case.unit,
        f"{case.max_difference:.2g}",
    )
    return f"| {' | '.join(cells)} | {case.rounds} |"


def _shares(case: Case) -> list[str]:
    """Return how close ours comes to each floor, in one line."""
    if not case.floors:
        return []
    shares = ", ".join(f"{case.ours / floor:.0%} of {part}" for part, floor in case.floors.items())
    highest = ", ".join(f"{floor / case.baseline:.1f}× by {part}" for part, floor in case.floors.items())
    return [f"{case.name}: ours reaches {shares}; the ratio that each floor would permit is {highest}"]
