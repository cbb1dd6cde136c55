"""The comparison of two visits of one person: the change of each measure against its smallest detectable change."""

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Final

from vitau.errors import SourceError, quoted
from vitau.measures.reporting.pages import render_page
from vitau.measures.results import Task
from vitau.schema import safe_cell
from vitau.store.atomic import write_atomic

TABLE: Final = "changes.csv"
PAGE: Final = "changes.html"
_VALUES: Final = ("right", "left", "difference", "value")


@dataclass(frozen=True, kw_only=True, slots=True)
class Visit:
    """A person at one visit, as ``vitau measure`` wrote it: the row of ``people.csv``, and the rows of ``measures.csv``."""

    folder: Path
    person: Mapping[str, str]
    measures: Mapping[tuple[str, str], Mapping[str, str]]

    @property
    def item(self) -> str:
        """Name of the input."""
        return self.person["input"]

    @property
    def label(self) -> str:
        """Name of the visit for people: the visit, else the date, else the input."""
        return self.person.get("visit") or self.person.get("recorded_at") or self.item


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """The change of one measure of one exercise from the first to the second visit, in ``unit``.

    A change of the sides' difference is a change of asymmetry. ``exceeds`` names the values whose change is larger than the
    smallest detectable change. ``reason`` says why there is no change.
    """

    exercise: str
    measure: str
    kind: str
    unit: str
    right_first: float | None = None
    right_second: float | None = None
    right_change: float | None = None
    left_first: float | None = None
    left_second: float | None = None
    left_change: float | None = None
    difference_first: float | None = None
    difference_second: float | None = None
    difference_change: float | None = None
    value_first: float | None = None
    value_second: float | None = None
    value_change: float | None = None
    smallest_detectable_change: float | None = None
    exceeds: tuple[str, ...] = ()
    reason: str | None = None


def read_visit(folder: Path, item: str | None = None) -> Visit:
    """Read the output folder of ``vitau measure``.

    Args:
        folder: the output folder.
        item: the input to read; by default the only one.

    Raises:
        SourceError: not such a folder, no input of that name, or several inputs and no name.
    """
    people = {row["input"]: row for row in _rows(folder, "people.csv")}
    if item is None and len(people) != 1:
        named = ", ".join(list(people)[:8]) or "none"
        raise SourceError(
            f"{quoted(folder)} holds {len(people)} measured inputs ({named}); name one of each visit with --inputs FIRST SECOND"
        )
    name = item if item is not None else next(iter(people))
    if name not in people:
        named = ", ".join(list(people)[:8]) or "none"
        raise SourceError(f"{quoted(folder)} has no measured input {quoted(name)}; it holds {named}")
    rows = [row for row in _rows(folder, "measures.csv") if row["input"] == name]
    return Visit(folder=folder, person=people[name], measures={(row["exercise"], row["measure"]): row for row in rows})


def compare_visits(first: Visit, second: Visit) -> list[Change]:
    """Return the changes of all measures of either visit, in the order of an examination.

    The smallest detectable change of two visits is the root mean square of those of the visits, because the standard errors
    of both enter the change. A difference of the sides has the errors of both sides: it must change √2 times as much.
    """
    order = {task.value: number for number, task in enumerate(Task)}
    keys = dict.fromkeys([*first.measures, *second.measures])
    ordered = sorted(keys, key=lambda key: order.get(key[0], len(order)))
    return [_change(key, first.measures.get(key), second.measures.get(key)) for key in ordered]


def warnings(first: Visit, second: Visit) -> list[str]:
    """Return what limits the comparison, as sentences."""
    found = []
    sources = [visit.person.get("landmarks", "") for visit in (first, second)]
    if sources[0] != sources[1]:
        found.append(
            f"The landmarks come from different sources ({sources[0]}, then {sources[1]}), which measure differently: "
            "a change may be theirs. Measure both visits with the same landmarks."
        )
    dates = [visit.person.get("recorded_at", "") for visit in (first, second)]
    if all(dates) and dates[0] > dates[1]:
        found.append(f"The first visit ({dates[0]}) is later than the second ({dates[1]}): give the earlier one first.")
    if first.folder == second.folder and first.item == second.item:
        found.append("Both visits are the same measurement: every change is 0.")
    return found


