"""The crops of a snapshot as arrays.

Each crop is decoded once, into a memory-mapped file named by the digest of the snapshot.
"""

import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vitau.data.parquet import read_table
from vitau.data.snapshot import digest_of, erased_people, load, without_people
from vitau.errors import SnapshotError
from vitau.schema import AUS, CROP_SIZE, NUM_LANDMARKS, Cohort, Side, Split
from vitau.store import Store
from vitau.store.atomic import atomic_path

Array = npt.NDArray[Any]
Progress = Callable[[int, int], None]
"""Called with the number of frames decoded so far and the number of all frames."""

CROPS_FILE: Final = "crops.npy"
SIDES: Final = (Side.RIGHT, Side.LEFT)
"""The person's right side is first: it is on the left of a picture that is not mirrored."""
LANDMARKS_FILE: Final = "landmarks.npy"
NUISANCE_FILE: Final = "nuisance-{}.parquet"
"""Beside the folders of crops: the measures of :mod:`vitau.data.nuisance`, by the digest of the rows."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Crops:
    """N frames with their labels; the pixels stay in their file until they are read.

    Attributes:
        pixels_MSS3: uint8 RGB of M frames, a memory map or an array.
        row_N: int64, the rows of ``pixels_MSS3`` that belong to these N frames.
        landmarks_NL2: float32 (N, 68, 2), px of a crop of 256 px, whatever the size of the pixels.
        palsied_N: bool.
        affected_NA: bool (N, 8) in the order of ``AUS``; False where unknown.
        known_NA: bool (N, 8), False where there is no label.
        sided_NA2: bool (N, 8, 2), which of the person's sides are affected, in the order of ``SIDES``.
        subject_N: pseudonyms.
        split_N: names of splits.
        source_N: names of the sources of the clips; ``None`` for people who come from none.
        clip_N: sha256 of the clips; ``None`` for frames that come from none.
        movement_NF: features of each person by :mod:`vitau.asymmetry`, NaN where unknown; ``None`` if not measured.
    """

    pixels_MSS3: Array
    row_N: Array
    landmarks_NL2: Array
    palsied_N: Array
    affected_NA: Array
    known_NA: Array
    sided_NA2: Array
    subject_N: Array
    split_N: Array
    source_N: Array | None = None
    clip_N: Array | None = None
    movement_NF: Array | None = None

    def __len__(self) -> int:
        return len(self.row_N)

    def where(self, mask_N: Array) -> Self:
        """Return the frames for which the mask is True; no pixel is copied."""
        columns = {column.name: getattr(self, column.name) for column in fields(self) if column.name != "pixels_MSS3"}
        return replace(self, **{name: column[mask_N] for name, column in columns.items() if column is not None})

    def of(self, split: Split) -> Self:
        """Return the frames of one split."""
        return self.where(self.split_N == str(split))

    def pixels(self, index: Array | slice) -> Array:
        """Read the pixels (B, S, S, 3) uint8 RGB of some of the N frames."""
        return np.asarray(self.pixels_MSS3[self.row_N[index]])

    def with_pixels(self, parts: Sequence[Array]) -> Self:
        """Return these N frames with other pixels (N, S, S, 3), given in order and in parts."""
        return replace(self, pixels_MSS3=np.concatenate(parts), row_N=np.arange(len(self)))

    def batches(self, size: int) -> Iterator[slice]:
        """Yield slices of at most ``size`` frames, in order."""
        for start in range(0, len(self), size):
            yield slice(start, min(start + size, len(self)))


def load_crops(
    store: Store, digest: str, cache: Path, progress: Progress | None = None, *, without: Collection[str] = ()
) -> Crops:
    """Load a verified snapshot with its crops; decode them into ``cache/<digest of its rows>`` unless that folder exists.

    Args:
        store: holds the snapshot and the frame tables that it names.
        digest: of the snapshot.
        cache: folder for decoded crops, 192 KiB per frame. It shows faces: delete it when a person is erased.
        progress: called after each decoded frame table.
        without: people whose frames are left out, because their erasure has begun.

    Raises:
        SnapshotError: a frame of the snapshot has no crop in its frame table.
        ObjectNotFoundError: the snapshot or one of its frame tables is not in the store.
    """
    table = load(store, digest)
    fewer = bool(without) or bool(erased_people(table))
    table = without_people(table, without)
    rows_digest = digest_of(table) if fewer else digest
    folder = cache / rows_digest
    if rows_digest != digest:  # the cache of the whole snapshot, on whichever machine, shows erased people
        shutil.rmtree(cache / digest, ignore_errors=True)
        (cache / NUISANCE_FILE.format(digest)).unlink(missing_ok=True)
    if not folder.exists():
        _decode(table, store, folder, progress)
    side_N = _texts(table, "side")
    affected_NA = np.stack([table[au].fill_null(False).to_numpy() for au in AUS], axis=1)
    return Crops(
        pixels_MSS3=np.load(folder / CROPS_FILE, mmap_mode="r"),
        row_N=np.arange(table.num_rows),
        landmarks_NL2=np.load(folder / LANDMARKS_FILE, mmap_mode="c"),  # may be written to, which changes no file
        palsied_N=_texts(table, "cohort") == str(Cohort.PALSY),
        affected_NA=affected_NA,
        known_NA=np.stack([table[au].is_valid().to_numpy() for au in AUS], axis=1),
        sided_NA2=affected_NA[..., None] & np.stack([np.isin(side_N, (own, Side.BOTH)) for own in SIDES], axis=1)[:, None],
        subject_N=_texts(table, "subject"),
        split_N=_texts(table, "split"),
        source_N=_texts(table, "source"),
        clip_N=_texts(table, "clip"),
    )


def _texts(table: pa.Table, name: str) -> Array:
    """Return a column of texts as an array; each distinct one is converted once, and a missing one is empty."""
    encoded = table[name].combine_chunks().dictionary_encode("encode")
    return np.array([text or "" for text in encoded.dictionary.to_pylist()])[encoded.indices.to_numpy()]


def _decode(table: pa.Table, store: Store, folder: Path, progress: Progress | None) -> None:
    """Decode into a partial folder and rename it, so that the cache folder appears atomically."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        with atomic_path(folder) as partial:
            partial.mkdir(mode=0o700)  # pictures of people
            _decode_into(table, store, partial, progress)
    except OSError:
        if not folder.exists():  # otherwise another process was first, with the same crops
            raise


