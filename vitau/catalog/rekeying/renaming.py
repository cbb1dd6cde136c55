"""Renaming of people in texts, JSON and bytes: every old name becomes the new one, which has as many characters."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

_DIGITS: Final = 20
_RUN: Final = re.compile(rb"[0-9a-f]{20,}")
"""Runs of hexadecimal digits: pseudonyms, tombstones and digests."""


@dataclass(frozen=True)
class Renaming:
    """Old name → new name. A pseudonym has 20 hexadecimal digits, a tombstone 32 after its mark."""

    names: Mapping[str, str]

    @cached_property
    def _digits(self) -> dict[bytes, bytes]:
        """The hexadecimal digits of old and new names, without the mark of tombstones."""
        return {_hexadecimal(old): _hexadecimal(new) for old, new in self.names.items()}

    @cached_property
    def _lengths(self) -> tuple[int, ...]:
        return tuple(sorted({len(old) for old in self._digits}))

    def data(self, data: bytes) -> bytes:
        """Return bytes with the new names. Names are found inside longer runs of digits too, as in addresses with escapes."""
        return _RUN.sub(lambda run: self._run(run[0]), data)

    def text(self, text: str) -> str:
        """Return a text with the new names."""
        if len(text) < _DIGITS:
            return text
        return self.data(text.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass")

    def value(self, value: Any) -> Any:
        """Return a value of JSON with the new names, in keys and values."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {self.value(name): self.value(item) for name, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(item) for item in value]
        return value

    def has_old(self, data: bytes) -> bool:
        """Return whether bytes have an old name."""
        return any(self._find(run[0]) is not None for run in _RUN.finditer(data))

    def _find(self, run: bytes, start: int = 0) -> tuple[int, bytes] | None:
        """Return the position and the digits of the first old name in a run of digits."""
        for position in range(start, len(run) - _DIGITS + 1):
            for length in self._lengths:
                digits = run[position : position + length]
                if digits in self._digits:
                    return position, digits
        return None

    def _run(self, run: bytes) -> bytes:
        done, start = b"", 0
        while (found := self._find(run, start)) is not None:
            position, digits = found
            done += run[start:position] + self._digits[digits]
            start = position + len(digits)
        return done + run[start:]


def _hexadecimal(name: str) -> bytes:
    return name.removeprefix("erased-").encode()
