"""The shortcut probe of a snapshot: measure how its people were recorded, and predict their cohort from that."""

from pathlib import Path

import pyarrow as pa

from vitau.data.nuisance import load_nuisance
from vitau.evaluation.crossvalidation.shortcuts import ShortcutProbe, probe_shortcuts
from vitau.store import Store


def probe_snapshot(store: Store, rows: pa.Table, cache: Path | None = None) -> ShortcutProbe:
    """Probe the people of a snapshot.

    Args:
        store: holds the frame tables.
        rows: of the snapshot, without erased people.
        cache: folder of decoded crops, which keeps the measures too.

    Raises:
        ObjectNotFoundError: a frame table is not in the store.
    """
    measured = load_nuisance(store, rows, cache)
    return probe_shortcuts(measured.names, measured.value_SF, measured.palsied_S)
