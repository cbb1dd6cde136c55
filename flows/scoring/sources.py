"""Sources of recordings by their content: what an operator names for scoring, and what lies in the watched folder."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Final

from flows.ingest import Layout, read_source
from vitau.errors import SourceError
from vitau.media.manifests import SourceClip
from vitau.media.sources import is_ckplus
from vitau.schema import Cohort, Skipped

MANIFESTS: Final = "*manifest.csv"
CKPLUS_FOLDER: Final = "cohn-kanade-images"
SETTLE_S: Final = 120.0
"""Seconds since the last change after which a folder counts as complete: a file that is still being copied is not read."""


def recognize(source: Path) -> Layout:
    """Return the layout of a source.

    Raises:
        SourceError: it is missing, or a folder with a manifest.
    """
    if not source.exists():
        raise SourceError("the source is missing; give a manifest, a CK+ tree, a folder of photos or clips, or one file")
    if source.suffix.lower() == ".csv":
        return Layout.MANIFEST
    if any(source.glob(MANIFESTS)):
        raise SourceError("the source is a folder with a manifest, which lists its people; give the manifest itself")
    if is_ckplus(source):
        return Layout.CKPLUS
    return Layout.PHOTOS if has_cohorts(source) else Layout.UNKNOWN


def has_cohorts(folder: Path) -> bool:
    """Return whether a folder sorts its people by cohort, in the folders palsy, control and unknown."""
    return any((folder / cohort).is_dir() for cohort in Cohort)


def read_new(source: Path, media_roots: Sequence[Path] = ()) -> tuple[list[SourceClip], list[Skipped]]:
    """Return the clips of a source and the items that are no clips; people without a stated cohort are of unknown status.

    In the layout of CK+ nobody is healthy by the layout alone.

    Raises:
        SourceError: the source is missing, holds nothing to score, or is not of one of the layouts.
    """
    layout = recognize(source)
    clips, skipped = read_source(source, layout, media_roots)
    if layout is Layout.CKPLUS:
        clips = [replace(clip, cohort=Cohort.UNKNOWN) for clip in clips]
    if not clips and not skipped:
        raise SourceError("the source lists no recording; add some")
    return clips, skipped


def watched_sources(folder: Path) -> Iterator[tuple[Path, Layout]]:
    """Yield the manifests below a folder, then the CK+ trees and the folders sorted by cohort, topmost first.

    A folder with a manifest belongs to its manifest: nothing below it is a source of its own.
    """
    manifests = sorted(folder.rglob(MANIFESTS))
    yield from ((path, Layout.MANIFEST) for path in manifests)
    taken = {path.parent for path in manifests}
    for path in sorted((folder, *_folders(folder)), key=lambda path: (len(path.parts), path)):
        if any(path.is_relative_to(other) for other in taken):
            continue
        if path.name == CKPLUS_FOLDER and path != folder:
            taken.add(path)
            yield path, Layout.CKPLUS
        elif has_cohorts(path):
            taken |= {path / cohort for cohort in Cohort}  # another source may lie beside them
            yield path, Layout.PHOTOS


def listing(source: Path, layout: Layout) -> tuple[str, float]:
    """Return a digest of the names, sizes and times of a folder's files, and when the last one changed, s since 1970."""
    digest, changed_s = sha256(layout.encode()), 0.0
    folders = [source / cohort for cohort in Cohort] if layout is Layout.PHOTOS else [source]
    for path in sorted(path for folder in folders for path in folder.rglob("*")):
        if not path.name.startswith(".") and path.is_file():
            facts = path.stat()
            digest.update(
                f"{path.relative_to(source)}\0{facts.st_size}\0{facts.st_mtime_ns}\0".encode(errors="surrogateescape")
            )
            changed_s = max(changed_s, facts.st_mtime, facts.st_ctime)
    return digest.hexdigest(), changed_s


def is_settled(changed_s: float, *, now_s: float | None = None) -> bool:
    """Return whether the last change of a folder is old enough for its files to be complete."""
    return (time.time() if now_s is None else now_s) - changed_s >= SETTLE_S


def _folders(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_dir() and not path.name.startswith("."))
