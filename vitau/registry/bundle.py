"""A registered model as a folder of files: their names, and the checksums by which a changed byte is seen."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from vitau.errors import ChecksumError
from vitau.schema import REGION_NAMES

MODEL: Final = "model"
RECOGNITION: Final = "recognition"
README: Final = "README.md"
EVIDENCE: Final = "EVIDENCE.md"
METRICS: Final = "metrics.json"
"""The metrics of the model on test people."""
THRESHOLDS: Final = "thresholds.json"
LANDMARKS: Final = "LANDMARKS.md"
"""The licence of what finds the faces."""
SUMS: Final = "SHA256SUMS"
"""The checksums of all other files, as `sha256sum -c` reads them."""

LANDMARKS_TEXT: Final = """# The licence of the landmarks

Every face is found, aligned and cropped by dlib's 68-point landmarks (`shape_predictor_68_face_landmarks.dat`), now and when
the model was trained. That file was trained on the iBUG 300-W data, **whose licence excludes commercial use**, and what depends
on it inherits that: the scores of this model do. The file is not in this folder; it comes with the Python package
`face-recognition-models`. Ask Imperial College London before any commercial use.
"""

_LINE: Final = re.compile(r"([0-9a-f]{64}) [ *](\S.*)")


def write_sums(folder: Path) -> None:
    """Write the checksums of every other file into ``SHA256SUMS``."""
    lines = [f"{sha256_of(path)}  {path.relative_to(folder).as_posix()}\n" for path in files_of(folder) if path.name != SUMS]
    (folder / SUMS).write_text("".join(lines), encoding="utf-8")


def read_sums(path: Path) -> dict[str, str]:
    """Read checksums, by file.

    Raises:
        ChecksumError: a line is none, or names a file outside the folder.
    """
    sums = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        found = _LINE.fullmatch(line)
        if found is None or found[2].startswith("/") or ".." in found[2].split("/"):
            raise ChecksumError(f"{path} has a line that is no checksum of a file here ({line[:80]!r}): pull the model again")
        sums[found[2]] = found[1]
    return sums


def check(folder: Path) -> int:
    """Compare every file that ``SHA256SUMS`` names with its checksum; returns how many there are, 0 where there are no sums.

    Raises:
        ChecksumError: one is missing or has other bytes.
    """
    if not (folder / SUMS).is_file():
        return 0
    sums = read_sums(folder / SUMS)
    for name, expected in sums.items():
        path = folder / name
        if not path.is_file():
            raise ChecksumError(f"{folder} lacks {name}, which its {SUMS} names: pull the model again")
        found = sha256_of(path)
        if found != expected:
            raise ChecksumError(
                f"{name} in {folder} was changed (its sha256 is {found[:12]}…, not {expected[:12]}…): pull the model again"
            )
    return len(sums)


def sha256_of(path: Path) -> str:
    """Return the hex SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files_of(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder, by name."""
    yield from sorted(path for path in folder.rglob("*") if path.is_file())


def thresholds(folder: Path) -> dict[str, Any]:
    """Say where the answers of a model folder divide, and who decided it, from its cards."""
    cards = {name: _card(folder / name) for name in (MODEL, RECOGNITION)}
    told: dict[str, Any] = {}
    for card in cards.values():
        if card.get("kind") == "palsy":
            told["recognition"] = {
                "palsied": "palsy_score >= threshold",
                "threshold": card.get("threshold"),
                "chosen_on": "val",
            }
        elif card.get("kind") == "regions":
            told["regions"] = {"affected": "score > threshold", "threshold": 0.0, "chosen_on": "by definition"}
            told["regions"] |= {"names": {au.value: name for au, name in REGION_NAMES.items()}}
            if card.get("side_scales"):
                told["sides"] = {"probability": "sigmoid(scale * score)", "scales": card["side_scales"], "chosen_on": "val"}
    return told


def _card(folder: Path) -> Mapping[str, Any]:
    from vitau.models.checkpoint import CARD  # torch takes seconds, and checksums need none of it

    path = folder / CARD
    card: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return card
