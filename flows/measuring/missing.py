"""Measure the clips that have no measures: those ingested by an earlier version, or measured with earlier weights."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import ClassVar

from flows.execution.clip_worker import FrameCutting, frames_version, recording_keys
from flows.execution.executor import Engine, Executor
from flows.workspace import Workspace
from vitau.data import layout
from vitau.errors import ErasedError, VitauError
from vitau.measures.stored import measures_version
from vitau.media.frames import FrameRecipe
from vitau.media.sandbox import run_isolated
from vitau.processes import temporary_folder
from vitau.schema import Clip, Skipped
from vitau.store import open_store


@dataclass(frozen=True, kw_only=True)
class Unmeasured:
    """A clip without measures, and the key of its frame table."""

    clip: Clip
    frames_key: str


@dataclass(frozen=True, kw_only=True)
class MissingSummary:
    """The number of clips that this run measured, and the clips that it could not measure, each with the reason."""

    measured: int
    skipped: tuple[Skipped, ...]


@dataclass(frozen=True, kw_only=True)
class MeasureWork:
    """The work on a clip without measures, to be sent to a worker: measure its stored recording, or return why it cannot be.

    Attributes:
        store_uri: address of the store.
        temporary: parent of the temporary folders.
    """

    store_uri: str
    temporary: Path
    isolated: ClassVar[bool] = True  # it decodes in processes of its own

    def __call__(self, item: Unmeasured) -> Skipped | None:
        """Return ``None``, or the digest of the clip and the reason."""
        try:
            self._measure(item)
        except ErasedError:  # meanwhile
            return None
        except VitauError as error:
            return Skipped(item=item.clip.sha256, reason=str(error))
        except OSError as error:
            reason = f"it cannot be copied ({os.strerror(error.errno or 0)}); free space on the disk"
            return Skipped(item=item.clip.sha256, reason=reason)
        return None

    def _measure(self, item: Unmeasured) -> None:
        store = open_store(self.store_uri)
        keys = recording_keys(store, item.clip, item.frames_key)
        with temporary_folder(self.temporary) as folder:
            # without a key, the name of a missing object is in the error
            key = keys[0] if keys else layout.raw_key_beside(item.frames_key, item.clip.suffix)
            path = store.download(key, folder / PurePosixPath(key).name)
            measures_file = folder / "measures.parquet"
            cutting = FrameCutting(
                clip=item.clip,
                path=path,
                is_cut=item.clip.is_range and not path.name.startswith("raw"),
                recording=path,
                recipe=FrameRecipe(),
                frames_file=folder / "frames.parquet",
                measures_file=measures_file,
            )
            run_isolated(cutting)
            store.put(layout.measures_key(item.frames_key, measures_version()), measures_file)


def measure_missing(
    workspace: Workspace, engine: Engine = Engine.LOCAL, *, tell: Callable[[int, int], None] = lambda *_: None
) -> MissingSummary:
    """Measure the stored recordings of all clips without measures; idempotent, and what is done before a kill stays.

    Args:
        workspace: the rows and the objects.
        engine: runs the work.
        tell: called after each clip with the number of clips that are done, and of all.
    """
    settings = workspace.settings
    missing = unmeasured_clips(workspace)
    skipped = []
    num_processes = min(settings.num_processes or os.cpu_count() or 1, max(len(missing), 1))
    work = MeasureWork(store_uri=settings.store, temporary=settings.temporary)
    with Executor(engine, address=settings.ray_address, num_workers=settings.num_processes) as executor:
        for number, outcome in enumerate(executor.run(missing, work, num_processes=num_processes), 1):
            tell(number, len(missing))
            if outcome is not None:
                skipped.append(outcome)
    return MissingSummary(measured=len(missing) - len(skipped), skipped=tuple(skipped))


def unmeasured_clips(workspace: Workspace) -> Sequence[Unmeasured]:
    """Return the clips in use that have a frame table and no measures."""
    catalog, version = workspace.catalog, measures_version()
    clips = {clip.sha256: clip for clip in catalog.clips()}
    return [
        Unmeasured(clip=clips[table.clip], frames_key=table.key)
        for table in catalog.frame_tables(frames_version())
        if table.clip in clips and not workspace.store.exists(layout.measures_key(table.key, version))
    ]
