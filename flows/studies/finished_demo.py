"""Numbers of a finished demo: the lines it printed, the agreement of its readers, its seconds and its bytes.

The documentation quotes these numbers; ``docs/figures/demo.json`` keeps them.
"""

import json
import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from flows.settings import ROOT
from vitau.data.layout import is_recording_key
from vitau.errors import VitauError
from vitau.media.clips import RATE_FPS

ENVIRONMENTS: Final = (".venv", ".venv-label-studio")
"""The virtual environments that ``make setup`` creates in the checkout."""

_HOUR_S: Final = 3600


class NoDemoError(VitauError):
    """The state folder holds no finished demo."""


def read_summary(state: Path) -> dict[str, Any]:
    """Read the summary that a demo leaves at its end.

    Raises:
        NoDemoError: there is none.
    """
    try:
        found: dict[str, Any] = json.loads((state / "summary.json").read_text(encoding="utf-8"))
    except OSError:
        raise NoDemoError(f"{state} holds no finished demo: run `make demo` first") from None
    return found


def figures(state: Path, summary: Mapping[str, Any], printed: str, labels: str, num_labeled: int) -> dict[str, Any]:
    """Return the figures as JSON values.

    The seconds are those of the demo's last run in this folder: a run that finds its work done has hardly any.

    Args:
        state: the state folder of the demo, with a store in a folder.
        summary: its summary.
        printed: what the demo printed at its end.
        labels: what ``labels report`` prints about the agreement of its readers.
        num_labeled: people with a label.
    """
    environments = sum(size for name in ENVIRONMENTS for _, size in _files(ROOT / name))
    stored, hours = stored_bytes(state), summary["frames"] / RATE_FPS / _HOUR_S
    seconds = summary["seconds"]
    return {
        "command": f"python -m flows figures --state {state.name}",
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "cores": os.cpu_count(),
        "printed": printed.split("\n"),
        "labels": labels.split("\n"),
        "seconds": {**seconds, "video": round(hours * _HOUR_S, 1)},
        "bytes": {**stored, "environments": environments, "disk": environments + stored["state"]},
        "bytes_per_labeled_person": round(stored["pictures"] / max(1, num_labeled)),
        "bytes_per_scored_person": round(stored["scores"] / max(1, summary["scored_subjects"])),
        "per_hour_of_video": {
            "recordings": round(stored["recordings"] / hours),
            "frame_tables": round(stored["frame_tables"] / hours),
            "crops": round(stored["crops"] / hours),
            "ingest_s": round(seconds["ingest"] / hours, 1),
        },
    }


def stored_bytes(state: Path) -> dict[str, int]:
    """Return the bytes of a state folder by what they hold; a file counts as long as it is, not as the disk stores it."""
    store, work = state / "store", state / "work"
    sizes = {path.relative_to(store).as_posix(): size for path, size in _files(store)}
    clips = {key: size for key, size in sizes.items() if "/clips/" in key}
    recordings = sum(size for key, size in clips.items() if is_recording_key(key))
    databases = (state / "catalog.db", *(state / name for name in ("label-studio", "mlflow", "prefect")))
    return {
        "recordings": recordings,
        "frame_tables": sum(clips.values()) - recordings,
        "pictures": sum(size for key, size in sizes.items() if "/keyframes/" in key),
        "scores": sum(size for key, size in sizes.items() if key.startswith("scores/")),
        "databases": sum(size for place in databases for _, size in _files(place)),
        "work": sum(size for _, size in _files(work)),
        "crops": sum(size for _, size in _files(work / "crops")),
        "state": sum(size for _, size in _files(state)),
    }


def _files(place: Path) -> Iterator[tuple[Path, int]]:
    """Yield the files of a folder with their sizes, and a file itself."""
    for path in (place, *place.rglob("*")):
        if path.is_file() and not path.is_symlink():
            yield path, path.stat().st_size
