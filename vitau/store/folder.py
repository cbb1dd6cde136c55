"""The object store in a folder: one file per object, and a small file with its digest.

The digests lie apart, under names that are hashes of the keys. A backup of the folder holds both.
"""

import errno
import hashlib
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Final

from vitau.errors import StoreError
from vitau.store.atomic import PRIVATE_FILE, PRIVATE_FOLDER, atomic_path, make_private_folders, sync
from vitau.store.interface import Digest, Store, check_digest, checked_key, is_key, missing, sha256_of

_PARTIAL: Final = ".partial"  # folder of unfinished objects; no key begins with a dot
_DIGESTS: Final = ".digests"
_COPY_BUFFER: Final = 1 << 20
_ABANDONED_S: Final = 24 * 3600
_ATTEMPTS: Final = 100
"""Attempts to create an object in a folder that concurrent erasures remove because it is empty."""


class FolderStore(Store):
    """Objects as files under a folder. An exclusive hard link makes writes atomic and create-only.

    Files are readable by their owner only. An object is on the disk, with its name, when ``put`` returns.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.uri = self.folder.as_uri()
        with _disk_errors(self.uri):
            for name in (_PARTIAL, _DIGESTS):
                make_private_folders(self.folder / name)
            for partial in (self.folder / _PARTIAL).iterdir():  # left by a killed writer: no write takes a day
                with suppress(FileNotFoundError):
                    if time.time() - partial.stat().st_mtime > _ABANDONED_S:
                        partial.unlink()

    def _create(self, key: str, data: bytes | Path) -> bool:
        target = self.folder / key
        if target.exists():
            return False
        with _disk_errors(self.location(key)):
            handle, name = tempfile.mkstemp(dir=self.folder / _PARTIAL)  # mode 0600
            partial = Path(name)
            try:
                with os.fdopen(handle, "wb") as file:
                    digest = _write(data, file)
                    file.flush()
                    os.fsync(file.fileno())
                if not _link(partial, target):
                    return False
                self._leave_digest(key, digest)
            finally:
                partial.unlink(missing_ok=True)
        return True

    def digest(self, key: str) -> Digest | None:
        try:
            sha256, size = self._digest_path(key).read_text("ascii").split()
            return Digest(sha256=sha256, size=int(size))
        except (FileNotFoundError, ValueError):  # torn by a power failure: as if it had none
            return None

    def get(self, key: str, *, sha256: str | None = None) -> bytes:
        try:
            data = (self.folder / checked_key(key)).read_bytes()
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
            raise missing(self.location(key)) from error
        expected = sha256 or self._recorded(key)
        if expected is not None:
            check_digest(sha256_of(data), self.location(key), expected)
        return data

    def download(self, key: str, path: Path, *, sha256: str | None = None) -> Path:
        source = self.folder / checked_key(key)
        with _disk_errors(str(path)):
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_path(path) as partial:
                try:
                    with partial.open("xb") as file:
                        digest = _write(source, file)
                except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
                    raise missing(self.location(key)) from error
                check_digest(digest.sha256, self.location(key), sha256 or self._recorded(key))
        return path

    def exists(self, key: str) -> bool:
        return (self.folder / checked_key(key)).is_file()

    def keys(self, prefix: str = "") -> Iterator[str]:
        start = self.folder / prefix.rpartition("/")[0]
        found = []
        for folder, folders, files in os.walk(start):  # folders that vanish meanwhile are left out
            folders[:] = [name for name in folders if not name.startswith(".")]
            found += [(Path(folder) / name).relative_to(self.folder).as_posix() for name in files]
        yield from sorted(key for key in found if key.startswith(prefix))

    def erase(self, prefix: str) -> int:
        keys, folders = list(self.keys(prefix)), set()
        with _disk_errors(f"{self.uri}/{prefix}"):
            for key in keys:
                path = self.folder / key
                path.unlink(missing_ok=True)
                self._digest_path(key).unlink(missing_ok=True)
                folders.add(path.parent)
            if is_key(prefix):  # its writer may leave a digest after another erasure deleted the object
                self._digest_path(prefix).unlink(missing_ok=True)
            for folder in folders:
                with suppress(FileNotFoundError):  # another erasure removed it
                    sync(folder)
                self._remove_empty_folders(folder)
        return len(keys)

    def _remove_empty_folders(self, folder: Path) -> None:
        for parent in (folder, *folder.parents):
            if parent == self.folder:
                return
            try:
                parent.rmdir()
            except FileNotFoundError:  # another erasure removed it
                continue
            except OSError as error:
                if error.errno == errno.ENOTEMPTY:
                    return
                raise

    def _digest_path(self, key: str) -> Path:
        name = hashlib.sha256(checked_key(key).encode()).hexdigest()
        return self.folder / _DIGESTS / name[:2] / name

    def _leave_digest(self, key: str, digest: Digest) -> None:
        path = self._digest_path(key)
        path.parent.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)  # not synced: without its digest an object is still whole
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, PRIVATE_FILE)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(f"{digest.sha256} {digest.size}\n")

    def _recorded(self, key: str) -> str | None:
        digest = self.digest(key)
        return None if digest is None else digest.sha256


def _write(data: bytes | Path, file: IO[bytes]) -> Digest:
    """Write bytes, or a file's content, and return their digest."""
    if isinstance(data, bytes):
        file.write(data)
        return Digest(sha256=sha256_of(data), size=len(data))
    digest, size = hashlib.sha256(), 0
    with data.open("rb") as source:
        while block := source.read(_COPY_BUFFER):
            file.write(block)
            digest.update(block)
            size += len(block)
    return Digest(sha256=digest.hexdigest(), size=size)


def _link(partial: Path, target: Path) -> bool:
    """Link a complete file to its name; return False if the name is taken."""
    for attempt in range(_ATTEMPTS):
        try:
            make_private_folders(target.parent)
            os.link(partial, target)
        except FileExistsError:
            return False
        except FileNotFoundError:  # an erasure removed the empty folder after it was made
            if attempt == _ATTEMPTS - 1:
                raise
        else:
            break
    with suppress(FileNotFoundError):  # an erasure removed the object already
        sync(target.parent)
    return True


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
