"""The worker for one clip: fetch it, crop its faces, apply the row rule of gate 1, and write everything to the store.

This module does not import Prefect, so that worker processes start quickly.
"""

import hmac
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TypeAlias

import pyarrow as pa

from validation.rules import FrameLimits, quarantine_reasons
from vitau.catalog.catalog import FrameTable
from vitau.data import layout
from vitau.data.parquet import read_table, write_table
from vitau.errors import ClipError, SourceError, StoreError
from vitau.media.frames import FrameRecipe, write_frames
from vitau.media.manifests import SourceClip
from vitau.media.sources import fetch, to_clip
from vitau.schema import Clip, Skipped
from vitau.store import Store, open_store

PICTURES = ("crop", "embedding")
"""The large columns of a frame table, which are not needed to check its quality."""


@dataclass(frozen=True, kw_only=True)
class Ingested:
    """One clip in the store: its row, its frame table, and the rows of that table without pictures.

    ``rows`` has the column ``quarantine``, the reason or null. ``cut`` is False if the frame table existed before.
    """

    source: SourceClip
    clip: Clip
    frames: FrameTable
    rows: pa.Table
    cut: bool


ClipWork: TypeAlias = "Callable[[SourceClip], Ingested | Skipped]"


def frames_version(recipe: FrameRecipe | None = None) -> str:
    """Return the version of frame tables: the digests of the recipe and of the limits of gate 1."""
    return f"{(recipe or FrameRecipe()).digest}-{FrameLimits().digest}"


def clip_work_name(source: SourceClip, pseudonym_key: bytes, recipe: FrameRecipe) -> str:
    """Return the lease name of the work on a clip, the same for the same bytes or the same address.

    The name reveals nothing: it is an HMAC under the key of the pseudonyms.
    """
    digest = hmac.new(pseudonym_key, repr((source.url, source.start_s, source.end_s)).encode(), sha256)
    for path in source.paths:
        try:
            with path.open("rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
        except OSError:  # the ingest reports it
            digest.update(source.row.encode())
    return f"frames/{frames_version(recipe)}/{digest.hexdigest()[:32]}"


def clip_work(store_uri: str, pseudonym_key: bytes, recipe: FrameRecipe) -> ClipWork:
    """Return the work on a clip, to be sent to a worker: ingest it, or return the reason why it cannot be used."""
    return partial(_ingest_or_skip, store_uri=store_uri, pseudonym_key=pseudonym_key, recipe=recipe)


def ingest_clip(source: SourceClip, store: Store, pseudonym_key: bytes, recipe: FrameRecipe) -> Ingested:
    """Write one clip and its frames to the store; existing objects are read, not computed again.

    Raises:
        ClipError: the clip cannot be fetched or decoded.
        StoreError: an object cannot be written.
    """
    with tempfile.TemporaryDirectory(prefix="vitau-") as folder:
        path = fetch(source, Path(folder))
        clip = to_clip(source, path, pseudonym_key)
        key = layout.frames_key(clip.subject, clip.sha256, recipe.digest)
        cut = not store.exists(key)
        if cut:
            write_frames(clip, path, Path(folder) / "frames.parquet", recipe)
            store.put(layout.raw_key(clip.subject, clip.sha256, clip.suffix), path)
            store.put(key, Path(folder) / "frames.parquet")
    table = read_table(store, key)
    reasons = pa.array([reason and str(reason) for reason in quarantine_reasons(table)], pa.string())
    quarantined = pa.table({"frame_index": table["frame_index"], "reason": reasons}).filter(reasons.is_valid())
    quarantine_key = layout.quarantine_key(clip.subject, clip.sha256, frames_version(recipe))
    write_table(store, quarantine_key, quarantined)
    frames = FrameTable(
        clip=clip.sha256,
        recipe=frames_version(recipe),
        key=key,
        num_frames=table.num_rows,
        num_faces=table.num_rows - table["crop"].null_count,
        quarantine_key=quarantine_key,
        quarantined=dict(sorted(Counter(quarantined["reason"].to_pylist()).items())),
    )
    rows = table.drop_columns(list(PICTURES)).append_column("quarantine", reasons)
    return Ingested(source=source, clip=clip, frames=frames, rows=rows, cut=cut)


def _ingest_or_skip(source: SourceClip, *, store_uri: str, pseudonym_key: bytes, recipe: FrameRecipe) -> Ingested | Skipped:
    try:
        return ingest_clip(source, open_store(store_uri), pseudonym_key, recipe)
    except (ClipError, SourceError, StoreError) as error:
        return Skipped(item=source.row, reason=str(error).removeprefix(f"{source.row}: "))
