"""Drafts of manifests: compare the faces of the drafted clips with the people that their names suggest."""

import csv
import io
import os
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow.parquet as pq

from flows.identity.page import Pair, write_faces_page
from vitau.errors import EngineError, VitauError
from vitau.media.identity.distances import Contradiction, Proposal, contradictions
from vitau.media.identity.faces import ClipFaces, read_faces, write_clip_faces
from vitau.media.manifests import SourceClip, read_manifest
from vitau.media.sandbox import run_isolated
from vitau.media.sources import fetch
from vitau.progress import track
from vitau.schema import EMBEDDING_SIZE, Clip, Skipped
from vitau.store.atomic import write_atomic

COLUMNS: Final = ("row", "other_row", "subject", "other_subject", "distance", "faces_say", "proposal")
MAX_IMAGES: Final = 30
"""Images of a sequence that are read, spread evenly."""
NO_FACES: Final = ClipFaces(embedding_KD=np.zeros((0, EMBEDDING_SIZE), np.float32), crops=())
_REMEDIES: Final = {
    Proposal.MERGE: "give both rows one subject",
    Proposal.LOOK: "look at both faces; if they are one person, give both rows one subject",
    Proposal.SPLIT: "give the rows two subjects",
}


@dataclass(frozen=True, kw_only=True)
class DraftCheck:
    """The comparison of a draft: its clips, the contradictions, and the clips that could not be compared."""

    clips: Sequence[SourceClip]
    faces: Sequence[ClipFaces]
    contradictions: Sequence[Contradiction]
    skipped: Sequence[Skipped]


def check_draft(manifest: Path, folder: Path) -> DraftCheck:
    """Compare the faces of all clips of a drafted manifest, whose clips are in ``folder``, with the drafted subjects."""
    clips, skipped = read_manifest(manifest, (folder.resolve(),))
    with tempfile.TemporaryDirectory(prefix="vitau-draft-") as work, ThreadPoolExecutor(os.cpu_count()) as threads:
        found = list(track(threads.map(partial(faces_of, Path(work)), enumerate(clips)), "comparing faces", len(clips)))
    faces = [face if isinstance(face, ClipFaces) else NO_FACES for face in found]
    return DraftCheck(
        clips=clips,
        faces=faces,
        contradictions=contradictions([clip.subject_id for clip in clips], [face.embedding_KD for face in faces]),
        skipped=[*skipped, *(face for face in found if isinstance(face, Skipped))],
    )


def faces_of(work: Path, numbered: tuple[int, SourceClip]) -> ClipFaces | Skipped:
    """Return the faces of one clip, decoded in a process of its own, or the reason why there are none."""
    number, source = numbered
    chosen = source.paths[:: max(1, -(-len(source.paths) // MAX_IMAGES))]
    folder, out = work / str(number), work / f"{number}.parquet"
    clip = Clip(sha256=str(number), subject="draft", source="draft", suffix=".mp4", mirrored=source.mirrored)
    try:
        path = fetch(replace(source, paths=chosen), folder)
        run_isolated(partial(write_clip_faces, clip, path, out))
    except EngineError:
        raise
    except VitauError as error:
        return Skipped(item=source.row, reason=str(error).removeprefix(f"{source.row}: "))
    faces = read_faces(pq.read_table(out))
    return faces if len(faces.crops) else Skipped(item=source.row, reason="no face was found in it")


def write_draft_check(check: DraftCheck, table: Path, page: Path) -> None:
    """Write the contradictions as a CSV table, and as a page with both faces; readable by their owner only."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    pairs = []
    for found in check.contradictions:
        one, other = check.clips[found.one], check.clips[found.other]
        writer.writerow(
            {
                "row": one.row.removeprefix("row "),
                "other_row": other.row.removeprefix("row "),
                "subject": one.subject_id,
                "other_subject": other.subject_id,
                "distance": f"{found.distance:.3f}",
                "faces_say": found.proposal,
                "proposal": _REMEDIES[found.proposal],
            }
        )
        pairs.append(
            Pair(
                names=(f"{one.row}, subject {one.subject_id}", f"{other.row}, subject {other.subject_id}"),
                crops=(check.faces[found.one].crops[0], check.faces[found.other].crops[0]),
                distance=found.distance,
                conclusion=found.proposal,
                remedy=f"Proposal: {_REMEDIES[found.proposal]}.",
                is_command=False,
            )
        )
    write_atomic(table, out.getvalue())
    note = (
        "The manifest has the subjects that the file names suggest. These pairs of its rows have faces that say otherwise. "
        "Nothing was changed: correct the manifest by hand. Relatives can look alike, and a turned head can look strange."
    )
    write_faces_page(page, pairs, title="Drafted manifest: faces that contradict the names", note=note)
