"""The local SeaweedFS without deleted names and bytes: its change log, orphaned chunks, volumes and index are cleaned.

SeaweedFS' index, a LevelDB database, and its log of changes keep the names of deleted objects. Both can only be cleaned while
no program writes. An erasure therefore leaves a request, the supervisor restarts SeaweedFS, and this step before the start does
the work. S3 is closed meanwhile.
"""

import hashlib
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Final

from flows.erasure.volumes import FAILURE, LIMIT_S, REQUEST, VACUUM
from flows.local_stack import leveldb
from flows.local_stack.state import HOST
from vitau.errors import StackError, VitauError
from vitau.store.atomic import PRIVATE_FOLDER, sync, write_atomic

WEED: Final = Path(sys.executable).parent / "weed"
INDEX: Final = "filerldb2"
_START_S: Final = 120.0
_PARTS: Final = ("master", "volume", "filer")
_CHANGE_LOG: Final = "/topics/.system/log"
BUCKETS: Final = "/buckets/"
_TEXT: Final = 2
"""Protocol Buffers' type of a field with a length."""


def clean_if_requested(folder: Path, ports: Mapping[str, int]) -> None:
    """Clean a stopped SeaweedFS if an erasure requested it. After a failure everything is as before, and the reason is kept."""
    finish_exchange(folder / "data" / INDEX)
    if not (folder / REQUEST).exists():
        return
    try:
        clean(folder, ports)
    except (VitauError, OSError, subprocess.SubprocessError) as error:
        write_atomic(folder / FAILURE, str(error) or type(error).__name__)
    (folder / REQUEST).unlink()


def clean(folder: Path, ports: Mapping[str, int]) -> None:
    """Delete the change log and orphaned chunks, vacuum the volumes, and rewrite the index.

    Raises:
        StackError: SeaweedFS refuses, or the index cannot be read or does not have every name that SeaweedFS lists.
    """
    listing = folder / "names.meta"
    try:
        with serving(folder, ports) as shell:
            shell("lock", f"fs.rm -rf {_CHANGE_LOG}", "volume.fsck -cutoffTimeAgo 0s -reallyDeleteFromVolume", "unlock")
            shell("lock", VACUUM, "unlock")
            shell(f"fs.meta.save -o {listing.name} /")
        rewrite_index(folder / "data" / INDEX, listing)
    finally:
        listing.unlink(missing_ok=True)


@contextmanager
def serving(folder: Path, ports: Mapping[str, int]) -> Iterator["Shell"]:
    """Run SeaweedFS without S3, and yield its shell once the filer and the volumes answer."""
    logs = folder / "clean.logs"
    logs.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
    process = subprocess.Popen(
        [
            *(str(WEED), "-logdir", str(logs), f"-config_dir={folder}"),
            *("server", f"-ip={HOST}", f"-ip.bind={HOST}", f"-dir={folder / 'data'}", "-filer", "-master.telemetry=false"),
            *("-filer.localSocket=seaweedfs/filer.sock", "-volume.max=500", "-volume.preStopSeconds=0"),
            *(f"-{name}.port={ports[name]}" for name in _PARTS),
            *(f"-{name}.port.grpc={ports[f'{name} grpc']}" for name in _PARTS),
        ],
        cwd=folder.parent,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        shell = Shell(folder, ports)
        shell.wait(process)
        yield shell
    finally:
        process.terminate()
        try:
            process.wait(3)
        except subprocess.TimeoutExpired:
            process.kill()  # it waits for its own connections; what it acknowledged is written
            process.wait()
        shutil.rmtree(logs, ignore_errors=True)  # they name objects


class Shell:
    """The administration shell of a running SeaweedFS."""

    def __init__(self, folder: Path, ports: Mapping[str, int]) -> None:
        self._folder = folder
        self._master, self._filer = (f"{HOST}:{ports[name]}.{ports[f'{name} grpc']}" for name in ("master", "filer"))

    def __call__(self, *commands: str) -> str:
        """Run commands and return what they print.

        Raises:
            StackError: a command failed; the message has no name of an object.
        """
        done = self._run(commands, LIMIT_S)
        if done.returncode or "error" in (done.stdout + done.stderr).lower():
            raise StackError(f"SeaweedFS refuses `{commands[min(1, len(commands) - 1)].split()[0]}`: read its log")
        return done.stdout

    def wait(self, process: "subprocess.Popen[bytes]") -> None:
        """Wait until the filer and the volume server answer.

        Raises:
            StackError: SeaweedFS ended or does not answer.
        """
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline and process.poll() is None:
            try:
                done = self._run(["fs.ls /", "volume.list"], 10)
            except subprocess.TimeoutExpired:
                continue
            if "DataNode" in done.stdout and "error" not in (done.stdout + done.stderr).lower():
                return
            time.sleep(0.2)
        raise StackError("SeaweedFS does not start without S3: read its log")

    def _run(self, commands: Sequence[str], timeout_s: float) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [str(WEED), f"-config_dir={self._folder}", "shell", f"-master={self._master}", f"-filer={self._filer}"],
            input="\n".join(commands) + "\n",
            cwd=self._folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout_s,
        )


