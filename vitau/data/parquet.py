"""Tables as Parquet objects in a store."""

import io
import sys
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from vitau.store import Store


def read_table(store: Store, key: str, columns: Sequence[str] | None = None, *, repeated: Sequence[str] = ()) -> pa.Table:
    """Read a Parquet object, or some of its columns.

    Args:
        store: holds the object.
        key: of the object.
        columns: names of columns, by default of all.
        repeated: names of text columns with few different values, which are read as dictionaries: much faster.

    Raises:
        ObjectNotFoundError: there is no such object.
        pyarrow.ArrowInvalid: its bytes are not a Parquet file.
    """
    names = None if columns is None else list(columns)
    return pq.read_table(io.BytesIO(store.get(key)), columns=names, read_dictionary=list(repeated) or None)


def write_table(store: Store, key: str, table: pa.Table, *, compression: str = "snappy") -> bool:
    """Write a table as one Parquet object unless the key is taken; return True if this call created it."""
    sink = io.BytesIO()
    pq.write_table(table, sink, compression=compression)
    return store.put(key, sink.getvalue())


def leave_pandas_out() -> None:
    """Make pyarrow convert values without pandas, whose import takes half a second, unless pandas is loaded already.

    At its first conversion in a process, pyarrow looks for pandas to recognize its types. It loads pandas all the same when a
    table is converted to a data frame. For commands whose values are never of pandas.
    """
    if "pandas" in sys.modules:
        return
    absent = _PandasAbsent()
    sys.meta_path.insert(0, absent)
    try:
        pa.array([0])
    finally:
        sys.meta_path.remove(absent)


class _PandasAbsent:
    """A finder of modules that does not find pandas."""

    def find_spec(self, name: str, *_: object) -> None:
        if name == "pandas":
            raise ModuleNotFoundError(name=name)
