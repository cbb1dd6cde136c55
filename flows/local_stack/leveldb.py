"""Rewrite a LevelDB database without anything that was deleted or overwritten; no program may have it open.

A deleted entry stays in LevelDB's files until a compaction, which SeaweedFS cannot be asked for. The formats are those of
LevelDB's ``log_format.md``, ``table_format.md`` and ``version_edit.cc``. A new database is one write-ahead log and the manifest
that names it: at its next start LevelDB makes tables of it.
"""

import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import pyarrow as pa

from vitau.errors import StackError
from vitau.store.atomic import write_atomic

_BLOCK: Final = 32768
_HEADER: Final = struct.Struct("<IHB")
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4
_FOOTER: Final = 48
_MAGIC: Final = bytes.fromhex("57fb808b247547db")
_COMPARATOR: Final = b"leveldb.BytewiseComparator"
_PUT: Final = 1
_BATCH: Final = 1000
"""Entries per record of a log."""


def read_entries(folder: Path) -> dict[bytes, bytes]:
    """Return the entries of a database: its tables and write-ahead logs, without deleted and overwritten ones.

    Raises:
        StackError: a file is damaged, or of another version of LevelDB.
    """
    newest: dict[bytes, tuple[int, bytes | None]] = {}
    try:
        for key, sequence, value in _all_entries(folder):
            if key not in newest or newest[key][0] <= sequence:
                newest[key] = (sequence, value)
    except (OSError, ValueError, IndexError, struct.error, pa.ArrowException) as error:
        raise StackError(f"the index {folder.name} cannot be read ({type(error).__name__}): restore it from a copy") from error
    return {key: value for key, (_, value) in newest.items() if value is not None}


def write_entries(folder: Path, entries: dict[bytes, bytes]) -> None:
    """Write a new database with these entries into an empty folder."""
    items = sorted(entries.items())
    batches = [_batch(start + 1, items[start : start + _BATCH]) for start in range(0, len(items), _BATCH)]
    edit = (
        b"\x01"
        + _text(_COMPARATOR)
        + b"".join(bytes([tag]) + _number(value) for tag, value in ((2, 1), (9, 0), (3, 2), (4, 0)))
    )
    write_atomic(folder / "000001.log", b"".join(_log(batches)), mode=0o600)
    write_atomic(folder / "MANIFEST-000000", b"".join(_log([edit])), mode=0o600)
    write_atomic(folder / "CURRENT", b"MANIFEST-000000\n", mode=0o600)


def _all_entries(folder: Path) -> Iterator[tuple[bytes, int, bytes | None]]:
    """Yield the key, the sequence number and the value of every entry; the value of a deleted one is ``None``."""
    tables, first_log, previous_log = _live_files(folder)
    for number in sorted(tables):
        paths = [path for path in (folder / f"{number:06d}.ldb", folder / f"{number:06d}.sst") if path.exists()]
        for internal, value in _table_entries(paths[0].read_bytes()):
            (tag,) = struct.unpack("<Q", internal[-8:])
            yield internal[:-8], tag >> 8, value if tag & 0xFF == _PUT else None
    for path in sorted(folder.glob("*.log")):
        if int(path.stem) >= first_log or int(path.stem) == previous_log:
            for record in _records(path.read_bytes()):
                yield from _batch_entries(record)


def _live_files(folder: Path) -> tuple[set[int], int, int]:
    """Return the numbers of the tables in use, of the first log in use, and of a log that is being replaced."""
    manifest = folder / (folder / "CURRENT").read_text().strip()
    tables: set[int] = set()
    logs = {2: 0, 9: 0}
    for record in _records(manifest.read_bytes()):
        at = 0
        while at < len(record):
            tag, at = varint(record, at)
            if tag == 1:
                name, at = _bytes(record, at)
                if name != _COMPARATOR:
                    raise ValueError("another order of keys")
            elif tag in {2, 3, 4, 9}:
                value, at = varint(record, at)
                logs[tag] = value
            elif tag == 5:
                _, at = varint(record, at)
                _, at = _bytes(record, at)
            elif tag == 6:
                _, at = varint(record, at)
                number, at = varint(record, at)
                tables.discard(number)
            elif tag == 7:
                _, at = varint(record, at)
                number, at = varint(record, at)
                _, at = varint(record, at)
                _, at = _bytes(record, at)
                _, at = _bytes(record, at)
                tables.add(number)
            else:
                raise ValueError("an unknown field of the manifest")
    return tables, logs[2], logs[9]


