"""The ledger as CSV: export it, and import an export or a study that was labeled elsewhere.

One line is one answer to one region, in the ledger's order. An import needs the first five columns only. An export has all
columns, and its round trip gives the same bytes. An empty cell is a missing value; ``?`` is "cannot tell". A cell that a
spreadsheet would take for a formula begins with an apostrophe, which an import removes.

An answer without ``annotation`` and ``version`` gets digests of its content instead. Importing the same file again is therefore
idempotent, and a corrected file adds a new version of the answers that differ.
"""

import csv
import io
import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Final

from labeling.consensus.csv_cells import CellError, box_of, frame_of, listed, number_of, one_of, time_of, visit_of
from vitau.errors import LabelingError, quoted
from vitau.schema import (
    AUS,
    CheckKind,
    LedgerRow,
    Side,
    Stage,
    restored_cell,
    safe_cell,
)

REQUIRED: Final = ("subject", "reader", "au", "affected", "side")
COLUMNS: Final = (
    *(*REQUIRED, "stage", "answered_at", "note", "grade", "retracted", "annotation", "version"),
    *(
        "lead_time_s",
        "suggestion",
        "suggested_by",
        "measures_shown",
        "asked",
        "check_kind",
        "visit",
        "severity",
        "synkinesis",
        "frames_shown",
        "evidence",
    ),
)
READER: Final = re.compile(r"[a-z0-9-]{1,32}")
"""A reader's pseudonym; a name or an e-mail address does not match."""

_YOUNGER: Final = frozenset({"measures_shown", "asked", "check_kind", "visit", "severity", "synkinesis"})
_PLAIN_NAME: Final = re.compile(r"[a-z_]{1,24}")
_WORDS: Final[Mapping[bool | None, str]] = {True: "yes", False: "no", None: "?"}
_AFFECTED: Final[Mapping[str, bool | None]] = {word: affected for affected, word in _WORDS.items()}


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """An answer and its line number; ``named`` is true if the file has its annotation and version."""

    number: int
    row: LedgerRow
    named: bool


def write_csv(rows: Iterable[LedgerRow]) -> str:
    """Return answers as CSV with all ``COLUMNS``."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS)  # lines end as RFC 4180 says; a carriage return within a note is quoted
    writer.writeheader()
    writer.writerows({name: safe_cell(cell) for name, cell in _cells(row).items()} for row in rows)
    return out.getvalue()


def read_csv(text: str, *, source: str, find_subject: Callable[[str], str | None]) -> list[LedgerRow]:
    """Parse the answers of a CSV, in its order.

    Args:
        text: the file.
        source: the name of the study; part of the digests of answers without an annotation.
        find_subject: returns the pseudonym of a subject of the file, ``None`` for an unknown one.

    Raises:
        LabelingError: lines are wrong; the message has a sentence for each of them. It does not repeat the file's names of
            subjects and readers, which may identify them.
    """
    header, table, problems = _parse(text)
    _check_header(header)
    names = _names(header, table)
    lines: list[Line] = []
    for number, cells in table:
        try:
            lines.append(_line(header, cells, number, find_subject))
        except CellError as error:
            problems.append((number, error.sentence(names)))
        except LabelingError as error:
            problems.append((number, str(error)))
    problems += [*_duplicates(lines), *_contradictions(lines)]
    if problems:
        raise LabelingError("\n".join(f"line {number}: {problem}" for number, problem in sorted(problems)))
    return _add_digests(lines, source)


def _parse(text: str) -> tuple[list[str], list[tuple[int, list[str]]], list[tuple[int, str]]]:
    """Return the header, the lines with their numbers, and where the text stops being a CSV."""
    table = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: list[str] = []
    lines: list[tuple[int, list[str]]] = []
    try:
        header = next(table, [])
        number = table.line_num + 1
        for cells in table:
            lines += [(number, cells)] if cells else []
            number = table.line_num + 1  # a note may hold line breaks
    except csv.Error as error:
        return header, lines, [(table.line_num, f"it is not a CSV from here on ({quoted(error)})")]
    return header, lines, []


def _names(header: Sequence[str], table: Iterable[tuple[int, Sequence[str]]]) -> set[str]:
    """Return the subjects and readers of a file, except readers' pseudonyms, in small letters."""
    columns = [index for index, name in enumerate(header) if name in {"subject", "reader"}]
    cells = {cells[index] for _, cells in table for index in columns if index < len(cells)}
    return {cell.casefold() for cell in cells if cell and not READER.fullmatch(cell)}


