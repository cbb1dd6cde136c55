"""The interface of an object store, and the checks of keys, people and bytes that all stores share."""

import hashlib
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vitau.errors import ChecksumError, ErasedError, ObjectNotFoundError
from vitau.schema import tombstone

_KEY: Final = re.compile(r"[A-Za-z0-9._=-]+(/[A-Za-z0-9._=-]+)*")
_PERSON: Final = re.compile(r"(?:subjects|scores/[^/]+)/([^/]+)/.+")
TOMBSTONES: Final = "tombstones/"
"""The prefix of the objects that name erased people; the key holds the tombstone, never the pseudonym."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Digest:
    """The SHA-256, in hexadecimal digits, and the number of bytes of an object when it was written."""

    sha256: str
    size: int


class Store(ABC):
    """An object store. Open one with :func:`vitau.store.open_store`."""

    uri: str

    def put(self, key: str, data: bytes | Path) -> bool:
        """Write an object, unless the key exists.

        An object of an erased person is deleted again. The check comes after the write, and an erasure writes its tombstone
        before it deletes: whichever is later removes the object.

        Args:
            key: relative path with forward slashes.
            data: the bytes, or a local file that holds them.

        Returns:
            True if this call created the object, False if it existed.

        Raises:
            ValueError: the key is not a plain relative path.
            StoreError: the object cannot be written (a full disk, no permission, no connection).
            ErasedError: the object is of a person who was erased.
        """
        created = self._create(checked_key(key), data)
        person = _PERSON.fullmatch(key)
        if person is not None and self.exists(tombstone_key(person[1])):
            self.erase(key)
            raise ErasedError(f"{tombstone(person[1])} was erased, and no object of an erased person is kept")
        return created

    @abstractmethod
    def _create(self, key: str, data: bytes | Path) -> bool:
        """Write an object with its digest unless the key exists; return whether this call created it."""

    @abstractmethod
    def digest(self, key: str) -> Digest | None:
        """Return the digest that the writer of an object left beside it; ``None`` if there is none, or no such object."""

    @abstractmethod
    def download(self, key: str, path: Path, *, sha256: str | None = None) -> Path:
        """Copy an object to a local file, atomically, and verify its bytes as :meth:`get` does.

        Raises:
            ObjectNotFoundError: the key does not exist.
            ChecksumError: the bytes were changed.
        """

    @abstractmethod
    def exists(self, key: str) -> bool:
        """Return whether the key exists."""

    @abstractmethod
    def keys(self, prefix: str = "") -> Iterator[str]:
        """Yield the keys with a prefix, sorted."""

    @abstractmethod
    def erase(self, prefix: str) -> int:
        """Delete every object with a prefix; return how many there were. Concurrent writers and erasures are no error."""

    def purge(self, prefix: str) -> int:
        """Delete every object with a prefix, with its older versions and unfinished uploads; return how many objects."""
        return self.erase(prefix)

    @abstractmethod
    def get(self, key: str, *, sha256: str | None = None) -> bytes:
        """Read a whole object and verify its bytes: with ``sha256``, or else with the digest that its writer left.

        Raises:
            ObjectNotFoundError: the key does not exist.
            ChecksumError: the bytes do not have this digest.
        """

    def location(self, key: str) -> str:
        """Return the URI of a key."""
        return f"{self.uri}/{checked_key(key)}"


def tombstone_key(pseudonym: str) -> str:
    """Return ``tombstones/<tombstone>``, the key of the object that marks a person as erased."""
    return f"{TOMBSTONES}{tombstone(pseudonym)}"


def sha256_of(data: bytes | Path) -> str:
    """Return the hex SHA-256 of bytes or of a file's content."""
    if isinstance(data, bytes):
        return hashlib.sha256(data).hexdigest()
    with data.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_key(text: str) -> bool:
    """Return whether a text is a plain relative path, as every key is."""
    return bool(_KEY.fullmatch(text)) and not text.startswith(".") and ".." not in text.split("/")


def checked_key(key: str) -> str:
    """Return the key if it is a plain relative path. Raises ValueError."""
    if not is_key(key):
        raise ValueError(f"{key!r} is not an object key: use letters, digits, '.', '_', '=' and '-' between single slashes")
    return key


def missing(location: str) -> ObjectNotFoundError:
    """Build the error for a missing object."""
    return ObjectNotFoundError(f"no object at {location}: it was never written, or it was erased")


def check_digest(found: str, location: str, sha256: str | None) -> None:
    """Raise ChecksumError if a digest is not the expected one; nothing is expected of ``None``."""
    if sha256 is not None and found != sha256:
        raise ChecksumError(
            f"{location} does not have the bytes that were written (sha256 {sha256[:12]}…): restore it from a copy"
        )
