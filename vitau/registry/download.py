"""A registered model pulled into a folder: weights and texts, checked byte by byte; none of the model's code comes or runs."""

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from vitau.errors import ChecksumError, RegistryError
from vitau.registry import registry
from vitau.registry.bundle import check, files_of, sha256_of, write_sums

VERSION: Final = "version.json"
"""Which version of which model a folder holds; that it is there says that the folder was pulled."""

Watch = Callable[[Iterable[str], int], Iterable[str]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Pulled:
    """What a pull came to: the version that the folder holds now, and how many files had to be fetched for it."""

    folder: Path
    version: registry.Version
    num_files: int
    num_fetched: int


def pull(tracking_uri: str, model_uri: str, folder: Path, *, watch: Watch = lambda names, _: names) -> Pulled:
    """Let a folder hold a registered model: whole, or as it was before.

    What is there already, in the folder or from a pull that was interrupted, is not fetched again. Another version of a pulled
    model is replaced; anything else that a folder holds is left alone.

    Args:
        tracking_uri: of the MLflow server.
        model_uri: ``models:/NAME/VERSION`` or ``models:/NAME@ALIAS``.
        folder: made where it is missing.
        watch: goes around the names of the files to fetch, to show progress; gets their number.

    Raises:
        RegistryError: no such model, version or alias, the registry cannot be reached, the folder holds something else, or
            another pull into it is running.
        ChecksumError: what came is not what was registered.
    """
    folder = folder.absolute()
    found = registry.find(tracking_uri, model_uri)
    if folder.exists() and not _is_ours(folder):
        raise RegistryError(f"{folder} holds something else than a pulled model: give the name of a new folder")
    if _holds(folder, found):
        return Pulled(folder=folder, version=found, num_files=len(list(files_of(folder))), num_fetched=0)
    part = folder.with_name(f".{folder.name}.partial")
    try:
        with _alone(part, folder):
            num_fetched = _complete(tracking_uri, found, part, folder, watch)
            _put_in_place(part, folder)
    except OSError as error:
        raise RegistryError(
            f"{folder} cannot be written ({error.strerror or error}): what came is kept, so run it again"
        ) from error
    return Pulled(folder=folder, version=found, num_files=len(list(files_of(folder))), num_fetched=num_fetched)


def model_folder(model: str | Path, tracking_uri: str, *, watch: Watch = lambda names, _: names) -> Path:
    """Return a model folder: the one that is named, or that of ``models:/…``, pulled into the user's cache.

    The cache is ``~/.cache/vitau/models`` (``XDG_CACHE_HOME``), a folder per model; it may be deleted at any time.

    Raises:
        RegistryError, ChecksumError: as :func:`pull`.
    """
    if not str(model).startswith("models:"):
        return Path(model)
    found = registry.find(tracking_uri, str(model))
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vitau" / "models"
    uri = f"models:/{found.name}/{found.version}"
    return pull(tracking_uri, uri, cache / f"{found.name}-{found.version}-{found.digest[:16]}", watch=watch).folder


def _is_ours(folder: Path) -> bool:
    return folder.is_dir() and ((folder / VERSION).is_file() or not any(folder.iterdir()))


def _holds(folder: Path, found: registry.Version) -> bool:
    """Tell whether the folder is that version, whole and unchanged."""
    if not (folder / VERSION).is_file() or (folder / VERSION).read_text(encoding="utf-8") != _version_text(found):
        return False
    try:
        return check(folder) > 0
    except ChecksumError:
        return False


def _version_text(found: registry.Version) -> str:
    return json.dumps(asdict(found), indent=1) + "\n"


def _complete(tracking_uri: str, found: registry.Version, part: Path, folder: Path, watch: Watch) -> int:
    """Bring together all files of a version in ``part``; returns how many were fetched."""
    incoming = part / ".incoming"
    shutil.rmtree(incoming, ignore_errors=True)
    expected = registry.list_files(tracking_uri, found, incoming)
    for path in files_of(part):
        if path.relative_to(part).as_posix() not in expected:
            path.unlink()
    waiting = [name for name, sha256 in expected.items() if not _had(name, sha256, part, folder)]
    for name in watch(waiting, len(waiting)):
        came, sha256 = registry.fetch(tracking_uri, found, name, incoming), expected[name]
        if sha256 is not None and sha256_of(came) != sha256:
            raise ChecksumError(f"{name} of {found.name}/{found.version} came with other bytes than were registered: try again")
        (part / name).parent.mkdir(parents=True, exist_ok=True)
        came.replace(part / name)
    shutil.rmtree(incoming, ignore_errors=True)
    if registry.folder_digest(part) != found.digest:
        raise ChecksumError(f"{found.name}/{found.version} is not the model that was registered: its files were changed there")
    (part / VERSION).write_text(_version_text(found), encoding="utf-8")
    write_sums(part)
    return len(waiting)


def _had(name: str, sha256: str | None, part: Path, folder: Path) -> bool:
    """Tell whether a file with this checksum is in ``part``, or bring it there from the folder as it is."""
    if sha256 is None:
        return False
    if (part / name).is_file() and sha256_of(part / name) == sha256:
        return True
    if not (folder / name).is_file() or sha256_of(folder / name) != sha256:
        return False
    (part / name).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(folder / name, part / name)
    return True


def _put_in_place(part: Path, folder: Path) -> None:
    old = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    part.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


@contextmanager
def _alone(part: Path, folder: Path) -> Iterator[None]:
    """Keep others from pulling into the same folder meanwhile; a killed pull holds nobody up."""
    part.mkdir(parents=True, exist_ok=True)
    handle = os.open(part, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            still_there = part.exists() and os.fstat(handle).st_ino == part.stat().st_ino
        except BlockingIOError:
            still_there = False
        if not still_there:
            raise RegistryError(f"another pull into {folder} is running: wait for it")
        yield
    finally:
        os.close(handle)
