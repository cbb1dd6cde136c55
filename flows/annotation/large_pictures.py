"""Large pictures: key frames of 512 px, cut once more from the recording where the face is at least that large in it."""

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from flows.execution.clip_worker import recording_keys
from flows.workspace import Workspace
from vitau.catalog.catalog import FrameTable
from vitau.data import layout
from vitau.errors import ChecksumError, ClipError, ObjectNotFoundError
from vitau.media.clips import sample_frames
from vitau.media.crops import alignment, extract_crop, renumbered, to_jpeg
from vitau.media.frames import FrameRecipe
from vitau.media.sandbox import run_isolated
from vitau.processes import temporary_folder
from vitau.schema import CROP_SIZE, NUM_LANDMARKS, Clip

log = logging.getLogger(__name__)

LARGE_SIZE: Final = 512
"""Side of a large picture, px: twice that of the crops, which models see."""


def write_large_pictures(workspace: Workspace, subject: str, tables: Iterable[FrameTable], frames: pa.Table) -> dict[str, str]:
    """Write the large pictures of some frames of one person to the store; return frame name → key of its large picture.

    A face that is smaller in its recording has none: nothing is enlarged. Each recording is decoded once, and not at all if its
    pictures are there. A recording that is lost or damaged has no large pictures.

    Args:
        workspace: the rows and the objects.
        subject: whose frames they are, a pseudonym.
        tables: the frame tables of the person.
        frames: with the columns ``clip``, ``frame_index`` and ``landmarks``.
    """
    faces: dict[str, dict[int, NDArray[np.float64]]] = defaultdict(dict)
    for row in frames.select(["clip", "frame_index", "landmarks"]).to_pylist():
        points = np.array(row["landmarks"], np.float64).reshape(NUM_LANDMARKS, 2)
        if side_px(points) >= LARGE_SIZE:
            faces[row["clip"]][row["frame_index"]] = points
    found = {}
    for table in tables:
        for index in _written(workspace, subject, table, faces[table.clip]) if table.clip in faces else ():
            found[layout.frame_name(table.clip, index)] = layout.large_key_frame_key(subject, table.clip, index)
    return found


def side_px(landmarks: NDArray[np.float64]) -> float:
    """Return how many px of the frame the side of the aligned crop spans, given (68, 2) px of the frame."""
    return float(np.linalg.norm(alignment(landmarks)[:, 0])) * CROP_SIZE


def _written(workspace: Workspace, subject: str, table: FrameTable, faces: Mapping[int, NDArray[np.float64]]) -> list[int]:
    """Cut the pictures of one clip that are not in the store yet; return the indices of those that are there now."""
    store = workspace.store
    keys = {index: layout.large_key_frame_key(subject, table.clip, index) for index in faces}
    missing = [index for index, key in keys.items() if not store.exists(key)]
    if missing:
        (clip,) = [clip for clip in workspace.catalog.clips() if clip.sha256 == table.clip]
        try:
            with temporary_folder(workspace.settings.temporary) as folder:
                key, *_ = recording_keys(store, clip, table.key) or [layout.raw_key_beside(table.key, clip.suffix)]
                path = store.download(key, folder / PurePosixPath(key).name)
                points = {index: faces[index].tolist() for index in missing}
                run_isolated(partial(cut_large_pictures, clip, path, points, folder))
                for index in missing:
                    store.put(keys[index], folder / f"{index}.jpg")
        except (ClipError, ObjectNotFoundError, ChecksumError) as error:
            log.warning("clip %s…: no large pictures, because %s", table.clip[:12], error)
    return [index for index, key in keys.items() if store.exists(key)]


def cut_large_pictures(clip: Clip, path: Path, faces: Mapping[int, list[Any]], folder: Path) -> None:
    """Write the aligned face of some sampled frames as ``<frame index>.jpg``; run this in a process of its own.

    Args:
        clip: whose frames they are.
        path: what is stored of its recording.
        faces: frame index → landmarks (68, 2), px of the frame, as the frame table has them.
        folder: where to write.
    """
    waiting = dict(faces)
    is_cut = clip.is_range and not path.name.startswith("raw")
    for frame in sample_frames(path, FrameRecipe().rate_fps, clip.start_s, clip.end_s, clip.fps, is_cut=is_cut):
        if (points := waiting.pop(frame.index, None)) is not None:
            seen = np.array(points)  # the table has a mirrored face in the order of the person's own sides
            crop_to_frame = alignment(renumbered(seen) if clip.mirrored else seen, LARGE_SIZE, mirrored=clip.mirrored)
            (folder / f"{frame.index}.jpg").write_bytes(to_jpeg(extract_crop(frame.image, crop_to_frame, LARGE_SIZE)))
        if not waiting:
            return
