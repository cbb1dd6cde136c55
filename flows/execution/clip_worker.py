"""The worker for one clip: fetch it, crop its faces, apply the row rule of gate 1, and write everything to the store.

This module does not import Prefect, so that worker processes start quickly.
"""

import hmac
import os
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import ClassVar

import pyarrow as pa

from validation.rules import quarantine_reasons
from vitau.catalog.catalog import FrameTable
from vitau.data import layout
from vitau.data.parquet import read_table, write_table
from vitau.errors import ClipError, EngineError, VitauError
from vitau.measures.stored import FrameMeasurer, load_backend, measures_version
from vitau.media.frames import FrameRecipe, write_frames
from vitau.media.manifests import SourceClip
from vitau.media.ranges import cut_range, range_suffix
from vitau.media.sandbox import Limits, run_isolated
from vitau.media.sources import clip_digest, fetch, to_clip
from vitau.media.tracking.split import Split
from vitau.processes import temporary_folder
from vitau.schema import Clip, FrameLimits, Skipped
from vitau.store import Store, open_store

_MISSING = "{}: its file is missing on the machine of its worker; check the path"

PICTURES = ("crop", "embedding")
"""The large columns of a frame table, which are not needed to check its quality."""


@dataclass(frozen=True, kw_only=True)
class ClaimedSource:
    """A clip that the catalog reserves for a person, and the local file with its bytes. It holds no identifier of a source.

    Attributes:
        row: its position in the source.
        path: of the recording; workers on other machines need the same path.
        clip: as it will be recorded.
        revision: of the frames.
    """

    row: str
    path: Path
    clip: Clip
    revision: int = 0


@dataclass(frozen=True, kw_only=True)
class Ingested:
    """One clip in the store: its row, its frame table, and the rows of that table without pictures.

    ``rows`` has the column ``quarantine``, the reason or null. ``cut`` is False if the frame table existed before.
    """

    clip: Clip
    frames: FrameTable
    rows: pa.Table
    cut: bool


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


@dataclass(frozen=True, kw_only=True)
class ClipWork:
    """The work on a clip, to be sent to a worker: ingest it, or return the reason why it cannot be used.

    Attributes:
        store_uri: address of the store.
        recipe: of the frames.
        temporary: parent of the temporary folders of clips; by default the system's.
        limits: of each process that decodes the clip.
        num_processes: that share a long clip.
    """

    store_uri: str
    recipe: FrameRecipe
    temporary: Path | None = None
    limits: Limits = field(default_factory=Limits)
    num_processes: int = 1
    isolated: ClassVar[bool] = True  # it decodes in processes of its own

    def __call__(self, claimed: ClaimedSource) -> Ingested | Skipped:
        """Return the ingested clip, or its row and the reason why it was skipped.

        Raises:
            EngineError: no process can be started.
        """
        try:
            store = open_store(self.store_uri)
            return ingest_claimed(
                claimed, store, self.recipe, temporary=self.temporary, limits=self.limits, num_processes=self.num_processes
            )
        except EngineError:
            raise
        except VitauError as error:
            reason = str(error)
        except OSError as error:
            reason = f"its file cannot be read ({os.strerror(error.errno or 0)}); check its permissions"
        except Exception as error:  # noqa: BLE001 - one clip must not end the ingest of the others
            reason = f"its ingest failed ({type(error).__name__}); save it again with another program"
        return Skipped(item=claimed.row, reason=reason.removeprefix(f"{claimed.row}: "))


def clip_work(
    store_uri: str,
    recipe: FrameRecipe,
    *,
    work: Path | None = None,
    limits: Limits | None = None,
    num_processes: int = 1,
) -> ClipWork:
    """Return the work on a clip, with temporary folders in ``tmp`` of the folder ``work``."""
    return ClipWork(
        store_uri=store_uri,
        recipe=recipe,
        temporary=None if work is None else work.resolve() / "tmp",
        limits=limits or Limits(),
        num_processes=num_processes,
    )


def ingest_clip(
    source: SourceClip,
    store: Store,
    pseudonym_key: bytes,
    recipe: FrameRecipe,
    *,
    temporary: Path | None = None,
    limits: Limits | None = None,
) -> Ingested:
    """Fetch one clip and ingest it, as :func:`ingest_claimed` does.

    Raises:
        ClipError: the clip cannot be fetched or decoded.
        StoreError: an object cannot be written.
    """
    with temporary_folder(temporary or _temporary()) as folder:
        path = fetch(source, folder)
        claimed = ClaimedSource(row=source.row, path=path, clip=to_clip(source, path, pseudonym_key))
        return ingest_claimed(claimed, store, recipe, temporary=temporary, limits=limits)


def local_source(source: SourceClip, pseudonym_key: bytes) -> ClaimedSource:
    """Return a clip that is one local file as a worker receives it, without a catalog: for benchmarks and tests."""
    (path,) = source.paths
    return ClaimedSource(row=source.row, path=path, clip=to_clip(source, path, pseudonym_key))