def _cells(row: LedgerRow) -> dict[str, str]:
    marks = [[mark.frame, *mark.box] for mark in row.marks]
    return {
        "subject": row.subject,
        "reader": row.reader,
        "au": row.au.value,
        "affected": _WORDS[row.affected],
        "side": row.side.value if row.side else "",
        "stage": row.stage.value,
        "answered_at": row.answered_at,
        "note": row.note or "",
        "grade": "" if row.grade is None else str(row.grade),
        "retracted": "yes" if row.retracted else "",
        "annotation": row.annotation,
        "version": row.version,
        "lead_time_s": "" if row.lead_time_s is None else repr(float(row.lead_time_s)),
        "suggestion": "" if row.suggestion is None else repr(float(row.suggestion)),
        "suggested_by": row.suggested_by or "",
        "measures_shown": row.measures_shown or "",
        "asked": "" if row.asked else "no",
        "check_kind": row.check_kind.value if row.check_kind else "",
        "visit": row.visit or "",
        "severity": "" if row.severity is None else str(row.severity),
        "synkinesis": "" if row.synkinesis is None else _WORDS[row.synkinesis],
        "frames_shown": json.dumps(row.frames_shown) if row.frames_shown else "",
        "evidence": json.dumps(marks) if marks else "",
    }


def _check_header(header: Sequence[str]) -> None:
    missing = [name for name in REQUIRED if name not in header]
    unknown = [
        name if _PLAIN_NAME.fullmatch(name) else f"number {number}"  # without a header, the first answer is read as one
        for number, name in enumerate(header, start=1)
        if name not in COLUMNS
    ]
    if missing:
        raise LabelingError(f"line 1: no column {', '.join(missing)}; a file of answers has at least {', '.join(REQUIRED)}")
    if unknown or len(set(header)) < len(header):
        problem = f"unknown column {quoted(', '.join(unknown))}" if unknown else "a column is repeated"
        raise LabelingError(f"line 1: {problem}; the columns are {', '.join(COLUMNS)}")


def _line(header: Sequence[str], cells: Sequence[str], number: int, find_subject: Callable[[str], str | None]) -> Line:
    if len(cells) != len(header):
        raise LabelingError(f"it has {len(cells)} cells, the header {len(header)}; quote commas")
    cell = dict.fromkeys(COLUMNS, "") | dict(zip(header, map(restored_cell, cells), strict=True))
    if any("\0" in text for text in cells):
        raise LabelingError("it holds a NUL character, which no database stores; delete it")
    subject = find_subject(cell["subject"])
    if subject is None:
        raise LabelingError("unknown subject; ingest the clips of this person first, and give the same --source")
    if not READER.fullmatch(cell["reader"]):
        raise LabelingError("reader without a pseudonym; use up to 32 small letters, digits and hyphens, such as reader-a")
    if bool(cell["annotation"]) != bool(cell["version"]):
        raise LabelingError("annotation and version go together; give both or neither")
    row = LedgerRow(
        subject=subject,
        au=one_of("au", cell["au"], {au.value: au for au in AUS}),
        reader=cell["reader"],
        stage=one_of("stage", cell["stage"] or "reader", {stage.value: stage for stage in Stage}),
        affected=one_of("affected", cell["affected"], _AFFECTED),
        side=one_of("side", cell["side"], {"": None, **{side.value: side for side in Side}}),
        annotation=cell["annotation"],
        version=cell["version"],
        answered_at=time_of(cell["answered_at"]),
        visit=visit_of(cell["visit"]),
        frames_shown=tuple(frame_of(name) for name in listed("frames_shown", cell["frames_shown"])),
        note=cell["note"] or None,
        retracted=one_of("retracted", cell["retracted"], {"": False, "no": False, "yes": True}),
        suggestion=number_of("suggestion", cell["suggestion"]),
        suggested_by=cell["suggested_by"] or None,
        measures_shown=cell["measures_shown"] or None,
        asked=one_of("asked", cell["asked"], {"": True, "yes": True, "no": False}),
        check_kind=one_of("check_kind", cell["check_kind"], {"": None, **{kind.value: kind for kind in CheckKind}}),
        grade=one_of("grade", cell["grade"], {"": None, **{str(grade): grade for grade in range(1, 7)}}),
        severity=one_of("severity", cell["severity"], {"": None, "0": 0, "1": 1, "2": 2}),
        synkinesis=one_of("synkinesis", cell["synkinesis"], {"": None, "yes": True, "no": False}),
        lead_time_s=number_of("lead_time_s", cell["lead_time_s"]),
        marks=tuple(map(box_of, listed("evidence", cell["evidence"]))),
    )
    if row.retracted and not row.annotation:
        raise LabelingError("a retraction needs the columns annotation and version of the answer")
    if not row.asked and (row.affected is not None or row.stage is Stage.READER):
        raise LabelingError("a region that was not asked about has affected ?, and is the adjudicator's")
    if row.severity is not None and not row.affected:
        raise LabelingError("severity is that of an affected region; empty it, or correct affected")
    return Line(number=number, row=row, named=bool(cell["annotation"]))


