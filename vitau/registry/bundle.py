"""The folder of a registered model: the names of its files, its checksums and its thresholds."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Final

from vitau.errors import ChecksumError
from vitau.schema import REGION_NAMES

MODEL: Final = "model"
RECOGNITION: Final = "recognition"
README: Final = "README.md"
REPORTING_SHEET: Final = "EVIDENCE.md"
"""The reporting sheet of :mod:`vitau.registry.tripod`; the file keeps the name that published versions carry."""
METRICS: Final = "metrics.json"
"""The metrics of the model on test people."""
EXPLANATIONS: Final = "explanations.json"
"""How true the explanations of recognition are; models that were registered before have none."""
THRESHOLDS: Final = "thresholds.json"
LANDMARKS: Final = "LANDMARKS.md"
"""The license of the face landmarks."""
VERSION: Final = "version.json"
"""Name, version, digest and run of a pulled model; it marks the folder as a pulled one."""
SUMS: Final = "SHA256SUMS"
"""The checksums of all other files, in the format of `sha256sum -c`."""

LANDMARKS_TEXT: Final = """# The license of the landmarks

Every face is found, aligned and cropped with dlib's 68-point landmarks (`shape_predictor_68_face_landmarks.dat`), both in
training and in use. That file was trained on the iBUG 300-W data, **whose license excludes commercial use**. Everything that
depends on it inherits that restriction, including the scores of this model. The file is not in this folder; it comes with the
Python package `face-recognition-models`. Ask Imperial College London before any commercial use.
"""

_LINE: Final = re.compile(r"([0-9a-f]{64}) [ *](\S.*)")


def write_sums(folder: Path) -> None:
    """Write the checksums of every other file into ``SHA256SUMS``."""
    lines = [f"{sha256_of(path)}  {path.relative_to(folder).as_posix()}\n" for path in list_files(folder) if path.name != SUMS]
    (folder / SUMS).write_text("".join(lines), encoding="utf-8")


def read_sums(path: Path) -> dict[str, str]:
    """Read checksums, file name → hex SHA-256.

    Raises:
        ChecksumError: a line is not a checksum, or names a file outside the folder.
    """
    sums = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        found = _LINE.fullmatch(line)
        if found is None or found[2].startswith("/") or ".." in found[2].split("/"):
            raise ChecksumError(f"{path} has a line that is no checksum of a file here ({line[:80]!r}): pull the model again")
        sums[found[2]] = found[1]
    return sums


def verify_sums(folder: Path) -> int:
    """Verify every file in ``SHA256SUMS``; return their number, 0 if the folder has no checksums.

    Raises:
        ChecksumError: a file is missing or its bytes were changed.
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
    """Return the hex SHA-256 of a file."""  # vitau.store has one too, but does not travel with registered models
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def weights_digest(sums: Mapping[str, str]) -> str:
    """Return the digest of the names and checksums in ``model/`` and ``recognition/``: weights, configuration, thresholds."""
    hasher = hashlib.sha256()
    for name in sorted(map(PurePosixPath, sums)):
        if name.parts[0] in {MODEL, RECOGNITION}:
            hasher.update(f"{name}\0{sums[str(name)]}\n".encode())
    return hasher.hexdigest()


def folder_digest(folder: Path) -> str:
    """Return the digest that identifies a model: of the names and bytes in ``model/`` and ``recognition/``.

    The texts beside them do not count. The registry, reports, ``lineage`` and ``vitau score`` all show this digest.
    """
    paths = [path for part in (folder / MODEL, folder / RECOGNITION) for path in list_files(part)]
    return weights_digest({path.relative_to(folder).as_posix(): sha256_of(path) for path in paths})


def files_digest(sums: Mapping[str, str]) -> str:
    """Return the digest of the names and checksums of all files, including the texts beside the weights."""
    return hashlib.sha256("".join(f"{sums[name]}  {name}\n" for name in sorted(sums)).encode()).hexdigest()


def list_files(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder, sorted by name."""
    yield from sorted(path for path in folder.rglob("*") if path.is_file())


def read_version(folder: Path) -> dict[str, Any]:
    """Read name, version, digest and run of a pulled model; empty for a folder that was not pulled.

    Raises:
        ChecksumError: the file is damaged.
    """
    path = folder / VERSION
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError as damage:
        raise ChecksumError(f"{path} is damaged: pull the model again") from damage
    return found


def read_thresholds(folder: Path) -> dict[str, Any]:
    """Read the decision thresholds of a model folder from its cards, and the split on which each was chosen."""
    cards = {name: _card(folder / name) for name in (MODEL, RECOGNITION)}
    thresholds: dict[str, Any] = {}
    for card in cards.values():
        if card.get("kind") == "palsy":
            thresholds["recognition"] = {
                "palsied": "palsy_score >= threshold",
                "threshold": card.get("threshold"),
                "chosen_on": "val",
                **{name: card[name] for name in ("calibration", "abstention") if card.get(name)},
                **_fusion(card, "task"),
            }
        elif card.get("kind") == "regions":
            thresholds["regions"] = {"affected": "score > threshold", "threshold": 0.0, "chosen_on": "by definition"}
            if card.get("region_thresholds"):
                thresholds["regions"] |= {"chosen_on": "val", "subtracted_from_the_mean_of_the_map": card["region_thresholds"]}
            thresholds["regions"] |= _fusion(card, "task")
            thresholds["regions"] |= {"names": {au.value: name for au, name in REGION_NAMES.items()}}
            if card.get("side_scales"):
                thresholds["sides"] = {
                    "probability": {
                        "face, right": "sigmoid(face * mean over the regions of (right - left))",
                        "region, right": "sigmoid(region * (max(right, left) - threshold)) * sigmoid(side * (right - left))",
                    },
                    "scales": card["side_scales"],
                    "chosen_on": "val",
                    **_fusion(card, "side"),
                }
    return thresholds


def _fusion(card: Mapping[str, Any], question: str) -> dict[str, Any]:
    """Return the weights of network and movement before a threshold; nothing for a model without movement."""
    weights = (card.get("fusion") or {}).get(question)
    return {"log_odds_before_calibration": weights} if weights else {}


def _card(folder: Path) -> Mapping[str, Any]:
    from vitau.models.checkpoint import CARD  # torch takes seconds, and checksums need none of it

    path = folder / CARD
    card: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return card
