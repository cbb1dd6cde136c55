"""The page docs/performance.md: what `vitau bench` measured, on which machine, and how close it is to the floors."""

import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final

from vitau.bench.measure import Case, Result, machine
from vitau.bench.run import notes_of, wanted
from vitau.errors import BenchError
from vitau.store.atomic import write_atomic

_DISTRIBUTIONS: Final = ("torch", "numpy", "opencv-python-headless", "dlib-bin", "av", "pyarrow")


def add_section(path: Path, command: str, result: Result | BenchError, *, now: datetime | None = None) -> None:
    """Write the result of a benchmark as a section of a Markdown page, atomically: in place of the one before, or at its end.

    A stopped `make bench` therefore keeps what it measured, and what it did not measure again. The page is created if missing.

    Args:
        path: the page.
        command: that measured, such as `vitau bench ingest`.
        result: of it; a benchmark that could not run is listed with its reason.
        now: time of the measurement; by default the current time.
    """
    _, *sections = path.read_text(encoding="utf-8").split("\n## ") if path.is_file() else [""]
    title = f"`{command}`"
    section = "\n".join([title, "", *_measured(result, now or datetime.now(UTC))])
    places = [number for number, before in enumerate(sections) if before.startswith(f"{title}\n")]
    place = places[0] if places else len(sections)
    sections[place : place + 1] = [section]
    write_atomic(path, ("\n\n## ".join([_head(), *(one.strip("\n") for one in sections)]) + "\n").encode())


def _head() -> str:
    versions = ", ".join(f"{name} {version(name)}" for name in _DISTRIBUTIONS)
    return "\n".join(
        [
            "# Performance",
            "",
            "`make bench` wrote this page. Do not edit it.",
            "",
            "Every figure is measured beside an honest baseline, in turns, in one run.",
            "Compare the ratios, not the rates. A floor is the rate of a part that no implementation can leave out.",
            "",
            f"Python {platform.python_version()}, {versions}.",
        ]
    )


def _measured(result: Result | BenchError, now: datetime) -> list[str]:
    on = machine()
    when = f"{now:%d %B %Y}; {on['cpu']}, {on['cores']} cores, load {on['load']} at the end."
    return [*(_not_run(result) if isinstance(result, BenchError) else _section(result)), "", when]


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
