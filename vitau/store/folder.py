"""The object store in a folder: one file per object."""

import errno
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from vitau.errors import StoreError
from vitau.store.atomic import atomic_path
from vitau.store.interface import Store, checked_key, missing, verified

_PARTIAL: Final = ".partial"  # folder of unfinished objects; no key begins with a dot
_COPY_BUFFER: Final = 1 << 20
_ABANDONED_S: Final = 24 * 3600


class FolderStore(Store):
    """Objects as files under a folder. An exclusive hard link makes writes atomic and create-only."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.uri = self.folder.as_uri()
        with _disk_errors(self.uri):
            (self.folder / _PARTIAL).mkdir(parents=True, exist_ok=True)
            for partial in (self.folder / _PARTIAL).iterdir():  # left by a killed writer: no write takes a day
                with suppress(FileNotFoundError):
                    if time.time() - partial.stat().st_mtime > _ABANDONED_S:
                        partial.unlink()

    def put(self, key: str, data: bytes | Path) -> bool:
        target = self.folder / checked_key(key)
        if target.exists():
            return False
        with _disk_errors(self.location(key)):
            handle, name = tempfile.mkstemp(dir=self.folder / _PARTIAL)
            partial = Path(name)
            try:
                with os.fdopen(handle, "wb") as file:
                    if isinstance(data, bytes):
                        file.write(data)
                    else:
                        with data.open("rb") as source:
                            shutil.copyfileobj(source, file, _COPY_BUFFER)
                    file.flush()
                    os.fsync(file.fileno())
                partial.chmod(0o644)
                target.parent.mkdir(parents=True, exist_ok=True)
                try:
                    os.link(partial, target)
                except FileExistsError:
                    return False
            finally:
                partial.unlink(missing_ok=True)
        return True

    def get(self, key: str, *, sha256: str | None = None) -> bytes:
        try:
            data = (self.folder / checked_key(key)).read_bytes()
        except (FileNotFoundError, IsADirectoryError) as error:
            raise missing(self.location(key)) from error
        return verified(data, self.location(key), sha256)

    def download(self, key: str, path: Path) -> Path:
        source = self.folder / checked_key(key)
        with _disk_errors(str(path)):
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_path(path) as partial:
                try:
                    shutil.copyfile(source, partial)
                except FileNotFoundError as error:
                    raise missing(self.location(key)) from error
        return path

    def exists(self, key: str) -> bool:
        return (self.folder / checked_key(key)).is_file()

    def keys(self, prefix: str = "") -> Iterator[str]:
        start = self.folder / prefix.rpartition("/")[0]
        found = (path.relative_to(self.folder).as_posix() for path in start.rglob("*") if path.is_file())
        yield from sorted(key for key in found if key.startswith(prefix) and not key.startswith(_PARTIAL))

    def erase(self, prefix: str) -> int:
        keys = list(self.keys(prefix))
        for key in keys:
            path = self.folder / key
            path.unlink(missing_ok=True)
            for parent in path.parents:
                if parent == self.folder or any(parent.iterdir()):
                    break
                parent.rmdir()
        return len(keys)


class _disk_errors:  # noqa: N801 (reads as the verb of a `with` statement)
    """Convert errors of the disk to StoreError."""

    def __init__(self, location: str) -> None:
        self.location = location

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                raise StoreError(f"no space left to write {self.location}: free some space and run it again") from error
            if not isinstance(error, StoreError):
                raise StoreError(f"cannot write {self.location}: {error.strerror or error}") from error