def rewrite_index(index: Path, listing: Path) -> None:
    """Exchange every database of the index for one with the same entries, without empty folders and what was deleted.

    Args:
        index: a folder with one folder per database.
        listing: what ``fs.meta.save`` wrote.

    Raises:
        StackError: the databases lack a name that SeaweedFS lists, or the new ones are not the same; nothing is exchanged then.
    """
    new = index.with_name(f"{index.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    entries = {folder.name: leveldb.read_entries(folder) for folder in sorted(index.iterdir())}
    listed, empty = read_listing(listing.read_bytes())
    if not listed <= {key for part in entries.values() for key in part}:
        raise StackError("SeaweedFS lists names that are not in the files of its index: it is of an unknown version")
    for name, part in entries.items():
        folder = new / name
        folder.mkdir(mode=PRIVATE_FOLDER, parents=True)
        kept = {key: value for key, value in part.items() if key not in empty}
        leveldb.write_entries(folder, kept)
        if leveldb.read_entries(folder) != kept:
            raise StackError("the new index does not have the entries of the old one: check the disk")
    index.rename(index.with_name(f"{index.name}.old"))
    finish_exchange(index)


def finish_exchange(index: Path) -> None:
    """Finish an exchange of the index that may have been interrupted, or undo one that had not begun. Idempotent."""
    new, old = (index.with_name(f"{index.name}.{name}") for name in ("new", "old"))
    if not index.exists() and new.exists():  # the old one was put aside, so that the new one is complete
        new.rename(index)
        sync(index.parent)
    if index.exists():
        shutil.rmtree(old, ignore_errors=True)
        shutil.rmtree(new, ignore_errors=True)


def read_listing(saved: bytes) -> tuple[set[bytes], set[bytes]]:
    """Return the keys in the index of every name in an output of ``fs.meta.save``, and those of empty folders in buckets.

    A key is the MD5 of the folder, and the name. S3 deletes objects and leaves their folders, which bear names of people.
    """
    keys: dict[str, bytes] = {}
    folders: set[str] = set()
    used: set[str] = set()
    at = 0
    while at < len(saved):
        (size,) = struct.unpack_from(">I", saved, at)
        message = dict(_fields(saved[at + 4 : at + 4 + size]))
        at += 4 + size
        entry = dict(_fields(message[2]))
        if 1 not in entry:  # the root has no name
            continue
        folder, name = message[1].decode(), entry[1].decode()
        path = f"{folder.rstrip('/')}/{name}"
        keys[path] = hashlib.md5(message[1], usedforsecurity=False).digest() + entry[1]
        if 2 in entry and path.count("/") > 2 and path.startswith(BUCKETS):  # a bucket itself stays
            folders.add(path)
        else:
            used.update(map(str, PurePosixPath(path).parents))
    return set(keys.values()), {keys[path] for path in folders - used}


def _fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the number and the content of the fields of a Protocol Buffers message; a number that is zero is left out."""
    at = 0
    while at < len(message):
        tag, at = leveldb.varint(message, at)
        if tag & 7 == _TEXT:
            size, at = leveldb.varint(message, at)
            yield tag >> 3, message[at : at + size]
            at += size
        elif tag & 7 == 0:
            value, at = leveldb.varint(message, at)
            if value:
                yield tag >> 3, b""
        else:
            raise StackError("the list of SeaweedFS' names has an unknown form: it is of an unknown version")


def main() -> None:
    """Rewrite the index in the first argument, of a SeaweedFS that is stopped; the second is the output of `fs.meta.save`."""
    if len(sys.argv) != 3:
        sys.exit("usage: python -m flows.local_stack.object_index INDEX LISTING")
    finish_exchange(Path(sys.argv[1]))
    try:
        rewrite_index(Path(sys.argv[1]), Path(sys.argv[2]))
    except (VitauError, OSError) as error:
        sys.exit(f"Error: {error}")


if __name__ == "__main__":
    main()
