"""The worker for one subject: score the frames, draw the overlays, and write both to the store.

This module does not import Prefect, so that worker processes start quickly.
"""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vitau.asymmetry.features import measured_frames
from vitau.catalog.catalog import ScoredSubject
from vitau.data import layout
from vitau.data.parquet import read_table, write_table
from vitau.media.crops import Image
from vitau.media.frames import decode_crops
from vitau.processes import single_threaded
from vitau.schema import NUM_LANDMARKS
from vitau.scoring.aggregate import aggregate
from vitau.scoring.explanations.contributions import contributions
from vitau.scoring.overlays import draw_overlays, evenly_spaced
from vitau.scoring.predict import BATCH, Predictor
from vitau.scoring.scores import score_rows, score_table
from vitau.store import Store, open_store

OVERLAID_FRAMES: Final = 3
"""Frames per subject with overlays, spread evenly over the scored frames."""


@dataclass(frozen=True, kw_only=True)
class SubjectWork:
    """The work on a subject, to be sent to a worker: score the frames in one thread, so that no bit depends on the cores.

    ``model`` is a folder on this machine, or its files by name if the worker may run on another machine. It is loaded once per
    process.
    """

    store_uri: str
    model: Path | Mapping[str, bytes]
    digest: str

    @cached_property
    def predictor(self) -> Predictor:
        """The model, loaded on first use."""
        if isinstance(self.model, Path):
            return Predictor(self.model)
        with tempfile.TemporaryDirectory(prefix="vitau-model-") as folder:
            for name, data in self.model.items():
                path = Path(folder, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
            return Predictor(Path(folder))

    @cached_property
    def store(self) -> Store:
        """The object store, opened on first use."""
        return open_store(self.store_uri)

    def __call__(self, frames: pa.Table) -> ScoredSubject:
        """Return the score of a subject, given the subject's rows of a snapshot."""
        with single_threaded():
            return score_subject(self.store, self.predictor, self.digest, frames)


def read_model_files(folder: Path) -> dict[str, bytes]:
    """Read the files of a model folder, to be sent to workers on other machines."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def movement_of(predictor: Predictor, tables: Sequence[pa.Table]) -> NDArray[Any] | None:
    """Return the features of the movement of one person from the frames of all clips, ``None`` if no model uses them."""
    frames = pa.concat_tables(tables)
    some = frames.take(measured_frames(frames.num_rows))
    return predictor.measure(lambda: [decode_crops(some)], list(_landmarks(some)))


def _landmarks(frames: pa.Table) -> NDArray[np.float32]:
    """Return dlib's landmarks of frames, (N, 68, 2), px of the crop."""
    return np.array(frames["crop_landmarks"].to_pylist(), np.float32).reshape(frames.num_rows, NUM_LANDMARKS, 2)


def _crops(tables: Sequence[pa.Table]) -> Iterator[Image]:
    for table in tables:
        for start in range(0, table.num_rows, BATCH):
            yield decode_crops(table.slice(start, BATCH))


def score_frames(predictor: Predictor, tables: Sequence[pa.Table], movement_F: NDArray[Any] | None) -> Iterator[dict[str, Any]]:
    """Yield the scores of the frames of one person, a table of each clip, as rows of ``SCORE_COLUMNS``.

    Recognition decides about the person from the frames of all clips; then the regions of every frame are analyzed.
    """
    scores, start = predictor.score_person(lambda: _crops(tables), movement_F=movement_F), 0
    for table in tables:
        yield from score_rows(
            scores.rows(slice(start, start + table.num_rows)),
            name=table["clip"][0].as_py(),
            frame_index=table["frame_index"].to_pylist(),
            time_s=table["time_s"].to_pylist(),
            box=table["box"].to_pylist(),
            warning=predictor.warning,
        )
        start += table.num_rows


def score_subject(store: Store, predictor: Predictor, digest: str, frames: pa.Table) -> ScoredSubject:
    """Write the scores of one subject's frames and their overlays to the store; return the row for the catalog."""
    subject = frames["subject"][0].as_py()
    tables = [read_crops(store, frames, key) for key in pc.unique(frames["frames_key"]).to_pylist()]
    movement_F = movement_of(predictor, tables)
    scored = score_table(score_frames(predictor, tables, movement_F))
    write_table(store, layout.score_key(digest, subject), scored)
    key_frames = write_overlays(store, predictor, digest, subject, pa.concat_tables(tables), scored, movement_F)
    score, revisions = aggregate(scored, predictor.rule), frame_revisions(frames)
    added = contributions(predictor, movement_F)
    assert score is not None, "a snapshot has no subject without a frame"
    return ScoredSubject(
        model_digest=digest,
        subject=subject,
        key=layout.score_key(digest, subject),
        summary=score.summary()
        | {"key_frames": key_frames, "clips": clips_of(frames)}
        | ({"revisions": revisions} if revisions else {})
        | ({} if added is None else {"movement": added}),
    )


def clips_of(frames: pa.Table) -> list[str]:
    """Return the clips of some rows of a snapshot."""
    return sorted({layout.parse_frames_key(key)[0] for key in pc.unique(frames["frames_key"]).to_pylist()})


def frame_revisions(frames: pa.Table) -> dict[str, int]:
    """Return the revision of the frames of each clip that was cut anew after a correction; other clips are left out."""
    revisions: dict[str, int] = {}
    for clip, revision in map(layout.parse_frames_key, pc.unique(frames["frames_key"]).to_pylist()):
        if revision > revisions.get(clip, 0):
            revisions[clip] = revision
    return revisions


def is_outdated(score: ScoredSubject, frames: pa.Table) -> bool:
    """Return whether a score was made from frames that were cut anew since, or lacks a clip; one of more frames is current.

    Scores of earlier versions do not name their clips: see :func:`flows.scoring.new_people.drop_incomplete_scores`.
    """
    used = score.summary.get("revisions", {})
    scored = score.summary.get("clips")
    if scored is not None and not set(clips_of(frames)) <= set(scored):
        return True
    return any(revision > used.get(clip, 0) for clip, revision in frame_revisions(frames).items())


def read_crops(store: Store, frames: pa.Table, key: str) -> pa.Table:
    """Read the rows of a frame table that are among ``frames``."""
    wanted = frames.filter(pc.equal(frames["frames_key"], key))["frame_index"]
    table = read_table(store, key, ["clip", "frame_index", "time_s", "box", "crop", "crop_landmarks"])
    return table.filter(pc.is_in(table["frame_index"], wanted.combine_chunks()))


def write_overlays(
    store: Store,
    predictor: Predictor,
    digest: str,
    subject: str,
    table: pa.Table,
    scored: pa.Table,
    movement_F: NDArray[Any] | None = None,
) -> list[dict[str, Any]]:
    """Write the overlays of a few frames; return per frame its score and the keys of its pictures by name."""
    indices = evenly_spaced(table.num_rows, OVERLAID_FRAMES)
    rows = scored.take(indices).to_pylist()
    some = table.take(indices)
    drawn = draw_overlays(
        predictor,
        decode_crops(some),
        np.array([row["analysed"] for row in rows]),
        landmarks_NL2=_landmarks(some),
        movement_F=movement_F,
    )
    written = []
    for row, pictures in zip(rows, drawn, strict=True):
        keys = {name: layout.overlay_key(digest, subject, row["input"], row["frame_index"], name) for name in pictures}
        for name, jpeg in pictures.items():
            store.put(keys[name], jpeg)
        written.append({"label": f"at {row['time_s']:.1f} s", "palsy_score": row["palsy_score"], "pictures": keys})
    return written