def ingest_claimed(
    claimed: ClaimedSource,
    store: Store,
    recipe: FrameRecipe,
    *,
    temporary: Path | None = None,
    limits: Limits | None = None,
    num_processes: int = 1,
) -> Ingested:
    """Write one clip and its frames to the store; existing objects are read, not computed again.

    The recording is decoded in a process of its own, a long one in ``num_processes``.

    Raises:
        ClipError: the clip cannot be decoded, or is no longer the one that was claimed.
        StoreError: an object cannot be written.
    """
    clip, path = claimed.clip, claimed.path
    key = layout.frames_key(clip.subject, clip.sha256, recipe.digest, claimed.revision)
    if clip.is_range and not path.is_file():
        raise ClipError(_MISSING.format(claimed.row))
    recording = recording_key(clip, path, recipe)
    measures = layout.measures_key(key, measures_version())
    cut = not all(map(store.exists, (key, measures, recording)))
    if cut:
        if not path.is_file():
            raise ClipError(_MISSING.format(claimed.row))
        with temporary_folder(temporary or _temporary()) as folder:
            stored, frames_file, measures_file = path, folder / "frames.parquet", folder / "measures.parquet"
            if clip.is_range:
                stored = folder / PurePosixPath(recording).name
                run_isolated(partial(cut_recording, clip, path, stored, recipe), limits)
            cutting = FrameCutting(
                clip=clip,
                path=stored,
                is_cut=clip.is_range,
                recording=path,
                recipe=recipe,
                frames_file=frames_file,
                measures_file=measures_file,
                num_processes=num_processes,
            )
            run_isolated(cutting, limits)
            if clip_digest(path, clip.start_s, clip.end_s) != clip.sha256:
                raise ClipError(f"{claimed.row}: its file was changed while it was read; run the ingest again")
            store.put(recording, stored)
            store.put(measures, measures_file)
            store.put(key, frames_file)
    if clip.is_range:
        purge_other_recordings(store, clip, recording)
    return _gated(claimed, store, recipe, cut=cut)


def recording_key(clip: Clip, path: Path, recipe: FrameRecipe) -> str:
    """Return the key under which a clip's recording is stored; of a range, only its frames are stored.

    Raises:
        ClipError: the file of a range is empty or not readable.
    """
    if clip.is_range:
        return layout.range_key(clip.subject, clip.sha256, range_suffix(path, clip.fps or recipe.rate_fps))
    return layout.raw_key(clip.subject, clip.sha256, clip.suffix)


def recording_keys(store: Store, clip: Clip, frames_key: str) -> list[str]:
    """Return the keys of a clip's stored recording, given that of its frame table; empty if it is not there.

    A range from before ranges were cut still has the whole recording, until ``flows cut-ranges`` cuts it.
    """
    raw = layout.raw_key_beside(frames_key, clip.suffix)
    ranges = store.keys(layout.range_prefix_beside(frames_key)) if clip.is_range else ()
    return [*ranges, *([raw] if store.exists(raw) else [])]


def purge_other_recordings(store: Store, clip: Clip, recording: str) -> int:
    """Delete what else is stored of a range: the whole recording, or the range by an earlier ``fps``; return the number."""
    found = [key for key in store.keys(layout.clip_prefix(clip.subject, clip.sha256)) if layout.is_recording_key(key)]
    return sum(store.purge(key) for key in found if key != recording)


def _temporary() -> Path:
    return Path(tempfile.gettempdir()) / f"vitau-{os.getuid()}"


def cut_recording(clip: Clip, path: Path, out: Path, recipe: FrameRecipe) -> None:
    """Write the range of a clip without the rest of the recording; run this in a process of its own."""
    cut_range(path, out, clip.start_s, clip.end_s, clip.fps or recipe.rate_fps)


@dataclass(frozen=True, kw_only=True)
class FrameCutting:
    """The work of a process of its own: write the frame table of a clip, and the measures of its frames.

    Attributes:
        clip: whose frames are cut.
        path: what is stored of its recording.
        is_cut: ``path`` holds the clip's time range only.
        recording: from which ``path`` was cut, or ``path`` itself.
        recipe: of the frames.
        frames_file: the frame table to write.
        measures_file: the table of measures to write.
        num_processes: that share a long clip. They are forked from the process of this work, with its limits.
    """

    clip: Clip
    path: Path
    is_cut: bool
    recording: Path
    recipe: FrameRecipe
    frames_file: Path
    measures_file: Path
    num_processes: int = 1

    def prepare(self) -> None:
        """Load what every clip needs."""
        load_backend()

    def __call__(self) -> None:
        """Write both files.

        Raises:
            ClipError: the recording cannot be decoded.
            StoreError: the disk is full.
        """
        measurer = FrameMeasurer(mirrored=self.clip.mirrored)
        write_frames(
            self.clip,
            self.path,
            self.frames_file,
            self.recipe,
            is_cut=self.is_cut,
            recording=self.recording,
            watch=measurer,
            split=Split(num_processes=self.num_processes, start_method="fork"),
        )
        measurer.write(self.measures_file)


def checked_rows(store: Store, frames_key: str) -> pa.Table:
    """Return the rows of a frame table in the store as gate 1 checks them: without pictures, with the column ``quarantine``."""
    table = read_table(store, frames_key)
    return _checked_columns(table, _reasons(table))


def _reasons(table: pa.Table) -> pa.Array:
    return pa.array([reason and str(reason) for reason in quarantine_reasons(table)], pa.string())


def _checked_columns(table: pa.Table, reasons: pa.Array) -> pa.Table:
    return table.drop_columns(list(PICTURES)).append_column("quarantine", reasons)


def _gated(claimed: ClaimedSource, store: Store, recipe: FrameRecipe, *, cut: bool) -> Ingested:
    """Apply the row rule of gate 1 to the frames of a clip, and write those that it rejects."""
    clip, revision = claimed.clip, claimed.revision
    key = layout.frames_key(clip.subject, clip.sha256, recipe.digest, revision)
    table = read_table(store, key)
    reasons = _reasons(table)
    quarantined = pa.table({"frame_index": table["frame_index"], "reason": reasons}).filter(reasons.is_valid())
    quarantine_key = layout.quarantine_key(clip.subject, clip.sha256, frames_version(recipe), revision)
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
    rows = _checked_columns(table, reasons)
    return Ingested(clip=clip, frames=frames, rows=rows, cut=cut)
