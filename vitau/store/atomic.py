"""Atomic writes: a file or a folder appears under its name complete, or not at all."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from uuid import uuid4

from vitau.errors import StoreError

_PARTIAL: Final = ".partial"


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; rename it to ``path`` on success, remove it on failure.

    The block writes a file or makes a folder there. The temporary name keeps the suffix of ``path``, because some writers
    choose their format by it. Concurrent writers have different temporary names; the last rename wins.

    Raises:
        OSError: the rename fails, because ``path`` is a folder that is not empty, or a file where a folder was written.
    """
    partial = path.with_name(f".{path.stem}.{uuid4().hex[:12]}{_PARTIAL}{path.suffix}")
    try:
        yield partial
        partial.replace(path)
    finally:
        _remove(partial)


def write_atomic(path: Path, data: bytes | str, *, mode: int | None = None) -> None:
    """Write a whole file atomically; text is UTF-8 and its line ends stay as they are.

    Args:
        path: its folder exists.
        data: the content.
        mode: permissions from the first byte on, such as 0o600 for secrets; by default those of any new file.

    Raises:
        StoreError: the file cannot be written.
    """
    try:
        with atomic_path(path) as partial:
            if mode is not None:
                partial.touch(mode=mode, exist_ok=False)
            partial.write_bytes(data if isinstance(data, bytes) else data.encode())
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror}; give another place") from error


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
