"""Mutations that know the structure of a format: boxes, elements, chunks and segments, with lengths and checksums that fit.

Random bytes mostly break the first length or checksum, behind which no decoder looks. A format here is a tree of nodes, a
node a tag with a payload or with further nodes. A mutation changes nodes, and then sometimes the finished bytes.
"""

import random
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from tests.fuzz.mutations import mutate

Payload: TypeAlias = "bytes | list[Node]"

INTEGERS: Final = (0, 1, 2, 3, 7, 8, 127, 128, 255, 256, 32767, 32768, 65535, 65536, 2**24, 2**31 - 1, 2**31, 2**32 - 1)
_MP4_PARENTS: Final = frozenset(
    (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"dinf", b"edts", b"udta", b"mvex", b"moof", b"traf", b"stsd", b"avc1")
)
_PREFIXES: Final = {b"stsd": 8, b"avc1": 78}  # fields before the boxes inside
_EBML_PARENTS: Final = frozenset(
    bytes.fromhex(identity)
    for identity in (
        *("1A45DFA3", "18538067", "1549A966", "1654AE6B", "AE", "E0", "1F43B675", "A0"),
        *("1C53BB6B", "BB", "B7", "114D9B74", "4DBB", "1254C367", "7373"),
    )
)
_DEEPEST: Final = 12


@dataclass(slots=True)
class Node:
    """A part of a file; ``prefix`` are the fields before the nodes of a parent."""

    tag: bytes
    payload: Payload
    prefix: bytes = b""


@dataclass(frozen=True, kw_only=True)
class Structure:
    """Functions that parse the parts of a format and build a file of them."""

    parse: Callable[[bytes], list[Node]]
    build: Callable[[list[Node]], bytes]


def mutate_structure(rng: random.Random, seeds: Sequence[bytes]) -> bytes:
    """Return one of the seeds after changes of its parts, or of its bytes if its format has no structure here."""
    seed = rng.choice(seeds)
    found = structure_of(seed)
    if found is None or rng.random() < 0.15:
        return _overwritten(rng, mutate(rng, [seed]) if rng.random() < 0.3 else seed)
    nodes = found.parse(seed)
    for _ in range(rng.randint(1, 4)):
        _change(rng, nodes, found.parse(seed))
    data = found.build(nodes)
    if rng.random() < 0.2:
        data = _overwritten(rng, data)
    return data[: rng.randrange(len(data) + 1)] if rng.random() < 0.04 else data


def structure_of(data: bytes) -> Structure | None:
    """Return the structure of a file by its first bytes."""
    if data.startswith(b"\x89PNG"):
        return PNG
    if data.startswith(b"\xff\xd8"):
        return JPEG
    if data.startswith(b"RIFF"):
        return RIFF
    if data.startswith(b"\x1aE\xdf\xa3"):
        return EBML
    return MP4 if data[4:8] in {b"ftyp", b"moov", b"wide", b"mdat", b"free"} else None


def _change(rng: random.Random, nodes: list[Node], others: list[Node]) -> None:
    """Change one node in place: what it holds or, less often, where it is."""
    siblings, index = _chosen(rng, nodes)
    if not siblings:
        return
    node = siblings[index]
    if rng.random() < 0.4:
        _move(rng, siblings, index, others)
    elif isinstance(node.payload, bytes):
        node.payload = _payload_changed(rng, node.payload)
    elif node.prefix and rng.random() < 0.5:
        node.prefix = _fields_changed(rng, node.prefix)
    else:
        _change(rng, node.payload, others)