def write_comparison(first: Visit, second: Visit, out: Path) -> list[Change]:
    """Write the changes as ``changes.csv`` and ``changes.html`` into a folder, and return them.

    Raises:
        StoreError: a file cannot be written.
    """
    changes = compare_visits(first, second)
    out.mkdir(mode=0o700, parents=True, exist_ok=True)
    names = [field.name for field in fields(Change)]
    lines = [names, *([_cell(getattr(change, name)) for name in names] for change in changes)]
    write_atomic(out / TABLE, "".join(_csv_line(line) for line in lines))
    write_atomic(out / PAGE, render_comparison(first, second, changes))
    return changes


def render_comparison(first: Visit, second: Visit, changes: Sequence[Change]) -> str:
    """Render the page about the changes of a person, self-contained."""
    known = [change for change in changes if change.reason is None]
    return render_page(
        "compare.html.j2",
        first=first,
        second=second,
        changes=known,
        unknown=[change for change in changes if change.reason is not None],
        exercises=list(dict.fromkeys(change.exercise for change in known)),
        num_detectable=sum(bool(change.exceeds) for change in known),
        clearest=clearest(known),
        warnings=warnings(first, second),
    )


def clearest(changes: Sequence[Change], most: int = 8) -> list[Change]:
    """Return the detectable changes, the largest multiple of its smallest detectable change first."""

    def multiple(change: Change) -> float:
        sizes = [abs(getattr(change, f"{name}_change")) for name in change.exceeds]
        return max(sizes) / max(change.smallest_detectable_change or 0.0, 1e-9)

    return sorted((change for change in changes if change.exceeds), key=multiple, reverse=True)[:most]


def _change(key: tuple[str, str], first: Mapping[str, str] | None, second: Mapping[str, str] | None) -> Change:
    row = first or second
    assert row is not None, "a key is in one of the visits"
    about = Change(exercise=key[0], measure=key[1], kind=row["kind"], unit=row["unit"])
    for name, visit in (("first", first), ("second", second)):
        if visit is None:
            return replace(about, reason=f"not measured at the {name} visit")
        if visit["reason"]:
            return replace(about, reason=f"not measurable at the {name} visit: {visit['reason']}")
    assert first is not None
    assert second is not None
    limits = [_number(visit["smallest_detectable_change"]) for visit in (first, second)]
    limit = None if None in limits else math.sqrt(sum((value or 0.0) ** 2 for value in limits) / 2)
    values: dict[str, Any] = {}
    exceeds = []
    for name in _VALUES:
        before, after = _number(first[name]), _number(second[name])
        change = None if before is None or after is None else after - before
        values |= {f"{name}_first": before, f"{name}_second": after, f"{name}_change": change}
        if change is not None and limit is not None and abs(change) > limit * (math.sqrt(2) if name == "difference" else 1):
            exceeds.append(name)
    return replace(about, **values, smallest_detectable_change=limit, exceeds=tuple(exceeds))


def _rows(folder: Path, name: str) -> Iterator[dict[str, str]]:
    path = folder / name
    if not path.is_file():
        raise SourceError(f"{quoted(folder)} has no {name}; give an output folder of `vitau measure`")
    with path.open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def _number(text: str) -> float | None:
    return float(text) if text else None


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    return safe_cell(" ".join(value) if isinstance(value, tuple) else str(value))


def _csv_line(cells: Sequence[str]) -> str:
    quoted_cells = ('"' + cell.replace('"', '""') + '"' if set(cell) & set(',"\r\n') else cell for cell in cells)
    return ",".join(quoted_cells) + "\n"
