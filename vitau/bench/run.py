"""Benchmarks by name, and the output of `vitau bench`."""

import importlib
import json
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

from vitau.bench.measure import Case, Result, Watch, as_record
from vitau.errors import BenchError

LONG_S: Final = 600.0
"""Duration of the long clip, s."""
BENCHES: Final[Mapping[str, tuple[str, Mapping[str, Any]]]] = MappingProxyType(
    {
        "ingest": ("ingest", {}),
        "ingest-hog0": ("ingest", {"name": "ingest-hog0", "upsample": 0, "at_least": 3.0}),
        "ingest-long": (
            "ingest",
            {"name": "ingest-long", "upsample": 0, "at_least": 4.0, "duration_s": LONG_S, "rounds": 1, "zooms": (1.0,)},
        ),
        "frames": ("frames", {}),
        "faces": ("faces", {}),
        "decode": ("decode", {}),
        "heatmaps": ("heatmaps", {}),
        "gradcam": ("gradcam", {}),
        "regions": ("regions", {}),
        "regions-full": ("regions", {"name": "regions-full", "recipe": "paper-regions", "rounds": 1}),
        "loader": ("pipelines.loader", {}),
        "score": ("pipelines.score", {}),
        "crossvalidate": ("pipelines.crossvalidate", {}),
        "cores": ("pipelines.cores", {}),
        "growth": ("pipelines.growth", {}),
    }
)
"""Name of a benchmark → its module and the arguments of its function ``bench``."""


def run(name: str, rounds: int | None, watch: Watch) -> Iterator[tuple[str, Result | BenchError]]:
    """Run one benchmark, or all of them in order; yield each name with its result.

    An error takes the place of a result that cannot be measured here.

    Raises:
        ValueError: there is no bench of that name, or there are no rounds.
    """
    if name not in {*BENCHES, "all"}:
        raise ValueError(f"there is no bench {name!r}; take one of {', '.join(BENCHES)}, or all")
    if rounds is not None and rounds < 1:
        raise ValueError(f"{rounds} rounds measure nothing; give 1 or more")
    for one in BENCHES if name == "all" else (name,):
        module, options = BENCHES[one]
        bench = importlib.import_module(f"vitau.bench.{module}").bench  # torch, dlib: only for what is measured
        arguments = options if rounds is None else {**options, "rounds": rounds}
        try:
            yield one, bench(watch=watch, **arguments)
        except BenchError as error:
            yield one, error


def as_json(result: Result) -> str:
    """Return a result as one line of JSON."""
    return json.dumps(as_record(result), ensure_ascii=False)


def as_table(result: Result) -> Any:
    """Return a result as a table, with the comparisons, the floors and the machine below it."""
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(title=result.compared, title_justify="left", box=box.SIMPLE)
    table.add_column(result.name)
    for column in ("ratio", "at least", "ours", "baseline", "", "difference", "rounds"):
        table.add_column(column, justify="left" if column == "" else "right")
    for case in result.cases:
        row = (f"{case.ratio:.1f}×", wanted(case), f"{case.ours:.1f}", f"{case.baseline:.1f}", case.unit)
        table.add_row(case.name, *row, f"{case.max_difference:.1g}", str(case.rounds))
    on = as_record(result)["machine"]
    machine = f"{on['cpu']}, {on['cores']} cores, {on['torch_threads']} torch threads, load {on['load']}."
    notes = [note for case in result.cases for note in notes_of(case)]
    about = f"Ratio: median of the rounds' ratios. Difference: {result.difference}."
    return Group(table, Text("\n".join([*notes, machine, about]), style="dim"))


def notes_of(case: Case) -> list[str]:
    """Return the further comparisons and the floors of a case, a line each."""
    agreement = [f"{key.replace('_', ' ')} {value:.3g}" for key, value in case.agreement.items()]
    floors = [f"{part} {value:.1f} {case.unit}" for part, value in case.floors.items()]
    lines = [", ".join(agreement), "floors: " + ", ".join(floors) if floors else ""]
    return [f"{case.name}: {line}" for line in lines if line]


def wanted(case: Case) -> str:
    """Return the wanted ratio and whether it is missed."""
    return "" if case.at_least is None else f"{case.at_least:.3g}×{' MISSED' if case.missed else ''}"
