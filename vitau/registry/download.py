"""Download a registered model into a folder, verified by checksums. No code of the model is downloaded or run."""

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from vitau.errors import ChecksumError, RegistryError
from vitau.registry import registry
from vitau.registry.bundle import (
    SUMS,
    VERSION,
    files_digest,
    folder_digest,
    list_files,
    read_sums,
    sha256_of,
    verify_sums,
    write_sums,
)
from vitau.registry.signature import check_signature

Watch = Callable[[Iterable[str], int], Iterable[str]]
Check = Callable[[str | None], None]
"""Raises unless the digest of all files is accepted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pulled:
    """The result of a pull: the version in the folder, its number of files, and how many of them were downloaded."""

    folder: Path
    version: registry.Version
    num_files: int
    num_fetched: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Approved:
    """The digests of a version that a signed record approved; ``files`` is ``None`` if the record has none."""

    digest: str
    files: str | None
    record: int | None


def pull(
    tracking_uri: str,
    model_uri: str,
    folder: Path,
    *,
    watch: Watch = lambda names, _: names,
    approved: Approved | None = None,
    public_key: str | None = None,
    wait: bool = False,
) -> Pulled:
    """Download a registered model into a folder, atomically: it holds all of the new version, or is unchanged.

    Files that are there already, in the folder or from an interrupted pull, are not downloaded again. Another version of a
    pulled model is replaced. A folder with any other content is refused.

    Args:
        tracking_uri: of the MLflow server.
        model_uri: ``models:/NAME/VERSION`` or ``models:/NAME@ALIAS``.
        folder: created if missing.
        watch: wraps the names of the files to download, given their number, to show progress.
        approved: digests that the version must have.
        public_key: of the signature that the version must have, in hex.
        wait: wait for another pull into the folder instead of refusing to start.

    Raises:
        RegistryError: no such model, version or alias, no valid signature, the registry cannot be reached, the folder holds
            something else, or another pull into it is running.
        ChecksumError: the downloaded bytes are not those that were registered or approved.
    """
    folder = folder.absolute()
    found = registry.find_version(tracking_uri, model_uri)
    if folder.exists() and not _is_ours(folder):
        raise RegistryError(f"{folder} holds something other than a pulled model: give the name of a new folder")

    def check(files: str | None) -> None:
        _check_approved(found, files, approved)
        if public_key is not None:
            check_signature(found, files, public_key)

    if _holds(folder, found, check):
        return Pulled(folder=folder, version=found, num_files=sum(1 for _ in list_files(folder)), num_fetched=0)
    part = folder.with_name(f".{folder.name}.partial")
    try:
        with _locked(part, folder, wait=wait):
            if wait and _holds(folder, found, check):  # by the pull that this one waited for
                shutil.rmtree(part, ignore_errors=True)
                num_fetched = 0
            else:
                num_fetched = _complete(tracking_uri, found, part, folder, watch, check)
                _swap(part, folder)
    except OSError as error:
        raise RegistryError(
            f"{folder} cannot be written ({error.strerror or error}): the downloaded files are kept, so run it again"
        ) from error
    return Pulled(folder=folder, version=found, num_files=sum(1 for _ in list_files(folder)), num_fetched=num_fetched)


def model_folder(model: str | Path, tracking_uri: str, *, watch: Watch = lambda names, _: names) -> Path:
    """Return a local model folder: the given one, or that of ``models:/…``, pulled into the user's cache.

    The cache is ``~/.cache/vitau/models`` (``XDG_CACHE_HOME``), a folder per model; it may be deleted at any time.

    Raises:
        RegistryError, ChecksumError: as in :func:`pull`.
    """
    if not str(model).startswith("models:"):
        return Path(model)
    found = registry.find_version(tracking_uri, str(model))
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vitau" / "models"
    uri = f"models:/{found.name}/{found.version}"
    return pull(tracking_uri, uri, cache / f"{found.name}-{found.version}-{found.digest[:16]}", watch=watch).folder


def _is_ours(folder: Path) -> bool:
    return folder.is_dir() and ((folder / VERSION).is_file() or not any(folder.iterdir()))


def _check_approved(found: registry.Version, files: str | None, approved: Approved | None) -> None:
    if approved is None:
        return
    if found.digest != approved.digest or approved.files not in {None, files}:
        by = "that was trained here" if approved.record is None else f"that record {approved.record} approved"
        raise ChecksumError(
            f"{found.name} version {found.version} in the registry is not the model {by}: its files or tags were changed "
            "there; restore them from a backup, or make another version champion"
        )


def _holds(folder: Path, found: registry.Version, check: Check) -> bool:
    """Return whether the folder holds exactly this version, complete, unchanged and accepted by ``check``."""
    if not (folder / VERSION).is_file() or (folder / VERSION).read_text(encoding="utf-8") != _version_text(found):
        return False
    try:
        if not verify_sums(folder) or folder_digest(folder) != found.digest:
            return False
        sums = read_sums(folder / SUMS)
        sums.pop(VERSION, None)
        check(files_digest(sums))
    except (ChecksumError, RegistryError):  # a new download repairs the folder, or raises what is wrong with the registry
        return False
    return True


def _version_text(found: registry.Version) -> str:
    values = asdict(found)
    values.pop("signature")  # it may be added later, and the folder stays the same
    return json.dumps(values, indent=1) + "\n"


def _complete(tracking_uri: str, found: registry.Version, part: Path, folder: Path, watch: Watch, check: Check) -> int:
    """Download the missing files of a version into ``part``; return how many there were."""
    incoming = part / ".incoming"
    shutil.rmtree(incoming, ignore_errors=True)
    expected = registry.list_files(tracking_uri, found, incoming)
    sums = {name: sha256 for name, sha256 in expected.items() if sha256 is not None}
    try:
        check(files_digest(sums) if sums else None)
    except (ChecksumError, RegistryError):
        shutil.rmtree(part)
        raise
    for path in list_files(part):
        if path.relative_to(part).as_posix() not in expected:
            path.unlink()
    missing = [name for name, sha256 in expected.items() if not _is_local(name, sha256, part, folder)]
    for name in watch(missing, len(missing)):
        file, sha256 = registry.fetch_file(tracking_uri, found, name, incoming), expected[name]
        if sha256 is not None and sha256_of(file) != sha256:
            raise ChecksumError(
                f"{name} of {found.name}/{found.version} arrived with other bytes than were registered: try again"
            )
        (part / name).parent.mkdir(parents=True, exist_ok=True)
        file.replace(part / name)
    shutil.rmtree(incoming, ignore_errors=True)
    if folder_digest(part) != found.digest:
        raise ChecksumError(f"{found.name}/{found.version} is not the model that was registered: its files were changed there")
    (part / VERSION).write_text(_version_text(found), encoding="utf-8")
    write_sums(part)
    return len(missing)


def _is_local(name: str, sha256: str | None, part: Path, folder: Path) -> bool:
    """Return whether ``part`` has a file with this checksum; copy it from the folder if that has it."""
    if sha256 is None:
        return False
    if (part / name).is_file() and sha256_of(part / name) == sha256:
        return True
    if not (folder / name).is_file() or sha256_of(folder / name) != sha256:
        return False
    (part / name).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(folder / name, part / name)
    return True


def _swap(part: Path, folder: Path) -> None:
    old = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    part.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


@contextmanager
def _locked(part: Path, folder: Path, *, wait: bool) -> Iterator[None]:
    """Lock ``part`` against other pulls into the same folder; the lock of a killed process is released by the kernel."""
    while (handle := _lock(part, wait=wait)) is None:
        if not wait:
            raise RegistryError(f"another pull into {folder} is running: wait for it")
    try:
        yield
    finally:
        os.close(handle)


def _lock(part: Path, *, wait: bool) -> int | None:
    """Lock the folder, created if missing; ``None`` if another pull holds it or has moved it away meanwhile."""
    part.mkdir(parents=True, exist_ok=True)
    try:
        handle = os.open(part, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        if os.fstat(handle).st_ino == part.stat().st_ino:
            return handle
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(handle)
    return None