def _records(data: bytes) -> Iterator[bytes]:
    """Yield the records of a log or a manifest; a record that was being written during a crash ends it."""
    at, parts = 0, b""
    while at + _HEADER.size <= len(data):
        left = _BLOCK - at % _BLOCK
        if left < _HEADER.size:
            at += left
            continue
        checksum, size, kind = _HEADER.unpack_from(data, at)
        if kind == 0 and size == 0:  # allocated, and not written
            return
        part = data[at + _HEADER.size : at + _HEADER.size + size]
        if len(part) < size:
            return
        if checksum != _masked_crc(bytes([kind]) + part):
            raise ValueError("a wrong checksum")
        at += _HEADER.size + size
        parts = part if kind in {_FULL, _FIRST} else parts + part
        if kind in {_FULL, _LAST}:
            yield parts


def _log(records: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the blocks of a log with these records."""
    at = 0
    for record in records:
        start, first = 0, True
        while first or start < len(record):
            left = _BLOCK - at % _BLOCK
            if left < _HEADER.size:
                yield b"\0" * left
                at, left = at + left, _BLOCK
            part = record[start : start + left - _HEADER.size]
            last = start + len(part) == len(record)
            kind = (_FULL if last else _FIRST) if first else (_LAST if last else _MIDDLE)
            yield _HEADER.pack(_masked_crc(bytes([kind]) + part), len(part), kind) + part
            at, start, first = at + _HEADER.size + len(part), start + len(part), False


def _batch(sequence: int, items: list[tuple[bytes, bytes]]) -> bytes:
    puts = b"".join(bytes([_PUT]) + _text(key) + _text(value) for key, value in items)
    return struct.pack("<QI", sequence, len(items)) + puts


def _batch_entries(record: bytes) -> Iterator[tuple[bytes, int, bytes | None]]:
    sequence, number = struct.unpack_from("<QI", record)
    at = 12
    for offset in range(number):
        kind, at = record[at], at + 1
        key, at = _bytes(record, at)
        value: bytes | None = None
        if kind == _PUT:
            value, at = _bytes(record, at)
        yield key, sequence + offset, value


def _table_entries(table: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the internal keys and values of a table."""
    if table[-8:] != _MAGIC:
        raise ValueError("no table")
    footer = table[-_FOOTER:]
    _, at = _handle(footer, 0)
    index, _ = _handle(footer, at)
    for _, handle in _block_entries(_block(table, index)):
        yield from _block_entries(_block(table, _handle(handle, 0)[0]))


def _block(table: bytes, handle: tuple[int, int]) -> bytes:
    offset, size = handle
    kind = table[offset + size]
    (checksum,) = struct.unpack_from("<I", table, offset + size + 1)
    data = table[offset : offset + size]
    if checksum != _masked_crc(data + bytes([kind])):
        raise ValueError("a wrong checksum")
    if kind == 0:
        return data
    content, _ = varint(data, 0)  # a Snappy stream begins with the length of its content
    return bytes(pa.decompress(data, decompressed_size=content, codec="snappy", asbytes=True))


def _block_entries(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    (restarts,) = struct.unpack("<I", block[-4:])
    at, end, key = 0, len(block) - 4 * (restarts + 1), b""
    while at < end:
        shared, at = varint(block, at)
        own, at = varint(block, at)
        size, at = varint(block, at)
        key = key[:shared] + block[at : at + own]
        yield key, block[at + own : at + own + size]
        at += own + size


def _handle(data: bytes, at: int) -> tuple[tuple[int, int], int]:
    offset, at = varint(data, at)
    size, at = varint(data, at)
    return (offset, size), at


def _bytes(data: bytes, at: int) -> tuple[bytes, int]:
    size, at = varint(data, at)
    return data[at : at + size], at + size


def varint(data: bytes, at: int) -> tuple[int, int]:
    """Return a number of variable length, and the offset after it."""
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def _number(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _text(data: bytes) -> bytes:
    return _number(len(data)) + data


def _table_of_crc() -> list[int]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)  # noqa: PLW2901 - the polynomial division of one byte
        table.append(byte)
    return table


_CRC32C: Final = _table_of_crc()


def _masked_crc(data: bytes) -> int:
    """Return the CRC-32C of bytes as LevelDB stores it."""
    crc, table = 0xFFFFFFFF, _CRC32C
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
