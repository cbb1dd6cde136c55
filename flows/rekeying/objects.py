"""The objects of the store under new names: copied and verified first, and deleted under the old names at the end.

An object whose key stays, and whose content has old names, is replaced: the new content is staged, so that a kill between the
deletion of the old object and the new one loses nothing.
"""

import io
import re
from collections.abc import Iterator
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from flows.rekeying.change import Change
from vitau.catalog.catalog import ObjectRow
from vitau.catalog.rekeying.keys import NAME
from vitau.catalog.rekeying.renaming import Renaming
from vitau.data import layout
from vitau.errors import ChecksumError
from vitau.processes import temporary_folder
from vitau.store import TOMBSTONES, Store, sha256_of

STAGED: Final = "rekeying/"
_PERSON: Final = re.compile(r"(?:subjects|scores/[^/]+)/([^/]+)/.+")
_WITHOUT_PEOPLE: Final = (
    layout.SUBJECTS,
    layout.SCORES,
    TOMBSTONES,
    STAGED,
    "snapshots/",
    "models/",
    "checkpoints/",
    "pretrained/",
)
"""Objects whose content is not searched for names to replace: those of people are copied, manifests are written anew."""
_TABLE: Final = ".parquet"


def names_in_store(store: Store) -> set[str]:
    """Return the pseudonyms under which the store has objects of people."""
    found = (_PERSON.fullmatch(key) for prefix in (layout.SUBJECTS, layout.SCORES) for key in store.keys(prefix))
    return {match[1] for match in found if match is not None and NAME.fullmatch(match[1])}


def old_keys(change: Change) -> list[str]:
    """Return the keys that have an old name."""
    return [key for key in list(change.workspace.store.keys()) if change.renaming.text(key) != key]


def copy_objects(change: Change) -> int:
    """Copy every object of a person to its new key; return how many. Tables get the new name in their rows."""
    copied = 0
    recorded = change.workspace.catalog.objects()
    for key in old_keys(change):
        row = recorded.get(key)
        copied += _copy(change, key, None if row is None else row.sha256)
        change.progress()
    return copied


def _copy(change: Change, key: str, sha256: str | None) -> bool:
    """Copy an object to its new key, unless it is there whole; verify both."""
    store, target = change.workspace.store, change.renaming.text(key)
    if store.exists(target):
        if store.digest(target) is not None:
            return False
        store.erase(target)  # its writer was killed before it left the digest
    with temporary_folder(change.workspace.settings.temporary) as folder:
        path = store.download(key, folder / "object", sha256=sha256)
        if key.endswith(_TABLE):
            renamed = renamed_table(change.renaming, path.read_bytes())
            if renamed is not None:
                return store.put(target, renamed)
        created = store.put(target, path)
    written, read = store.digest(target), store.digest(key)
    if written is None or (read is not None and read.sha256 != written.sha256):
        raise ChecksumError(
            f"{store.location(target)} does not have the bytes that it was copied from: check the disk, run it again"
        )
    return created


def renamed_table(renaming: Renaming, data: bytes) -> bytes | None:
    """Return a Parquet table with the new names in texts and metadata; ``None`` if it has no old name."""
    file = pq.ParquetFile(io.BytesIO(data))
    table = file.read()
    changed = False
    for position, column in enumerate(table.schema):
        if pa.types.is_string(column.type):
            values = table.column(position).to_pylist()
            renamed = [value if value is None else renaming.text(value) for value in values]
            if renamed != values:
                table, changed = table.set_column(position, column, pa.array(renamed, column.type)), True
    metadata = {name: renaming.data(value) for name, value in (table.schema.metadata or {}).items()}
    if metadata != (table.schema.metadata or {}):
        table, changed = table.replace_schema_metadata(metadata), True
    if not changed:
        return None
    groups, sink = file.metadata, io.BytesIO()
    pq.write_table(
        table,
        sink,
        compression=groups.row_group(0).column(0).compression.lower() if groups.num_row_groups else "zstd",
        row_group_size=groups.row_group(0).num_rows if groups.num_row_groups else None,
        write_statistics=[column.name for column in table.schema if not pa.types.is_binary(column.type)],
    )
    return sink.getvalue()


def changed_objects(change: Change) -> dict[str, tuple[str, int]]:
    """Return the digest and the size of every recorded object that has other bytes under its new key.

    Raises:
        ChecksumError: one that is no table has other bytes.
    """
    store, found = change.workspace.store, {}
    for key, row in change.workspace.catalog.objects().items():
        target = change.renaming.text(key)
        digest = store.digest(target) if target != key else None
        if digest is None or digest.sha256 == row.sha256:
            continue
        if not key.endswith(_TABLE):
            raise ChecksumError(f"{store.location(target)} does not have the bytes that the catalog recorded: run `fsck`")
        found[target] = (digest.sha256, digest.size)
    return found


def rewrite_pages(change: Change) -> int:
    """Replace the pages and notes that have old names; return how many."""
    store = change.workspace.store
    for staged in list(store.keys(STAGED)):  # of an interrupted run
        _install(change, staged)
    replaced = 0
    for key in list(store.keys()):
        if key.startswith(_WITHOUT_PEOPLE):
            continue
        data = store.get(key)
        renamed = change.renaming.data(data)
        if renamed != data:
            replace_object(change, key, renamed)
            replaced += 1
        change.progress()
    return replaced


def replace_object(change: Change, key: str, data: bytes) -> None:
    """Replace an object by new bytes under the same key."""
    staged = f"{STAGED}{key}"
    change.workspace.store.put(staged, data)
    _install(change, staged)


def _install(change: Change, staged: str) -> None:
    store, catalog, key = change.workspace.store, change.workspace.catalog, staged.removeprefix(STAGED)
    data, digest = store.get(staged), store.digest(key)
    if digest is None or digest.sha256 != sha256_of(data):  # else only the staged copy is left to be deleted
        store.purge(key)
        store.put(key, data)
        digest = store.digest(key)
    if key in catalog.objects() and digest is not None:
        catalog.forget_objects([key])
        catalog.add_objects([ObjectRow(key=key, sha256=digest.sha256, size=digest.size, adopted=False)])
    store.purge(staged)


def delete_old_objects(change: Change) -> int:
    """Delete the objects under old names, each of which has a whole copy; return how many."""
    store, keys = change.workspace.store, old_keys(change)
    for key in keys:
        if not store.exists(change.renaming.text(key)):  # of a writer that began earlier
            _copy(change, key, None)
        change.progress()
    return sum(store.purge(prefix) for prefix in sorted(set(_prefixes(keys))))


def _prefixes(keys: list[str]) -> Iterator[str]:
    """Yield the prefixes of people, and other keys as they are."""
    for key in keys:
        person = _PERSON.fullmatch(key)
        yield key if person is None else key[: person.end(1) + 1]
