"""What one process does for one clip: fetch it, cut its faces, ask the row rule of gate 1, keep all of it in the store.

No Prefect here: these functions run in processes of their own, which should start quickly.
"""

import hmac
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
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
from vitau.processes import side_by_side
from vitau.schema import Clip, Skipped
from vitau.store import Store, open_store

PICTURES = ("crop", "embedding")
"""The columns of a frame table that nobody needs to judge its quality."""


@dataclass(frozen=True, kw_only=True)
class Ingested:
    """One clip in the store: its row, where its frames are, and the frame table without its pictures, with ``quarantine``.

    ``cut`` says that this call cut its faces; otherwise they were there.
    """

    source: SourceClip
    clip: Clip
    frames: FrameTable
    rows: pa.Table
    cut: bool


ClipWork: TypeAlias = "Callable[[SourceClip], Ingested | Skipped]"


def frames_version(recipe: FrameRecipe | None = None) -> str:
    """Name how frames are made and which of them are refused: a new recipe or new limits make new frame tables."""
    return f"{(recipe or FrameRecipe()).digest}-{FrameLimits().digest}"


def clip_work_name(source: SourceClip, pseudonym_key: bytes, recipe: FrameRecipe) -> str:
    """Name the work on a clip, for the claims: the same for everybody who has the same bytes or the same address.

    The name gives nothing away: it is an HMAC under the key of the pseudonyms.
    """
    digest = hmac.new(pseudonym_key, repr((source.url, source.start_s, source.end_s)).encode(), sha256)
    for path in source.paths:
        try:
            with path.open("rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
        except OSError:  # it becomes its reason when it is ingested
            digest.update(source.row.encode())
    return f"frames/{frames_version(recipe)}/{digest.hexdigest()[:32]}"


def clip_work(store_uri: str, pseudonym_key: bytes, recipe: FrameRecipe) -> ClipWork:
    """Return what a worker does for a clip: ingest it, or say why it cannot be used."""
    return partial(_ingest_or_skip, store_uri=store_uri, pseudonym_key=pseudonym_key, recipe=recipe)


def ingest_clips(
    sources: Iterable[SourceClip], store_uri: str, pseudonym_key: bytes, recipe: FrameRecipe, num_processes: int
) -> Iterator[Ingested | Skipped]:
    """Ingest clips side by side, in the order of the sources; one that cannot be used becomes its reason."""
    return side_by_side(clip_work(store_uri, pseudonym_key, recipe), sources, num_processes)


def ingest_clip(source: SourceClip, store: Store, pseudonym_key: bytes, recipe: FrameRecipe) -> Ingested:
    """Bring one clip into the store; what is there already is read, not made again.

    Raises:
        ClipError: it cannot be fetched or decoded.
        StoreError: it cannot be kept.
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
