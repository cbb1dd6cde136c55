"""Sources to measure: files and folders, and the manifest that names exercises, visits, ranges and mirrored recordings."""

import csv
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vitau.errors import ClipError, SourceError, quoted
from vitau.measures.results import Task
from vitau.media.inputs import RecordingOptions, list_files
from vitau.schema import Skipped, parse_recorded_at, parse_visit

MANIFEST_COLUMNS: Final = ("clip", "subject", "task", "visit", "recorded_at", "mirrored", "start", "end", "fps")
"""Columns that are read from a manifest; only ``clip`` is required. ``start_s`` and ``end_s`` are accepted too."""
MAX_CELL: Final = 1000

_TASK_NAMES: Final[Mapping[str, Task]] = {
    **{task.value: task for task in Task},
    "eye_closure_gentle": Task.EYE_CLOSURE,
    "pucker": Task.LIP_PUCKER,
    "jaw": Task.JAW_OPENING,
}
_YES_NO: Final[Mapping[str, bool]] = {"": False, "0": False, "1": True, "false": False, "no": False, "true": True, "yes": True}


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """A file, or a range of one, that shows one exercise if ``task`` is given."""

    path: Path
    options: RecordingOptions
    task: Task | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """The parts that are measured together as one input: one recording, or the files of one person at one visit."""

    item: str
    parts: tuple[Part, ...]
    visit: str | None = None
    recorded_at: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceList:
    """The sources to measure, what is skipped with its reason, and the number of other files in folders."""

    sources: tuple[Source, ...]
    skipped: tuple[Skipped, ...] = ()
    num_ignored: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class _Row:
    part: Part
    subject: str | None
    visit: str | None
    recorded_at: str | None


def list_sources(inputs: Sequence[Path], options: RecordingOptions, manifest: Path | None = None) -> SourceList:
    """List the sources of files and folders, with the rows of a manifest about them.

    Without a manifest every file is a source of its own, named by its name without suffix. Rows of a manifest with the same
    subject and visit are one source, named by the subject. Without inputs, all clips of the manifest are measured.

    Args:
        inputs: photos, clips, folders.
        options: of all files without a row in the manifest.
        manifest: a CSV with the columns ``MANIFEST_COLUMNS``; relative paths start at its folder.

    Raises:
        ClipError: there is nothing to measure.
        SourceError: the manifest cannot be read, or has no column ``clip``.
    """
    rows, skipped = ([], []) if manifest is None else _read_rows(manifest)
    paths, num_ignored = list_files(inputs)
    given = {path.resolve() for path in paths}
    if paths:
        rows = [row for row in rows if row.part.path in given]
    listed = {row.part.path for row in rows}
    rows += [
        _Row(part=Part(path=path, options=options), subject=None, visit=None, recorded_at=None)
        for path in paths
        if path.resolve() not in listed
    ]
    if not rows and not skipped:
        where = ", ".join(map(str, [*inputs, *([manifest] if manifest else [])])) or "the command"
        raise ClipError(f"{where} contains neither photos nor clips; give photos, clips or folders of them")
    return SourceList(sources=_grouped(rows), skipped=tuple(skipped), num_ignored=num_ignored)


def _grouped(rows: Sequence[_Row]) -> tuple[Source, ...]:
    """Return one source per person and visit, or per file without a person, with names that differ."""
    names = _file_names([row.part.path for row in rows if row.subject is None])
    groups: dict[tuple[str, str, str | None], list[_Row]] = defaultdict(list)
    for row in rows:
        key = ("file", names[row.part.path], row.visit) if row.subject is None else ("person", row.subject, row.visit)
        groups[key].append(row)
    num_visits = Counter((kind, name) for kind, name, _ in groups)
    taken: set[str] = set()
    sources = []
    for (kind, name, visit), members in groups.items():
        item = name if num_visits[kind, name] == 1 else f"{name}_{visit or 'no-visit'}"
        while item in taken:
            item += "_"
        taken.add(item)
        recorded_at = min((row.recorded_at for row in members if row.recorded_at), default=None)
        sources.append(Source(item=item, parts=tuple(row.part for row in members), visit=visit, recorded_at=recorded_at))
    return tuple(sources)


