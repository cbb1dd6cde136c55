"""The volumes of the local SeaweedFS: their files keep the bytes of deleted objects until they are vacuumed."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Final

from vitau.errors import StackError

_WEED: Final = Path(sys.executable).parent / "weed"
_HOST: Final = "127.0.0.1"


def vacuum_volumes(state: Path, *, timeout_s: float = 300) -> None:
    """Remove the bytes of deleted objects from the volume files of the running SeaweedFS of a state folder.

    Raises:
        StackError: SeaweedFS does not answer, or refuses.
    """
    folder = state.resolve() / "seaweedfs"
    ports = json.loads((folder / "ports.json").read_text())
    master, filer = (f"{_HOST}:{ports[name]}.{ports[f'{name} grpc']}" for name in ("master", "filer"))
    done = subprocess.run(
        [str(_WEED), f"-config_dir={folder}", "shell", f"-master={master}", f"-filer={filer}"],
        input="lock\nvolume.vacuum -garbageThreshold 0\nunlock\n",
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout_s,
    )
    if done.returncode or "error" in (done.stdout + done.stderr).lower():
        reason = ((done.stderr + done.stdout).strip().splitlines() or ["no message"])[-1]
        raise StackError(f"SeaweedFS does not vacuum its volumes ({reason}): is it running?")
