"""Traces of a person: the texts and bytes by which an erasure searches for what is left."""

import base64
import io
import zlib
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

SHORT_DIGEST: Final = 12
"""Characters of a clip's digest that any message, key or page shows at least."""
_PARQUET: Final = b"PAR1"
_GZIP: Final = b"\x1f\x8b\x08"


@dataclass(frozen=True)
class Traces:
    """Every pseudonym of a person, and the digest and suffix of every clip, by which ViTAU could identify them."""

    names: frozenset[str]
    clips: tuple[tuple[str, str], ...] = ()

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """The pseudonyms and the beginnings of the clips' digests."""
        return (*sorted(self.names), *sorted({digest[:SHORT_DIGEST] for digest, _ in self.clips}))

    @cached_property
    def patterns(self) -> tuple[bytes, ...]:
        """The texts as bytes, and the pseudonyms inside Base64, as Label Studio writes addresses."""
        return (*(text.encode() for text in self.texts), *(code for name in sorted(self.names) for code in in_base64(name)))

    def in_text(self, text: str) -> bool:
        """Return whether a text has a trace."""
        return any(trace in text for trace in self.texts)

    def in_bytes(self, data: bytes) -> bool:
        """Return whether bytes have a trace; Parquet tables and gzip streams are opened."""
        if self.in_raw(data):
            return True
        if data.startswith(_PARQUET):
            return self._in_table(data)
        if data.startswith(_GZIP):
            try:
                return self.in_bytes(zlib.decompress(data, wbits=31))
            except zlib.error:
                return False
        return False

    def in_raw(self, data: bytes) -> bool:
        """Return whether bytes have a trace as they are."""
        return any(pattern in data for pattern in self.patterns)

    def _in_table(self, data: bytes) -> bool:
        try:
            table = pq.read_table(io.BytesIO(data))
        except (pa.ArrowException, OSError):
            return False
        metadata = table.schema.metadata or {}
        if any(map(self.in_raw, metadata.values())):
            return True
        texts = [column for field, column in zip(table.schema, table.columns, strict=True) if _may_hold_text(field.type)]
        return any(self.in_text(str(value)) for column in texts for value in column.unique().to_pylist())


def _may_hold_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def in_base64(name: str) -> Collection[bytes]:
    """Return the three forms that a name has inside a longer Base64 text, without the characters that its neighbors change."""
    forms = []
    for shift in range(3):
        code = base64.b64encode(b"\0" * shift + name.encode()).rstrip(b"=")
        forms.append(code[(0, 2, 3)[shift] : len(code) - (1 if (shift + len(name)) % 3 else 0)])
    return forms
