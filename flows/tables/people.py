"""The people of a table: those of a snapshot, or people who are drawn for the table into a store beside it."""

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from flows.tables.sizes import DrawnCohort
from vitau.data.layout import frames_key
from vitau.data.snapshot import SYNTHETIC_SOURCE, digest_of, freeze, load, snapshot_schema
from vitau.media.crops import to_jpeg
from vitau.media.faces import Detection, detect, landmarks
from vitau.media.synthetic.drawing import draw_crop
from vitau.media.synthetic.people import TASKS, Person, draw_person
from vitau.processes import parallel_map
from vitau.schema import AUS, CROP_SIZE, Cohort
from vitau.store import Store, open_store
from vitau.store.atomic import write_atomic
from vitau.training.pretraining.draw_worker import population
from vitau.training.pretraining.drawn_faces import DRAWING_VERSION

POPULATION: Final = "tables"
"""Name of the population of drawn people: it is neither that of the pretraining nor of any cohort."""


@dataclass(frozen=True, kw_only=True)
class People:
    """The people of a table.

    Attributes:
        store_uri: of the store with the snapshot and its frames.
        snapshot: digest.
        rows: of the snapshot, without erased people.
        without: people whose erasure has begun.
        cache: folder of decoded crops.
        synthetic: they are drawn.
        num_erased: people who are left out because they were erased.
    """

    store_uri: str
    snapshot: str
    rows: pa.Table
    without: frozenset[str] = frozenset()
    cache: Path
    synthetic: bool
    num_erased: int = 0

    @property
    def rows_digest(self) -> str:
        """Digest of the rows that are used."""
        return digest_of(self.rows)

    @classmethod
    def of_store(cls, store: Store, folder: Path, snapshot: str, *, synthetic: bool) -> Self:
        """Return the people of a snapshot in ``folder/store``."""
        uri, cache = str(folder / "store"), folder / "crops"
        return cls(store_uri=uri, snapshot=snapshot, rows=load(store, snapshot), cache=cache, synthetic=synthetic)


@dataclass(frozen=True, kw_only=True, slots=True)
class DrawnClip:
    """The frames of one drawn person as a Parquet table, and the number of frames in which no face was found."""

    person: Person
    table: bytes
    num_frames: int
    num_faceless: int


def draw_people(
    cohort: DrawnCohort, folder: Path, *, num_processes: int, progress: Callable[[int, int], None] | None = None
) -> People:
    """Draw the people of a table and freeze them into a store in ``folder``; the same people are only read.

    Their landmarks are found by dlib in the drawn crops, as those of every recording, and are not the exact ones.
    """
    store = open_store(str(folder / "store"))
    drawn = sha256(repr((sorted(asdict(cohort).items()), DRAWING_VERSION)).encode()).hexdigest()
    note = folder / f"{drawn[:16]}.txt"
    if not note.exists():
        rows: list[dict[str, Any]] = []
        clips = parallel_map(_DrawClip(cohort.frames_per_task), range(cohort.num_people), num_processes)
        for done, clip in enumerate(clips, start=1):
            rows += _store_clip(store, clip, drawn[:16], cohort)
            if progress:
                progress(done, cohort.num_people)
        freeze_people(rows, store, note)
    return People.of_store(store, folder, note.read_text(), synthetic=True)


def freeze_people(rows: Sequence[Mapping[str, Any]], store: Store, note: Path) -> None:
    """Freeze the rows of a snapshot, and write its digest into a note once it is complete.

    Raises:
        SnapshotError: there is no row.
    """
    snapshot = freeze(pa.Table.from_pylist(list(rows), schema=snapshot_schema()), store, 0)
    write_atomic(note, snapshot.digest)


def store_frames(store: Store, subject: str, table: bytes, recipe: str, facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Put the frame table of a person into the store, and return the rows of the snapshot.

    Args:
        store: of the frames.
        subject: pseudonym.
        table: Parquet with ``frame_index``, ``crop`` and ``crop_landmarks``.
        recipe: digest of how the frames were made.
        facts: source, cohort, split, side and regions of the person.
    """
    digest = sha256(table).hexdigest()
    key = frames_key(subject, digest, recipe)
    store.put(key, table)
    indices = pq.read_table(io.BytesIO(table), columns=["frame_index"])["frame_index"].to_pylist()
    return [{"subject": subject, "clip": digest, "frames_key": key, **facts, "frame_index": index} for index in indices]


@dataclass(frozen=True, kw_only=False)
class _DrawClip:
    """Draws the person with a number; it can be sent to another process."""

    frames_per_task: int

    def __call__(self, index: int) -> DrawnClip:
        person = draw_person(population(POPULATION), index)
        rng = np.random.default_rng([person.seed, index, 4])
        frames: list[dict[str, Any]] = []
        num_faceless = 0
        for task in TASKS:
            for number in range(self.frames_per_task):
                amount = (number + 1) / self.frames_per_task + rng.uniform(-0.1, 0.0)
                crop = draw_crop(person, task, float(amount), rng, CROP_SIZE).image
                face = max(detect(crop), key=_score, default=None)
                if face is None:
                    num_faceless += 1
                    continue
                points = landmarks(crop, face.box).ravel().tolist()
                frames.append({"frame_index": len(frames) + num_faceless, "crop": to_jpeg(crop), "crop_landmarks": points})
        sink = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(frames), sink)
        return DrawnClip(person=person, table=sink.getvalue(), num_frames=len(frames), num_faceless=num_faceless)


def _score(face: Detection) -> float:
    return face.score


def _store_clip(store: Store, clip: DrawnClip, recipe: str, cohort: DrawnCohort) -> list[dict[str, Any]]:
    person = clip.person
    facts = {
        "source": SYNTHETIC_SOURCE,
        "cohort": str(Cohort.PALSY if person.palsied else Cohort.CONTROL),
        "split": str(cohort.split(person.index)),
        "side": None if person.side is None else str(person.side),
        **{str(au): au in person.affected for au in AUS},
    }
    return store_frames(store, person.subject, clip.table, recipe, facts)
