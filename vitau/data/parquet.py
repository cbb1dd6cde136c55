"""Tables as Parquet objects in a store."""

import io
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from vitau.store import Store


def read_table(store: Store, key: str, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a Parquet object, or some of its columns.

    Raises:
        ObjectNotFoundError: there is no such object.
        pyarrow.ArrowInvalid: its bytes are not a Parquet file.
    """
    return pq.read_table(io.BytesIO(store.get(key)), columns=None if columns is None else list(columns))


def write_table(store: Store, key: str, table: pa.Table, *, compression: str = "snappy") -> bool:
    """Write a table as one Parquet object unless the key is taken; return True if this call created it."""
    sink = io.BytesIO()
    pq.write_table(table, sink, compression=compression)
    return store.put(key, sink.getvalue())
