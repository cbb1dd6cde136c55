"""Lookalikes: pairs of people in the catalog whose faces are near each other, for gate 3 and for a person to decide."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from flows.execution.clip_worker import frames_version
from flows.workspace import Workspace
from vitau.data.layout import clip_faces_key
from vitau.data.parquet import read_table, write_table
from vitau.errors import ChecksumError, ObjectNotFoundError
from vitau.media.identity.distances import SCREEN, Array, NearClips, near_clips, refine
from vitau.media.identity.faces import CHOICE_COLUMNS, ClipFaces, choose_faces, embed_faces, read_faces
from vitau.progress import track
from vitau.schema import EMBEDDING_SIZE
from vitau.store import Store

MAX_CLIPS: Final = 100
"""Clips of which several faces are compared; a face takes a tenth of a second."""


@dataclass(frozen=True, kw_only=True)
class Lookalikes:
    """Two people whose faces are near: their pseudonyms, the distance of their nearest clips, and the frame tables of those.

    ``several`` means that several faces of each clip were compared.
    """

    one: str
    other: str
    distance: float
    several: bool
    frames_keys: tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class IdentityCheck:
    """The result of comparing people: the near pairs, nearest first, and each person's distance to the nearest other."""

    pairs: tuple[Lookalikes, ...]
    nearest: Mapping[str, float]


def compare_people(workspace: Workspace, owners: Mapping[str, str], *, below: float) -> IdentityCheck:
    """Compare the faces of people, first by one face of each clip, then by several where those are near.

    Args:
        workspace: the objects.
        owners: key of a frame table → pseudonym.
        below: distance under which two people are listed.
    """
    keys, embeddings = [], []
    for key in track(list(owners), "comparing identities", len(owners)):
        found = read_table(workspace.store, key, ["embedding"])["embedding"].drop_null().to_pylist()
        keys += [key] * len(found)
        embeddings += found
    embedding_CD = np.array(embeddings, dtype=np.float32).reshape(-1, EMBEDDING_SIZE)
    people = [owners[key] for key in keys]
    if len(set(people)) < 2:
        return IdentityCheck(pairs=(), nearest={})
    candidates, beyond = near_clips(embedding_CD, people, below + SCREEN)

    def faces(clip: int) -> Array:
        embedding_KD: Array = clip_faces(workspace.store, keys[clip]).embedding_KD
        return embedding_KD

    nearest: dict[str, float] = dict(beyond)
    pairs: dict[tuple[str, str], NearClips] = {}
    for clips in refine(candidates, faces, MAX_CLIPS):
        one, other = sorted((people[clips.one], people[clips.other]))
        pairs.setdefault((one, other), clips)  # the nearest comes first
        for person in (one, other):
            nearest[person] = min(nearest.get(person, np.inf), clips.distance)
    return IdentityCheck(
        pairs=tuple(
            Lookalikes(
                one=people[clips.one],
                other=people[clips.other],
                distance=clips.distance,
                several=clips.several,
                frames_keys=(keys[clips.one], keys[clips.other]),
            )
            for clips in pairs.values()
            if clips.distance < below
        ),
        nearest=nearest,
    )


def find_lookalikes(workspace: Workspace, *, below: float) -> tuple[Lookalikes, ...]:
    """Return the pairs of people in the catalog whose faces are nearer than ``below``, labeled or not, nearest first."""
    clips = {clip.sha256: clip.subject for clip in workspace.catalog.clips()}
    withdrawn = workspace.catalog.withdrawn_subjects()
    owners = {
        table.key: clips[table.clip]
        for table in workspace.catalog.frame_tables(frames_version())
        if table.clip in clips and clips[table.clip] not in withdrawn
    }
    return compare_people(workspace, owners, below=below).pairs


def clip_faces(store: Store, frames_key: str) -> ClipFaces:
    """Return several faces of a clip; they are computed once and kept beside its frame table."""
    key = clip_faces_key(frames_key)
    try:
        return read_faces(read_table(store, key))
    except ObjectNotFoundError:
        pass
    except ChecksumError:  # its writer was killed, or the disk is damaged: its source is still there
        store.erase(key)
    table = embed_faces(choose_faces(read_table(store, frames_key, CHOICE_COLUMNS)))
    write_table(store, key, table)
    return read_faces(table)
