"""Local files: caches and reports that show a person are deleted, logs are overwritten, and every file can be searched."""

import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from flows.erasure.traces import Traces
from flows.settings import Settings

CACHES: Final = ("crops",)
"""Folders of the work folder with decoded faces."""
PAGES: Final = {".html", ".json", ".csv", ".txt", ".md", ".parquet"}
SERVICES: Final = ("store", "label-studio", "mlflow", "prefect", "postgresql", "seaweedfs")
"""Folders of a state folder that belong to a service, which alone changes them."""


def state_folder(settings: Settings) -> Path | None:
    """Return the folder of the local services, of which the work folder is a part; ``None`` if other services are used."""
    folder = settings.work.resolve().parent
    return folder if (folder / "secrets.json").exists() and (folder / "profile").exists() else None


def erase_local_files(settings: Settings, traces: Traces) -> int:
    """Delete caches, pages and copies of the person's recordings on this machine, and blank the logs; return their number."""
    changed = 0
    for name in CACHES:
        changed += len(list((settings.work / name).glob("*")))
        shutil.rmtree(settings.work / name, ignore_errors=True)
    folder = state_folder(settings) or settings.work
    originals, suffixes = {digest for digest, _ in traces.clips}, {suffix for _, suffix in traces.clips}
    changed += blank_logs(settings, traces)
    for path in files_below(folder, skip=SERVICES):
        if path.suffix == ".log":
            continue
        page = path.suffix in PAGES and traces.in_bytes(path.read_bytes())
        if page or (path.suffix.lower() in suffixes and digest_of(path) in originals):
            path.unlink(missing_ok=True)
            changed += 1
    return changed


def blank_logs(settings: Settings, traces: Traces) -> int:
    """Blank the logs of the services and flows on this machine; return the number of those with a trace."""
    folder = state_folder(settings) or settings.work
    logs = [path for path in files_below(folder, skip=SERVICES) if path.suffix == ".log"]
    logs += [path for path in (folder / "seaweedfs").glob("weed.*") if not path.is_symlink()]
    return sum(blank(path, traces) for path in logs)


def blank(path: Path, traces: Traces) -> int:
    """Overwrite every trace in a log with as many crosses, while its program goes on appending; return 1 if there was one."""
    with path.open("r+b") as log:
        data, found = log.read(), 0
        for pattern in traces.patterns:
            start = data.find(pattern)
            while start >= 0:
                log.seek(start)
                log.write(b"x" * len(pattern))
                found = 1
                start = data.find(pattern, start + len(pattern))
        log.flush()
        os.fsync(log.fileno())
    return found


def traces_in_files(folder: Path, traces: Traces) -> Iterator[str]:
    """Yield the files below a folder, relative to it, that name the person or have a copy of a recording.

    PostgreSQL's files are searched by SQL instead, and SeaweedFS' volumes, which were vacuumed, by S3.
    """
    originals, suffixes = {digest for digest, _ in traces.clips}, {suffix for _, suffix in traces.clips}
    for path in files_below(folder, skip=("postgresql",)):
        if path.suffix == ".dat" and path.parent == folder / "seaweedfs" / "data":
            continue
        name = path.relative_to(folder).as_posix()
        try:
            copied = path.suffix.lower() in suffixes and digest_of(path) in originals
            if traces.in_text(name) or copied or traces.in_bytes(path.read_bytes()):
                yield name
        except (FileNotFoundError, PermissionError):  # a service deleted it, or keeps it for itself
            continue


def files_below(folder: Path, skip: tuple[str, ...] = ()) -> Iterator[Path]:
    """Yield the regular files below a folder; ``skip`` names folders directly below it that are left out."""
    for place, folders, names in os.walk(folder):
        if Path(place) == folder:
            folders[:] = [name for name in folders if name not in skip]
        for name in names:
            path = Path(place) / name
            if path.is_file() and not path.is_symlink():
                yield path


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
