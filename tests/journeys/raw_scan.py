"""A search of raw files for anything of a person, which shares no code with the scan of `flows erase`.

It looks for the pseudonym, the digests of the clips, and windows of bytes from the middle of every object of the person. It
looks in Base64, gzip streams, columns of Parquet tables and the compressed blocks of SeaweedFS' index (LevelDB) too.
"""

import base64
import gzip
import io
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

WINDOW: Final = 24
"""Bytes of a window: too many to occur twice by chance."""
SHORT: Final = 12
"""Characters of a digest of a clip that a key, a message or a page has at least."""
_BITS: Final = 0xFFFFFF
_LEVELDB_MAGIC: Final = bytes.fromhex("57fb808b247547db")


@dataclass(frozen=True, kw_only=True)
class Person:
    """Everything that identifies a person in bytes: names, digests, and windows of the recordings and pictures."""

    texts: tuple[str, ...]
    windows: frozenset[bytes]

    def patterns(self) -> list[bytes]:
        """Return the texts as they are, and inside Base64 at any of the three offsets."""
        return [text.encode() for text in self.texts] + [
            base64.b64encode(b"\0" * shift + text.encode())[(0, 2, 3)[shift] : -4] for text in self.texts for shift in range(3)
        ]


def person_of(pseudonym: str, digests: Iterable[str], objects: Mapping[str, bytes]) -> Person:
    """Return what identifies a person, from every object of the person, key → bytes; of tables, the pictures in them."""
    pieces = [piece for data in objects.values() for piece in (pictures(data) if is_table(data) else [data])]
    windows = {
        bytes(piece[start : start + WINDOW])
        for piece in pieces
        for start in np.linspace(len(piece) // 4, 3 * len(piece) // 4, 24).astype(int)
        if len(piece) > 512
    }
    varied = {window for window in windows if len(set(window)) > WINDOW // 2}  # no run of zeros, no table of a header
    return Person(texts=(pseudonym, *(digest[:SHORT] for digest in digests)), windows=frozenset(varied))


def is_table(data: bytes) -> bool:
    """Return whether bytes are a Parquet table."""
    return data[:4] == data[-4:] == b"PAR1"


def pictures(table: bytes) -> Iterator[bytes]:
    """Yield the binary values of a Parquet table."""
    read = pq.read_table(io.BytesIO(table))
    for name, kind in zip(read.schema.names, read.schema.types, strict=True):
        if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
            yield from (value for value in read[name].to_pylist() if value)


def search(folder: Path, person: Person) -> dict[str, str]:
    """Return the files below a folder with anything of a person: path → what was found. Unreadable files are an error."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not path.is_file():
            continue
        name = path.relative_to(folder).as_posix()
        try:
            data = path.read_bytes()
        except FileNotFoundError:  # a service rotated it meanwhile
            continue
        if (what := trace_in(name.encode(), person) or trace_in(data, person)) is not None:
            found[name] = what
    return found


def trace_in(data: bytes, person: Person) -> str | None:
    """Return what bytes have of a person, ``None`` if nothing."""
    for text in unpacked(data):
        for pattern in person.patterns():
            if pattern in text:
                return pattern.decode()
        if window := find_window(text, person.windows):
            return f"bytes {window.hex()}"
    return None


def unpacked(data: bytes) -> Iterator[bytes]:
    """Yield bytes as they are, and what they hold in compressed form."""
    yield data
    if data[:2] == b"\x1f\x8b":
        yield gzip.decompress(data)
    if is_table(data):
        read = pq.read_table(io.BytesIO(data))
        yield str(read.schema.metadata).encode()
        texts = [name for name, kind in zip(read.schema.names, read.schema.types, strict=True) if pa.types.is_string(kind)]
        yield "\n".join(str(value) for name in texts for value in read[name].unique().to_pylist()).encode()
    if data[-8:] == _LEVELDB_MAGIC:
        yield b"\n".join(key + b"\t" + value for key, value in leveldb_entries(data))


def find_window(data: bytes, windows: frozenset[bytes]) -> bytes | None:
    """Return a window that is in the data at any offset, by a table of its first three bytes and an exact comparison."""
    if len(data) < WINDOW or not windows:
        return None
    starts = np.zeros(_BITS + 1, bool)
    starts[[int.from_bytes(window[:3], "little") for window in windows]] = True
    for shift in range(4):
        words = np.frombuffer(data, "<u4", count=(len(data) - shift) // 4, offset=shift) & _BITS
        for place in np.flatnonzero(starts[words]):
            offset = 4 * int(place) + shift
            if data[offset : offset + WINDOW] in windows:
                return data[offset : offset + WINDOW]
    return None


def leveldb_entries(table: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the keys and values of a table file of LevelDB, deleted ones included.

    The format is described in ``doc/table_format.md`` of LevelDB.
    """
    footer = table[-48:]
    _, at = _block_handle(footer, 0)
    handle, _ = _block_handle(footer, at)
    for _, value in _block_entries(_block(table, *handle)):
        yield from _block_entries(_block(table, *_block_handle(value, 0)[0]))


def _block(table: bytes, offset: int, size: int) -> bytes:
    data = table[offset : offset + size]
    if table[offset + size] == 0:
        return data
    size, start = _varint(data, 0)  # the length of the content, as every Snappy stream begins
    assert start > 0
    return pa.decompress(data, decompressed_size=size, codec="snappy").to_pybytes()


def _block_entries(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    (restarts,) = struct.unpack("<I", block[-4:])
    at, end, key = 0, len(block) - 4 * (restarts + 1), b""
    while at < end:
        shared, at = _varint(block, at)
        own, at = _varint(block, at)
        size, at = _varint(block, at)
        key = key[:shared] + block[at : at + own]
        yield key, block[at + own : at + own + size]
        at += own + size


def _block_handle(data: bytes, at: int) -> tuple[tuple[int, int], int]:
    offset, at = _varint(data, at)
    size, at = _varint(data, at)
    return (offset, size), at


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (data[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not data[at - 1] & 0x80:
            return value, at
