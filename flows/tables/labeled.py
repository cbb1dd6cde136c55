"""The people of a table from a table of labels: their clips are read as ingest does, without a workspace or its services."""

import io
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from flows.tables.people import People, freeze_people, store_frames
from vitau.asymmetry.clips import LabeledPerson, read_labels, usable_frames
from vitau.data.splits import assign
from vitau.errors import ClipError, SourceError
from vitau.media.crops import to_jpeg
from vitau.processes import parallel_map
from vitau.schema import AUS, Cohort, Side
from vitau.store import Store, open_store

SOURCE: Final = "labels"
"""Name of the source in the rows of the snapshot."""
_SIDES: Final = {1: str(Side.RIGHT), -1: str(Side.LEFT)}


def read_people(
    labels: Path,
    folder: Path,
    *,
    num_processes: int,
    progress: Callable[[int, int], None] | None = None,
    skipped: Callable[[str], None] | None = None,
) -> People:
    """Read the clips of labeled people into a store in ``folder``, and freeze their frames; the same clips are read once.

    People are named by their order in the table, so that no name of a person gets into a key. The splits are assigned by
    cohort, as those of a workspace.

    Args:
        labels: a CSV, see :func:`vitau.asymmetry.clips.read_labels`.
        folder: of the store.
        num_processes: clips that are read at a time.
        progress: called with (read, all) people.
        skipped: called with a sentence about each person without a usable frame.

    Raises:
        SourceError: the table or a clip is missing, or the table is wrong.
    """
    people = read_labels(labels)
    if missing := [clip for person in people for clip in person.clips if not clip.is_file()]:
        raise SourceError(f"{len(missing)} of the clips in the table of labels are missing: give their paths from its folder")
    store = open_store(str(folder / "store"))
    digest = _digest(labels, people)
    note = folder / f"{digest}.txt"
    if not note.exists():
        rows: list[dict[str, Any]] = []
        names = [f"person-{number:04d}" for number in range(1, len(people) + 1)]
        splits = assign({name: _cohort(person) for name, person in zip(names, people, strict=True)})
        for done, (name, person, table) in enumerate(
            zip(names, people, parallel_map(_read_clips, people, num_processes), strict=True), start=1
        ):
            if isinstance(table, str):
                (skipped or (lambda _: None))(f"{name} is left out: {table}")
            else:
                rows += store_frames(store, name, table, digest, _facts(person, str(splits[name])))
            if progress:
                progress(done, len(people))
        freeze_people(rows, store, note)
    return _frozen(store, folder, note)


def _frozen(store: Store, folder: Path, note: Path) -> People:
    return People.of_store(store, folder, note.read_text(), synthetic=False)


def _digest(labels: Path, people: Sequence[LabeledPerson]) -> str:
    """Return the digest of the table and of the contents of all clips."""
    hasher = sha256(labels.read_bytes())
    for clip in (clip for person in people for clip in person.clips):
        hasher.update(sha256(clip.read_bytes()).digest())
    return hasher.hexdigest()[:16]


def _read_clips(person: LabeledPerson) -> bytes | str:
    """Return the frame table of a person as Parquet, or the reason why there is none."""
    try:
        frames = [
            {"frame_index": index, "crop": to_jpeg(crop), "crop_landmarks": points.ravel().tolist()}
            for index, (crop, points) in enumerate(frame for clip in person.clips for frame in usable_frames(clip))
        ]
    except ClipError as error:
        return str(error)
    if not frames:
        return "no frame shows the face well enough"
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(frames), sink)
    return sink.getvalue()


def _cohort(person: LabeledPerson) -> Cohort:
    return Cohort.PALSY if person.palsied else Cohort.CONTROL


def _facts(person: LabeledPerson, split: str) -> dict[str, Any]:
    regions = person.affected if person.palsied else (False,) * len(AUS)
    return {
        "source": SOURCE,
        "cohort": str(_cohort(person)),
        "split": split,
        "side": _SIDES.get(person.side) if person.palsied else None,
        **{str(au): label for au, label in zip(AUS, regions, strict=True)},
    }
