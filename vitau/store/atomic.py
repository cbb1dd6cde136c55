"""Atomic writes: a file or a folder appears under its name complete, or not at all, also after a power failure.

What is written here may show or name people, so that files are readable and folders accessible by their owner only.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final
from uuid import uuid4

from vitau.errors import StoreError

_PARTIAL: Final = ".partial"
PRIVATE_FILE: Final = 0o600
PRIVATE_FOLDER: Final = 0o700


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; rename it to ``path`` on success, remove it on failure.

    The block writes a file or makes a folder there. The temporary name keeps the suffix of ``path``, because some writers
    choose their format by it. Concurrent writers have different temporary names; the last rename wins. The content is on the
    disk before the rename, and the rename is on the disk at the end.

    Raises:
        OSError: the rename fails, because ``path`` is a folder that is not empty, or a file where a folder was written.
    """
    partial = path.with_name(f".{path.stem}.{uuid4().hex[:12]}{_PARTIAL}{path.suffix}")
    try:
        yield partial
        partial.chmod(PRIVATE_FOLDER if partial.is_dir() else PRIVATE_FILE)
        sync(partial)
        partial.replace(path)
        sync(path.parent)
    finally:
        _remove(partial)


def write_atomic(path: Path, data: bytes | str, *, mode: int = PRIVATE_FILE) -> None:
    """Write a whole file atomically; text is UTF-8 and its line ends stay as they are.

    Args:
        path: its folder exists.
        data: the content.
        mode: permissions; until the content is complete, only the owner can read it.

    Raises:
        StoreError: the file cannot be written.
    """
    try:
        with atomic_path(path) as partial:
            partial.touch(mode=PRIVATE_FILE, exist_ok=False)
            partial.write_bytes(data if isinstance(data, bytes) else data.encode())
        if mode != PRIVATE_FILE:
            path.chmod(mode)
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror}; give another place") from error


def make_private_folders(folder: Path) -> None:
    """Create a folder and its missing parents, for the owner only; those that exist keep their permissions.

    The new entries are on the disk afterwards.

    Raises:
        FileNotFoundError: another process removed a parent that was empty.
    """
    created = [path for path in (folder, *folder.parents) if not path.exists()]
    for path in reversed(created):
        with suppress(FileExistsError):  # made by another writer meanwhile
            path.mkdir(mode=PRIVATE_FOLDER)
            sync(path.parent)


def sync(path: Path) -> None:
    """Write a file, or the entries of a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_partials(folder: Path, stem: str = "*") -> None:
    """Delete the temporary files and folders that killed writers left in a folder.

    Args:
        folder: one in which nothing else writes now.
        stem: of the final names, as a glob pattern.
    """
    for partial in folder.glob(f".{stem}.*{_PARTIAL}*"):
        _remove(partial)


def _remove(partial: Path) -> None:
    if partial.is_dir():
        shutil.rmtree(partial, ignore_errors=True)
    else:
        partial.unlink(missing_ok=True)