def _duplicates(lines: Iterable[Line]) -> Iterable[tuple[int, str]]:
    """Yield duplicates: the same region of one person, by one reader, at one stage, in one version."""
    first: dict[tuple[str, ...], int] = {}
    for line in lines:
        row = line.row
        cell = (row.annotation, row.version) if line.named else (row.case, row.reader, row.stage)
        before = first.setdefault((row.au, *cell), line.number)
        if before != line.number:
            whose = "in this version of the annotation" if line.named else f"of this person by {row.reader}"
            yield line.number, f"duplicate answer: {row.au} {whose} is also answered in line {before}; keep one"


def _contradictions(lines: Iterable[Line]) -> Iterable[tuple[int, str]]:
    """Yield answers whose regions contradict the side, except retractions."""
    for answer in _answers(line for line in lines if not line.row.retracted):
        sides = {line.row.side for line in answer} - {None}
        affected = [line for line in answer if line.row.affected]
        last = answer[-1]
        if len(sides) > 1:
            yield (
                last.number,
                f"side contradiction: this answer has the sides {' and '.join(sorted(map(str, sides)))}; give one",
            )
        elif affected and not sides:
            yield affected[0].number, f"side contradiction: {affected[0].row.au} is affected but the side is empty"
        elif sides and not affected and last.row.stage is Stage.READER:  # the adjudicator may settle the side alone
            yield (
                last.number,
                f"side contradiction: the side is {last.row.side or min(map(str, sides))} but nothing is affected",
            )


def _answers(lines: Iterable[Line]) -> list[list[Line]]:
    """Group the lines by answer: one reader, one person, one version."""
    found: dict[tuple[object, ...], list[Line]] = defaultdict(list)
    for line in lines:
        row = line.row
        found[row.case, row.reader, row.stage, row.annotation, row.version].append(line)
    return list(found.values())


def _add_digests(lines: Sequence[Line], source: str) -> list[LedgerRow]:
    """Return the rows, with digests where the file has no annotation and version.

    One annotation per person and reader; its side applies to all its regions.
    """
    rows = {line.number: line.row for line in lines}
    for answer in _answers(line for line in lines if not line.named):
        first = answer[0].row
        side = next((line.row.side for line in answer if line.row.side), None)
        whole = [replace(line.row, side=side) for line in answer]
        content = sorted(map(_content, whole))
        annotation = f"csv-{_digest([source, first.case, first.reader, first.stage])}"
        for line, row in zip(answer, whole, strict=True):
            rows[line.number] = replace(row, annotation=annotation, version=_digest(content))
    return list(rows.values())


def _content(row: LedgerRow) -> str:
    """Return what identifies an answer; a column that is younger than the first imports counts only if it is filled."""
    cells = _cells(row)
    return json.dumps([cells[name] for name in COLUMNS if name not in _YOUNGER or cells[name]])


def _digest(words: Sequence[str]) -> str:
    return sha256(json.dumps(words).encode()).hexdigest()[:16]