def _move(rng: random.Random, siblings: list[Node], index: int, others: list[Node]) -> None:
    """Remove, repeat, exchange, nest or rename a node."""
    node = siblings[index]
    theirs, at = _chosen(rng, others)
    match rng.randrange(6):
        case 0:
            del siblings[index]
        case 1:
            small = isinstance(node.payload, bytes) and len(node.payload) < 256
            siblings[index:index] = [node] * rng.choice((1, 2, 100 if small else 1))
        case 2:
            other = rng.randrange(len(siblings))
            siblings[index], siblings[other] = siblings[other], node
        case 3:
            siblings[index] = theirs[at] if theirs else node
        case 4:
            siblings[index] = Node(theirs[at].tag if theirs else b"????", node.payload, node.prefix)
        case _:
            for _ in range(rng.choice((1, 2, 60))):
                node = Node(node.tag, [node], node.prefix)
            siblings[index] = node


def _chosen(rng: random.Random, nodes: list[Node]) -> tuple[list[Node], int]:
    """Return a list of siblings and an index in it, mostly deep in the tree."""
    for _ in range(_DEEPEST):
        if not nodes:
            return nodes, 0
        parents = [node for node in nodes if isinstance(node.payload, list) and node.payload]
        if not parents or rng.random() < 0.25:
            break
        nodes = rng.choice(parents).payload  # type: ignore[assignment]  # parents have lists
    return nodes, rng.randrange(len(nodes))


def _payload_changed(rng: random.Random, payload: bytes) -> bytes:
    match rng.randrange(5):
        case 0:
            return payload[: rng.randrange(len(payload) + 1)]
        case 1:
            return payload + rng.randbytes(rng.choice((1, 4, 64, 4096)))
        case 2 if payload:
            data = bytearray(payload)
            for _ in range(rng.randint(1, 8)):
                data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
            return bytes(data)
    return _fields_changed(rng, payload)


def _fields_changed(rng: random.Random, payload: bytes) -> bytes:
    """Overwrite numbers of one to eight bytes, mostly near the start and at aligned positions."""
    data = bytearray(payload)
    for _ in range(rng.randint(1, 3)):
        size = rng.choice((1, 2, 4, 4, 8))
        if len(data) < size:
            break
        near = min(len(data), 96) if rng.random() < 0.8 else len(data)
        at = rng.randrange(near - size + 1)
        at -= at % size if rng.random() < 0.7 else 0
        value = rng.choice(INTEGERS) if rng.random() < 0.8 else rng.getrandbits(8 * size)
        data[at : at + size] = (value % 256**size).to_bytes(size, rng.choice(("big", "little")))
    return bytes(data)


