"""Seeded mutations of text, tables and JSON values; the same generator and seeds give the same input."""

import csv
import io
import json
import random
import re
import unicodedata
from collections.abc import Callable, Sequence
from typing import Any, Final

Mutation = Callable[[random.Random, Sequence[bytes]], bytes]

NUMBERS: Final = (
    *(b"0", b"-0", b"-1", b"1e999", b"-1e999", b"1e-320", b"NaN", b"inf", b"0x10", b"1_000", b"1,5", b"007"),
    *(b"2147483648", b"4294967296", b"9223372036854775808", b"18446744073709551616", b"9" * 400, b"9" * 5000),
)
TEXTS: Final = (
    *(b"\x00", b"\xff\xfe", b"\xed\xa0\x80", b"\xc0\xaf", b"\xf4\x90\x80\x80", b"\r", b"\n", b"\r\n", b"\t", b"\x1b[31m"),
    *(b'"', b"'", b"\\", b"%s", b"{0}", b"=1+1", b"@SUM(A1)", b"[" * 2000, b"A" * 5000, b"\\u0000", b"\\ud800"),
    *(
        text.encode()
        for text in ("\u202e", "\u200b", "\u2028", "\u00e9", "e\u0301", "\uff11\uff12", "\u0661", "\ufeff", "\U0001f600")
    ),
)
"""Bytes that no UTF-8 contains, controls, quotes, formulas, and characters that look like others."""
VALUES: Final = (
    *(None, True, False, -1, 0, 2**31, 2**63, 2**70, 10**400, 1e308, float("nan"), float("inf"), 0.5),
    *("", "\x00", "\ud800", "x" * 5000, "1", "2026-99-99", "2026-11-23", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"),
    *([], {}, [[]], [None], {"id": {}}, ["a", 1], [True], {"choices": "left"}, "\u202e", "=1+1"),
)
_ENCODINGS: Final = ("utf-16", "utf-16-le", "utf-32", "utf-8-sig", "latin-1", "utf-7", "cp037")
_DELIMITERS: Final = (";", "\t", "|", ",,")
_LONG: Final = 140_000  # Python's reader of CSV refuses a cell of more than 131072 characters


def mutate(rng: random.Random, seeds: Sequence[bytes], tokens: Sequence[bytes] = ()) -> bytes:
    """Return one of the seeds after one to six changes: flips, splices, words of the format, numbers, encodings."""
    data = rng.choice(seeds)
    for _ in range(rng.randint(1, 6)):
        data = _changed_bytes(rng, data, seeds, (*tokens, *tokens, *NUMBERS, *TEXTS))
    return _recoded(rng, data) if rng.random() < 0.04 else data


def mutate_rows(rng: random.Random, seeds: Sequence[bytes], tokens: Sequence[bytes] = ()) -> bytes:
    """Return one of the seeds, which are tables, after changes of its cells, rows and columns; the first row mostly stays."""
    seed = rng.choice(seeds)
    if rng.random() < 0.1:
        return mutate(rng, seeds, tokens)
    if rng.random() < 0.15:
        head, line_end, rest = seed.partition(b"\n")
        return head + line_end + mutate(rng, [rest], tokens)
    table = list(csv.reader(io.StringIO(seed.decode("utf-8-sig"), newline="")))
    for _ in range(rng.randint(1, 3)):
        table = _changed_table(rng, table, [*tokens, *NUMBERS, *TEXTS])
    out = io.StringIO()
    delimiter = rng.choice(_DELIMITERS) if rng.random() < 0.03 else ","
    ends = rng.choice(("\r\n", "\n", "\r"))
    quoting = rng.choice((csv.QUOTE_MINIMAL, csv.QUOTE_ALL))
    csv.writer(out, delimiter=delimiter[0], lineterminator=ends, quoting=quoting).writerows(table)
    data = out.getvalue().encode("utf-8", "surrogateescape")
    return _recoded(rng, data) if rng.random() < 0.03 else data


def mutate_json(rng: random.Random, seeds: Sequence[bytes]) -> bytes:
    """Return one of the seeds, which are JSON, after one to three changes of its values, keys or nesting."""
    value = json.loads(rng.choice(seeds))
    for _ in range(rng.randint(1, 3)):
        value = _changed(rng, value)
    return json.dumps(value, ensure_ascii=rng.random() < 0.8).encode("utf-8", "surrogatepass")


def _changed_bytes(rng: random.Random, before: bytes, seeds: Sequence[bytes], words: Sequence[bytes]) -> bytes:
    data = bytearray(before)
    at = rng.randrange(len(data) + 1)
    until = min(len(data), at + rng.choice((1, 2, 4, 16, 64)))
    match rng.randrange(9):
        case 0 if data:
            data[at % len(data)] ^= 1 << rng.randrange(8)
        case 1:
            del data[at:until]
        case 2:
            data[at:at] = rng.choice(words)
        case 3:
            data[at:until] = rng.choice(words)
        case 4:
            data[at:at] = data[at:until] * rng.choice((1, 2, 4, 200))
        case 5:
            other = rng.choice(seeds)
            start = rng.randrange(len(other) + 1)
            data[at:until] = other[start : start + 64]
        case 6 if numbers := [match.span() for match in re.finditer(rb"\d+(?:\.\d+)?", data)]:
            start, end = rng.choice(numbers)
            data[start:end] = rng.choice(NUMBERS)
        case 7 if rng.random() < 0.2:
            del data[at:]
        case _:
            data[at:until] = rng.randbytes(until - at)
    return bytes(data)


def _recoded(rng: random.Random, data: bytes) -> bytes:
    """Return a text in another encoding or normal form."""
    text = data.decode("utf-8", "replace")
    if rng.random() < 0.3:
        return unicodedata.normalize(rng.choice(("NFD", "NFKC")), text).encode()
    return text.encode(rng.choice(_ENCODINGS), "replace")


def _changed_table(rng: random.Random, before: list[list[str]], words: Sequence[bytes]) -> list[list[str]]:
    table = [list(row) for row in before] or [[""]]
    row = table[rng.randrange(1, len(table)) if len(table) > 1 and rng.random() < 0.9 else 0]
    if row and rng.random() < 0.6:
        column = rng.randrange(len(row))
        row[column] = _changed_cell(rng, row[column], row, words)
        return table
    column = rng.randrange(len(row) + 1)
    match rng.randrange(5):
        case 0:
            table.insert(rng.randrange(1, len(table) + 1), list(row))
        case 1:
            row.insert(column, rng.choice(words).decode("utf-8", "surrogateescape"))
        case 2:
            del row[column:]
        case 3:  # a column moves
            for cells in table:
                cells.insert(min(column, len(cells)), cells.pop() if cells else "")
        case _ if rng.random() < 0.1:
            table += [list(row) for _ in range(rng.choice((10, 50, 10, 50, 1000)))]
        case _:
            table[rng.randrange(len(table))] = list(rng.choice(table))
    return table


def _changed_cell(rng: random.Random, cell: str, row: Sequence[str], words: Sequence[bytes]) -> str:
    word = rng.choice(words).decode("utf-8", "surrogateescape")
    match rng.randrange(8):
        case 0:
            return rng.choice((f"{cell}{word}", f"{word}{cell}", f" {cell} ", cell.swapcase()))
        case 1:
            return rng.choice(row)
        case 2:
            return ""
        case 3 if rng.random() < 0.05:
            return rng.choice("A\u00e9\n") * rng.choice((1001, _LONG))
    return word


def _changed(rng: random.Random, value: Any) -> Any:
    """Change the value itself or, more often, one inside it."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        return _changed_object(rng, value)
    if isinstance(value, list) and value and rng.random() < 0.9:
        return _changed_array(rng, value)
    if isinstance(value, str) and rng.random() < 0.4:
        return _changed_bytes(rng, value.encode("utf-8", "surrogatepass"), [b""], TEXTS).decode("utf-8", "replace")
    if rng.random() < 0.1:
        for _ in range(rng.choice((1, 3, 150))):
            value = [value] if rng.random() < 0.5 else {"id": value}
        return value
    return rng.choice(VALUES)


def _changed_object(rng: random.Random, value: dict[str, Any]) -> dict[str, Any]:
    key, other = rng.choice(list(value)), rng.choice(list(value))
    match rng.randrange(10):
        case 0:
            return {name: item for name, item in value.items() if name != key}
        case 1:
            return {**value, key: value[other], other: value[key]}
        case 2:
            return {
                (rng.choice((other, "", "\x00", name.upper())) if name == key else name): item for name, item in value.items()
            }
    return {**value, key: _changed(rng, value[key])}


def _changed_array(rng: random.Random, value: list[Any]) -> list[Any]:
    index, other = rng.randrange(len(value)), rng.randrange(len(value))
    match rng.randrange(10):
        case 0:
            return [*value[:index], *value[index + 1 :]]
        case 1:
            return [*value, *([value[index]] * rng.choice((1, 2, 50)))]
        case 2:
            return [value[other] if position == index else item for position, item in enumerate(value)]
    return [*value[:index], _changed(rng, value[index]), *value[index + 1 :]]