def _file_names(paths: Sequence[Path]) -> dict[Path, str]:
    """Return the name of each file without suffix; files of one name keep the suffix, or the folders that tell them apart."""
    unique = list(dict.fromkeys(paths))
    names = {path: path.stem for path in unique}
    longest = max((len(path.parts) for path in unique), default=0)
    for depth in range(1, longest + 1):
        count = Counter(names.values())
        if len(count) == len(unique):
            break
        files = Counter("/".join(path.parts[-depth:]) for path in unique)
        for path, name in names.items():
            file = "/".join(path.parts[-depth:])
            if count[name] > 1:
                names[path] = file if files[file] == 1 else "/".join([*path.parts[-1 - depth : -1], path.stem])
    return names


def _read_rows(manifest: Path) -> tuple[list[_Row], list[Skipped]]:
    if not manifest.is_file():
        raise SourceError(f"the manifest {quoted(manifest)} is missing; give the path of a CSV")
    try:
        with manifest.open(encoding="utf-8-sig", newline="") as file:
            table = list(csv.reader(file))
    except (UnicodeDecodeError, csv.Error) as error:
        raise SourceError(f"the manifest is not a CSV in UTF-8 ({error}); save it again as such") from error
    header = [name.strip().lower() for name in table[0]] if table else []
    if "clip" not in header:
        raise SourceError("the manifest has no column `clip`; it needs clip, and takes " + ", ".join(MANIFEST_COLUMNS[1:]))
    rows, skipped = [], []
    for number, cells in enumerate(table[1:], start=2):
        if not any(cell.strip() for cell in cells):
            continue
        values = {name: cell.strip() for name, cell in zip(header, cells, strict=False)}
        try:
            rows.append(_row(values, manifest.parent))
        except ValueError as error:
            skipped.append(Skipped(item=f"row {number}", reason=str(error)))
    return rows, skipped


def _row(values: Mapping[str, str], folder: Path) -> _Row:
    """Return a row of a manifest; raises ValueError with the reason why it cannot be used."""
    too_long = next((name for name, value in values.items() if name in MANIFEST_COLUMNS and len(value) > MAX_CELL), None)
    if too_long:
        raise ValueError(f"its {too_long} has {len(values[too_long])} characters; write at most {MAX_CELL}")
    if not values.get("clip"):
        raise ValueError("its clip is empty; write the path of a photo or a clip")
    task = values.get("task", "").lower().replace(" ", "_")
    if task and task not in _TASK_NAMES:
        raise ValueError(f"its task is {quoted(task)}; write one of {', '.join(Task)}")
    if values.get("mirrored", "").lower() not in _YES_NO:
        raise ValueError("its mirrored is neither true nor false; write one of them")
    path = (folder / values["clip"]).resolve()
    if not path.is_file():
        raise ValueError(f"its clip {quoted(values['clip'])} is no file; check the path")
    options = RecordingOptions(
        mirrored=_YES_NO[values.get("mirrored", "").lower()],
        start_s=_number(values, "start"),
        end_s=_number(values, "end"),
        fps=_number(values, "fps"),
    )
    return _Row(
        part=Part(path=path, options=options, task=_TASK_NAMES[task] if task else None),
        subject=values.get("subject") or None,
        visit=parse_visit(values.get("visit", "")),
        recorded_at=parse_recorded_at(values.get("recorded_at", "")),
    )


def _number(values: Mapping[str, str], name: str) -> float | None:
    text = values.get(name) or values.get(f"{name}_s")
    if not text:
        return None
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"its {name} is {quoted(text)}, which is no number; write one, or leave it empty") from None
