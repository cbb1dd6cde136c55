"""The interface of an object store, and the checks of keys and bytes that all stores share."""

import hashlib
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from vitau.errors import ChecksumError, ObjectNotFoundError

_KEY: Final = re.compile(r"[A-Za-z0-9._=-]+(/[A-Za-z0-9._=-]+)*")


class Store(ABC):
    """An object store. Open one with :func:`vitau.store.open_store`."""

    uri: str

    @abstractmethod
    def put(self, key: str, data: bytes | Path) -> bool:
        """Write an object, unless the key exists.

        Args:
            key: relative path with forward slashes.
            data: the bytes, or a local file that holds them.

        Returns:
            True if this call created the object, False if it existed.

        Raises:
            ValueError: the key is not a plain relative path.
            StoreError: the object cannot be written (a full disk, no permission, no connection).
        """

    @abstractmethod
    def download(self, key: str, path: Path) -> Path:
        """Copy an object to a local file, atomically. Raises ObjectNotFoundError."""

    @abstractmethod
    def exists(self, key: str) -> bool:
        """Return whether the key exists."""

    @abstractmethod
    def keys(self, prefix: str = "") -> Iterator[str]:
        """Yield the keys with a prefix, sorted."""

    @abstractmethod
    def erase(self, prefix: str) -> int:
        """Delete every object with a prefix; return how many there were."""

    @abstractmethod
    def get(self, key: str, *, sha256: str | None = None) -> bytes:
        """Read a whole object; with ``sha256``, verify its bytes.

        Raises:
            ObjectNotFoundError: the key does not exist.
            ChecksumError: the bytes do not have this digest.
        """

    def location(self, key: str) -> str:
        """Return the URI of a key."""
        return f"{self.uri}/{checked_key(key)}"


def sha256_of(data: bytes | Path) -> str:
    """Return the hex SHA-256 of bytes or of a file's content."""
    if isinstance(data, bytes):
        return hashlib.sha256(data).hexdigest()
    with data.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def checked_key(key: str) -> str:
    """Return the key if it is a plain relative path. Raises ValueError."""
    if not _KEY.fullmatch(key) or key.startswith(".") or ".." in key.split("/"):
        raise ValueError(f"{key!r} is not an object key: use letters, digits, '.', '_', '=' and '-' between single slashes")
    return key


def missing(location: str) -> ObjectNotFoundError:
    """Build the error for a missing object."""
    return ObjectNotFoundError(f"no object at {location}: it was never written, or it was erased")


def verified(data: bytes, location: str, sha256: str | None) -> bytes:
    """Return the bytes if they have the digest, or if none is given. Raises ChecksumError."""
    if sha256 is not None and sha256_of(data) != sha256:
        raise ChecksumError(
            f"{location} does not have the bytes that were written (sha256 {sha256[:12]}…): restore it from a copy"
        )
    return data