def _decode_into(table: pa.Table, store: Store, folder: Path, progress: Progress | None) -> None:
    shape = (table.num_rows, CROP_SIZE, CROP_SIZE, 3)
    pixels = np.lib.format.open_memmap(  # type: ignore[no-untyped-call]  # numpy leaves it without types
        folder / CROPS_FILE, mode="w+", dtype=np.uint8, shape=shape
    )
    landmarks = np.zeros((table.num_rows, NUM_LANDMARKS, 2), dtype=np.float32)
    rows_by_key: dict[str, dict[int, int]] = {}
    for row, (key, frame) in enumerate(zip(table["frames_key"].to_pylist(), table["frame_index"].to_pylist(), strict=True)):
        rows_by_key.setdefault(key, {})[frame] = row
    num_done = 0
    for key, rows in rows_by_key.items():
        _decode_table(store, key, rows, pixels, landmarks)
        num_done += len(rows)
        if progress:
            progress(num_done, table.num_rows)
    pixels.flush()
    del pixels
    np.save(folder / LANDMARKS_FILE, landmarks)


def _decode_table(store: Store, key: str, rows: dict[int, int], pixels: Array, landmarks: Array) -> None:
    import cv2

    frames = read_table(store, key, ["frame_index", "crop", "crop_landmarks"])
    missing = dict(rows)
    for frame in frames.to_pylist():
        row = missing.pop(frame["frame_index"], None)
        if row is None:
            continue
        encoded = frame["crop"]
        decoded = None if encoded is None else cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)
        if decoded is None or decoded.shape != pixels.shape[1:] or frame["crop_landmarks"] is None:
            raise SnapshotError(f"frame {frame['frame_index']} of {key} has no crop of {CROP_SIZE} px: ingest its clip again")
        pixels[row] = decoded[:, :, ::-1]
        landmarks[row] = np.asarray(frame["crop_landmarks"], dtype=np.float32).reshape(NUM_LANDMARKS, 2)
    if missing:
        raise SnapshotError(f"{key} has no frame {min(missing)}, which the snapshot names: ingest its clip again")
