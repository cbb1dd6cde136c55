"""Cut the ranges that an earlier version stored with the whole recording: `python -m flows cut-ranges`."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath

from flows.execution.clip_worker import cut_recording, purge_other_recordings, recording_key
from flows.workspace import Workspace
from vitau.data import layout
from vitau.errors import ChecksumError, ErasedError, VitauError
from vitau.media.frames import FrameRecipe
from vitau.media.sandbox import run_isolated
from vitau.media.sources import clip_digest
from vitau.processes import temporary_folder
from vitau.schema import Clip


@dataclass(frozen=True, kw_only=True)
class CutSummary:
    """The counts of one run: ranges in the catalog, ranges cut now, and digest of a clip → why it could not be cut."""

    ranges: int
    cut: int
    failed: dict[str, str]


def cut_ranges(workspace: Workspace, *, tell: Callable[[int], None] = lambda _: None) -> CutSummary:
    """Replace each stored recording of a range by its range, and delete the whole recording; idempotent.

    The frame tables stay: they were made from the range only. A range that cannot be cut keeps the whole recording.

    Args:
        workspace: the rows and the objects.
        tell: called with the number of ranges looked at so far.
    """
    ranges = [clip for clip in workspace.catalog.all_clips() if clip.is_range]
    cut, failed = 0, {}
    for number, clip in enumerate(ranges, 1):
        tell(number)
        recorded = workspace.catalog.recorded_clip(clip.sha256)
        if recorded is None:  # erased meanwhile
            continue
        try:
            cut += cut_stored(workspace, recorded.clip)
        except ErasedError:
            continue
        except VitauError as error:
            failed[clip.sha256] = str(error)
        except OSError as error:
            failed[clip.sha256] = f"it cannot be copied ({os.strerror(error.errno or 0)}); free space on the disk"
    return CutSummary(ranges=len(ranges), cut=cut, failed=failed)


def cut_stored(workspace: Workspace, clip: Clip) -> bool:
    """Cut the range of a clip out of its stored recording; return whether the whole recording was stored.

    Raises:
        VitauError: it cannot be read, is not the recording that was ingested, or cannot be cut.
    """
    store, recipe = workspace.store, FrameRecipe()
    raw = layout.raw_key(clip.subject, clip.sha256, clip.suffix)
    if not store.exists(raw):
        return False
    with temporary_folder(workspace.settings.temporary) as folder:
        whole = store.download(raw, folder / f"raw{clip.suffix}")
        if clip_digest(whole, clip.start_s, clip.end_s) != clip.sha256:
            raise ChecksumError(f"{raw} is not the recording that was ingested: restore it from a copy")
        recording = recording_key(clip, whole, recipe)
        out = folder / PurePosixPath(recording).name
        run_isolated(partial(cut_recording, clip, whole, out, recipe))
        store.put(recording, out)
    purge_other_recordings(store, clip, recording)
    return True
