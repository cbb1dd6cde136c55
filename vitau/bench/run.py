"""Benchmarks by name, and the output of `vitau bench`."""

import importlib
import json
from collections.abc import Iterator
from typing import Any, Final

from vitau.bench.measure import Result, Watch, as_record
from vitau.errors import BenchError

BENCHES: Final = ("frames", "gradcam", "regions")


def run(name: str, rounds: int | None, watch: Watch) -> Iterator[Result | BenchError]:
    """Run one benchmark, or all of them in order; yields an error in place of a result that cannot be measured here.

    Raises:
        ValueError: there is no bench of that name, or there are no rounds.
    """
    if name not in {*BENCHES, "all"}:
        raise ValueError(f"there is no bench {name!r}; take one of {', '.join(BENCHES)}, or all")
    if rounds is not None and rounds < 1:
        raise ValueError(f"{rounds} rounds measure nothing; give 1 or more")
    for module in BENCHES if name == "all" else (name,):
        bench = importlib.import_module(f"vitau.bench.{module}").bench  # torch, dlib: only for what is measured
        try:
            yield bench(watch=watch) if rounds is None else bench(rounds=rounds, watch=watch)
        except BenchError as error:
            yield error


def as_json(result: Result) -> str:
    """Return a result as one line of JSON."""
    return json.dumps(as_record(result), ensure_ascii=False)


def as_table(result: Result) -> Any:
    """Return a result as a table with the machine below it."""
    from rich import box
    from rich.table import Table

    on = as_record(result)["machine"]
    table = Table(
        title=result.compared,
        title_justify="left",
        caption=f"{on['cpu']}, {on['cores']} cores, {on['torch_threads']} torch threads, load {on['load']}. "
        f"Ratio: median of the rounds' ratios. Difference: {result.difference}.",
        caption_justify="left",
        box=box.SIMPLE,
    )
    table.add_column(result.name)
    for column in ("ratio", "ours", "baseline", "", "difference", "rounds"):
        table.add_column(column, justify="left" if column == "" else "right")
    for case in result.cases:
        row = (f"{case.ratio:.1f}×", f"{case.ours:.1f}", f"{case.baseline:.1f}", case.unit, f"{case.max_difference:.1g}")
        table.add_row(case.name, *row, str(case.rounds))
        for key, value in case.agreement.items():
            table.add_row(f"  {key.replace('_', ' ')} {value:.3g}", style="dim")
    return table
