"""Seeded mutations of bytes and of JSON values; the same seed and number give the same input."""

import json
import random
from collections.abc import Sequence
from typing import Any, Final

NUMBERS: Final = (b"0", b"-1", b"1e999", b"NaN", b"4294967296", b"18446744073709551616", b"9" * 400)
TEXTS: Final = (
    b"\x00",
    b"\xff\xfe",
    "\u202e".encode(),
    "\u00e9".encode(),
    b"\r",
    b"\n",
    b'"',
    b"'",
    b"[" * 2000,
    b"A" * 5000,
    b"=1+1",
)
VALUES: Final = (
    None,
    True,
    -1,
    0,
    2**70,
    1e308,
    float("nan"),
    "",
    "\x00",
    "x" * 5000,
    [],
    {},
    [[]],
    {"id": {}},
    "2026-99-99",
    ["a", 1],
)


def mutate(rng: random.Random, seeds: Sequence[bytes], tokens: Sequence[bytes] = ()) -> bytes:
    """Return one of the seeds after one to six random changes of its bytes."""
    data = bytearray(rng.choice(seeds))
    words = (*tokens, *NUMBERS, *TEXTS)
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(len(data) + 1)
        until = min(len(data), at + rng.choice((1, 2, 4, 16, 64)))
        match rng.randrange(7):
            case 0 if data:
                data[at % len(data)] ^= 1 << rng.randrange(8)
            case 1:
                del data[at:until]
            case 2:
                data[at:at] = rng.choice(words)
            case 3:
                data[at:until] = rng.choice(words)
            case 4:
                data[at:at] = data[at:until] * rng.randint(1, 4)
            case 5:
                other = rng.choice(seeds)
                start = rng.randrange(len(other) + 1)
                data[at:until] = other[start : start + 64]
            case _:
                if rng.random() < 0.2:
                    del data[at:]
                else:
                    data[at:until] = rng.randbytes(until - at)
    return bytes(data)


def mutate_rows(rng: random.Random, seeds: Sequence[bytes], tokens: Sequence[bytes] = ()) -> bytes:
    """Return one of the seeds, which are tables, after changes that mostly keep its first line."""
    head, line_end, rest = rng.choice(seeds).partition(b"\n")
    if rng.random() < 0.1:
        return mutate(rng, seeds, tokens)
    return head + line_end + mutate(rng, [rest], tokens)


def mutate_json(rng: random.Random, seeds: Sequence[bytes]) -> bytes:
    """Return one of the seeds, which are JSON, after one to four changes of its values."""
    value = json.loads(rng.choice(seeds))
    for _ in range(rng.randint(1, 4)):
        value = _changed(rng, value)
    return json.dumps(value).encode()


def _changed(rng: random.Random, value: Any) -> Any:
    """Change the value itself or, more often, one inside it."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = rng.choice(list(value))
        if rng.random() < 0.15:
            return {name: item for name, item in value.items() if name != key}
        return {**value, key: _changed(rng, value[key])}
    if isinstance(value, list) and value and rng.random() < 0.9:
        index = rng.randrange(len(value))
        if rng.random() < 0.15:
            return [*value[:index], *value[index + 1 :]]
        return [*value[:index], _changed(rng, value[index]), *value[index + (rng.random() < 0.9) :]]
    return rng.choice(VALUES)