def _overwritten(rng: random.Random, data: bytes) -> bytes:
    """Change numbers anywhere, or whole blocks: packets of transport streams have 188 bytes, sectors 2048."""
    match rng.randrange(4):
        case 0 if len(data) > 400:
            size = rng.choice((188, 2048, 64))
            at, to = (rng.randrange(len(data) // size + 1) * size for _ in range(2))
            block = data[at : at + size]
            return rng.choice(
                (data[:at] + data[at + size :], data[:to] + block + data[to:], data[:to] + block + data[to + size :])
            )
        case 1:
            at = rng.randrange(len(data) + 1)
            return data[:at] + _fields_changed(rng, data[at:])
    return _fields_changed(rng, data)


def _parse_mp4(data: bytes, depth: int = 0) -> list[Node]:
    nodes, at = [], 0
    while at + 8 <= len(data):
        size, tag = struct.unpack_from(">I4s", data, at)
        end = len(data) if size < 8 or at + size > len(data) else at + size
        body = data[at + 8 : end]
        prefix = _PREFIXES.get(tag, 0)
        if tag in _MP4_PARENTS and depth < _DEEPEST:
            nodes.append(Node(tag, _parse_mp4(body[prefix:], depth + 1), body[:prefix]))
        else:
            nodes.append(Node(tag, body))
        at = end
    return nodes


def _build_mp4(nodes: list[Node]) -> bytes:
    bodies = [(node.tag, node.prefix + _bytes_of(node.payload, _build_mp4)) for node in nodes]
    return b"".join(struct.pack(">I4s", 8 + len(body), tag[:4].ljust(4)) + body for tag, body in bodies)


def _parse_riff(data: bytes) -> list[Node]:
    nodes, at = [], 0
    while at + 8 <= len(data):
        tag, size = struct.unpack_from("<4sI", data, at)
        body = data[at + 8 : at + 8 + size]
        if tag in {b"RIFF", b"LIST"}:
            nodes.append(Node(tag, _parse_riff(body[4:]), body[:4]))
        else:
            nodes.append(Node(tag, body))
        at += 8 + size + size % 2
    return nodes


def _build_riff(nodes: list[Node]) -> bytes:
    bodies = [(node.tag, node.prefix + _bytes_of(node.payload, _build_riff)) for node in nodes]
    return b"".join(struct.pack("<4sI", tag[:4].ljust(4), len(body)) + body + b"\0" * (len(body) % 2) for tag, body in bodies)


def _parse_ebml(data: bytes, depth: int = 0) -> list[Node]:
    nodes, at = [], 0
    while at + 2 <= len(data):
        width = 9 - data[at].bit_length()  # a length is coded by its leading zeros
        identity = data[at : at + width]
        at += width
        if width > 4 or at >= len(data):
            break
        length = 9 - data[at].bit_length()
        size = int.from_bytes(data[at : at + length], "big") & (1 << 7 * length) - 1
        unknown = size == (1 << 7 * length) - 1
        at += length
        body = data[at:] if unknown else data[at : at + size]
        if identity in _EBML_PARENTS and depth < _DEEPEST:
            nodes.append(Node(identity, _parse_ebml(body, depth + 1)))
        else:
            nodes.append(Node(identity, body))
        at += len(body)
    return nodes


def _build_ebml(nodes: list[Node]) -> bytes:
    bodies = [(node.tag, node.prefix + _bytes_of(node.payload, _build_ebml)) for node in nodes]
    return b"".join(tag + (1 << 56 | len(body)).to_bytes(8, "big") + body for tag, body in bodies)


def _parse_png(data: bytes) -> list[Node]:
    nodes, at = [], 8
    while at + 12 <= len(data):
        (size,) = struct.unpack_from(">I", data, at)
        nodes.append(Node(data[at + 4 : at + 8], data[at + 8 : at + 8 + size]))
        at += 12 + size
    return nodes


def _build_png(nodes: list[Node]) -> bytes:
    chunks = [node.tag[:4].ljust(4) + node.prefix + _bytes_of(node.payload, _build_png) for node in nodes]
    coded = [struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(coded)


def _parse_jpeg(data: bytes) -> list[Node]:
    """Parse the segments; the compressed picture is the last node, without a tag."""
    nodes, at = [], 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        (size,) = struct.unpack_from(">H", data, at + 2)
        nodes.append(Node(data[at : at + 2], data[at + 4 : at + 2 + size]))
        at += 2 + size
        if nodes[-1].tag == b"\xff\xda":
            break
    return [*nodes, Node(b"", data[at:])]


def _build_jpeg(nodes: list[Node]) -> bytes:
    bodies = [(node.tag, node.prefix + _bytes_of(node.payload, _build_jpeg)) for node in nodes]
    coded = [tag + struct.pack(">H", (len(body) + 2) % 65536) + body if tag else body for tag, body in bodies]
    return b"\xff\xd8" + b"".join(coded)


def _bytes_of(payload: Payload, build: Callable[[list[Node]], bytes]) -> bytes:
    return payload if isinstance(payload, bytes) else build(payload)


MP4: Final = Structure(parse=_parse_mp4, build=_build_mp4)
RIFF: Final = Structure(parse=_parse_riff, build=_build_riff)
EBML: Final = Structure(parse=_parse_ebml, build=_build_ebml)
PNG: Final = Structure(parse=_parse_png, build=_build_png)
JPEG: Final = Structure(parse=_parse_jpeg, build=_build_jpeg)
