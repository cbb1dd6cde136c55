"""Usable frames: not in quarantine, and not marked unusable by a reader."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from vitau.catalog.catalog import FrameTable
from vitau.data.layout import frame_name, parse_frame_name
from vitau.data.parquet import read_table
from vitau.store import Store


class UsableFrames:
    """The usable frames of frame tables. What is trained on, scored or shown to a reader is chosen from them.

    Args:
        store: holds the frame tables and their quarantines.
        marked: names of the frames that a reader marked unusable, as ``Catalog.unusable_frames`` returns them.
    """

    def __init__(self, store: Store, marked: Iterable[str]) -> None:
        self._store = store
        self.marked = frozenset(marked)
        self._num_marked = Counter(parse_frame_name(name)[0] for name in self.marked)

    def exist(self, table: FrameTable) -> bool:
        """Check whether any frame of a clip is usable; read its quarantine only if the counts leave it open."""
        num_left = table.num_frames - sum(table.quarantined.values())
        return num_left > self._num_marked[table.clip] or (num_left > 0 and bool(self.indices(table)))

    def indices(self, table: FrameTable, *, also: Collection[str] = ()) -> list[int]:
        """Return the indices of the usable frames of a clip, ascending.

        Args:
            table: of the clip.
            also: names of frames to include although a reader marked them unusable.
        """
        quarantined = set(read_table(self._store, table.quarantine_key, ["frame_index"])["frame_index"].to_pylist())
        left_out = self.marked.difference(also)
        return [
            index
            for index in range(table.num_frames)
            if index not in quarantined and frame_name(table.clip, index) not in left_out
        ]

    def read(self, tables: Sequence[FrameTable], columns: Sequence[str], *, also: Collection[str] = ()) -> pa.Table:
        """Read some columns, ``frame_index`` among them, of the usable frames of one or more clips.

        Args:
            tables: of the clips, at least one.
            columns: names of columns.
            also: names of frames to include although a reader marked them unusable.
        """
        parts = []
        for table in tables:
            frames = read_table(self._store, table.key, columns)
            usable = pa.array(self.indices(table, also=also), frames["frame_index"].type)
            parts.append(frames.filter(pc.is_in(frames["frame_index"], usable)))
        return pa.concat_tables(parts)
