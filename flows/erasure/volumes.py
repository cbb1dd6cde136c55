"""The local SeaweedFS keeps names and bytes of deleted objects: an erasure requests its cleaning, which a restart does.

The volumes are vacuumed before, so that S3 is away for seconds only, however many bytes there are. Two files connect the
erasure with the supervisor and with `flows.local_stack.object_index`.
"""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from vitau.errors import ChecksumError, ObjectNotFoundError, StackError, StoreError
from vitau.store import Store
from vitau.store.atomic import write_atomic

REQUEST: Final = "clean.request"
"""Exists from the request until the cleaning is over. The supervisor then restarts SeaweedFS, as every later start does."""
FAILURE: Final = "clean.failed"
"""Exists after a cleaning that failed, with the reason; SeaweedFS is then as before."""
VACUUM: Final = "volume.vacuum -garbageThreshold 0.000000001"
"""The command that removes deleted bytes from every volume that has any; at 0 it would also rewrite all others."""
LIMIT_S: Final = 1800.0
_WEED: Final = Path(sys.executable).parent / "weed"
_HOST: Final = "127.0.0.1"


def vacuum_volumes(state: Path, *, timeout_s: float = LIMIT_S) -> None:
    """Remove the bytes of deleted objects from the volume files of the running SeaweedFS of a state folder.

    Raises:
        StackError: SeaweedFS does not answer, or refuses.
    """
    folder = state.resolve() / "seaweedfs"
    ports = json.loads((folder / "ports.json").read_text())
    master, filer = (f"{_HOST}:{ports[name]}.{ports[f'{name} grpc']}" for name in ("master", "filer"))
    try:
        done = subprocess.run(
            [str(_WEED), f"-config_dir={folder}", "shell", f"-master={master}", f"-filer={filer}"],
            input=f"lock\n{VACUUM}\nunlock\n",
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout_s,
        )
    except subprocess.TimeoutExpired as error:
        raise StackError(f"SeaweedFS does not vacuum its volumes within {timeout_s:.0f} s: is it running?") from error
    if done.returncode or "error" in (done.stdout + done.stderr).lower():
        reason = ((done.stderr + done.stdout).strip().splitlines() or ["no message"])[-1]
        raise StackError(f"SeaweedFS does not vacuum its volumes ({reason}): is it running?")


def clean_volumes(state: Path, store: Store, *, timeout_s: float = LIMIT_S, interval_s: float = 0.5) -> None:
    """Have the SeaweedFS of a state folder cleaned, and wait until it answers again.

    For some seconds S3 does not answer: flows that use it meanwhile repeat their requests, or fail and are run again.

    Raises:
        StackError: the cleaning failed, or no supervisor does it. The next start of the services does it then.
    """
    folder = state / "seaweedfs"
    (folder / FAILURE).unlink(missing_ok=True)
    write_atomic(folder / REQUEST, b"")
    deadline = time.monotonic() + timeout_s
    while (folder / REQUEST).exists() or not _answers(store):
        if time.monotonic() > deadline:
            raise StackError(
                "SeaweedFS still keeps names of deleted objects, because nothing restarts it: "
                "run `python -m flows down` and `up`, and the erasure again"
            )
        time.sleep(interval_s)
    if (folder / FAILURE).exists():
        reason = (folder / FAILURE).read_text()
        raise StackError(f"SeaweedFS still keeps names of deleted objects ({reason}): read its log, and run the erasure again")


def _answers(store: Store) -> bool:
    """Return whether objects can be listed and read: the bytes come back later than the names."""
    try:
        key = next(iter(store.keys()), None)
        if key is not None:
            store.get(key)
    except (ChecksumError, ObjectNotFoundError):  # damaged, or deleted meanwhile: it was looked up, and that is enough
        return True
    except StoreError:
        return False
    return True
