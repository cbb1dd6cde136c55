"""Check every object of the store against the catalog: `python -m flows fsck`."""

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from vitau.catalog.catalog import Catalog, ObjectRow
from vitau.data import layout
from vitau.errors import ChecksumError, ObjectNotFoundError
from vitau.store import Store, sha256_of

_RECORDED: Final = ("subjects/", "scores/", "models/", "pretrained/", "ingested/", "validation/")
"""Prefixes of objects that are never rewritten; the others are compared with their writer's digest only."""
_CLIP: Final = re.compile(rf"{layout.SUBJECTS}[^/]+/clips/([^/]+)/.+")


class Problem(StrEnum):
    """The kind of a defect of an object or a row."""

    CHANGED = "changed"
    MISSING = "missing"
    ORPHAN = "orphan"
    UNKNOWN = "unknown"
    NO_FRAMES = "no frames"
    NOT_CUT = "not cut"


@dataclass(frozen=True, kw_only=True)
class Defect:
    """A problem, the key of the object or the digest of the clip, and the remedy."""

    problem: Problem
    item: str
    remedy: str


@dataclass(frozen=True, kw_only=True)
class FsckReport:
    """The result of a check.

    Attributes:
        objects: whose bytes were read.
        verified: that have the bytes of their recorded digest.
        recorded: whose writer's digest entered the catalog now.
        adopted: without a digest of their writer, whose present bytes were recorded now; earlier changes cannot be noticed.
        defects: what is wrong.
    """

    objects: int
    verified: int
    recorded: int
    adopted: int
    defects: tuple[Defect, ...]


def fsck(store: Store, catalog: Catalog, *, adopt: bool = False, tell: Callable[[int], None] = lambda _: None) -> FsckReport:
    """Read every object, compare it with its digest, and compare the objects with the rows of the catalog.

    Objects of an earlier version have no digest. The first check adopts them: it records the digests of their present bytes.
    Afterwards an object without a digest is a defect.

    Args:
        store: the objects.
        catalog: the rows.
        adopt: adopt objects without a digest, also after the first check.
        tell: called with the number of objects read so far.
    """
    known = catalog.objects()
    adopt = adopt or not known
    referred, clips = _referred(store, catalog), {clip.sha256 for clip in catalog.clips()}
    working = {claim.clip for claim in catalog.ingest_claims()}
    scored = {(score.model_digest, score.subject) for score in catalog.scores()}
    defects, new, present, verified = list(_without_frames(catalog)), [], set(), 0
    for number, key in enumerate(store.keys(), 1):
        tell(number)
        present.add(key)
        if (clip := _CLIP.fullmatch(key)) is not None and clip[1] not in clips | working:
            defects.append(Defect(problem=Problem.ORPHAN, item=key, remedy="no clip in the catalog: ingest its source again"))
            continue
        if (score := layout.parse_score_key(key)) is not None and score not in scored:
            defects.append(Defect(problem=Problem.ORPHAN, item=key, remedy="no score in the catalog: run `rescore` again"))
            continue
        try:
            row, verified_now = _check(store, key, known.get(key), adopt=adopt)
        except ObjectNotFoundError:  # erased meanwhile
            present.discard(key)
            continue
        except ChecksumError:
            remedy = "its bytes are not those that were written: restore it from a copy"
            defects.append(Defect(problem=Problem.CHANGED, item=key, remedy=remedy))
            continue
        verified += verified_now
        if row is None and not verified_now:
            remedy = "ViTAU did not write it: delete it, or record it with `fsck --adopt`"
            defects.append(Defect(problem=Problem.UNKNOWN, item=key, remedy=remedy))
        elif row is not None and key.startswith(_RECORDED) and key not in known:
            new.append(row)
    recordings, not_cut = _recordings(catalog, present, known)
    referred |= recordings
    defects += not_cut
    lost = sorted(referred - present)
    defects += [Defect(problem=Problem.MISSING, item=key, remedy="restore it from a copy") for key in lost]
    catalog.forget_objects(known.keys() - present - referred)  # erased or cut anew on purpose
    catalog.add_objects(new)
    adopted = sum(row.adopted for row in new)
    return FsckReport(
        objects=len(present), verified=verified, recorded=len(new) - adopted, adopted=adopted, defects=tuple(defects)
    )


def _check(store: Store, key: str, known: ObjectRow | None, *, adopt: bool) -> tuple[ObjectRow | None, bool]:
    """Read an object; return its row, None if it cannot be recorded, and whether its bytes were compared with a digest."""
    left = store.digest(key)
    expected = known.sha256 if known is not None else None
    if expected is None and left is None and not adopt:
        return None, False
    data = store.get(key, sha256=expected)  # without a digest of the catalog, the store compares with the writer's
    digest = left.sha256 if left is not None else sha256_of(data)
    compared = expected is not None or left is not None
    return ObjectRow(key=key, sha256=expected or digest, size=len(data), adopted=not compared), compared


def _referred(store: Store, catalog: Catalog) -> set[str]:
    """Return the keys to which rows of the catalog refer, but for those of recordings.

    An erasure, or a new pseudonym key, replaces the manifest of a snapshot by one with another name.
    """
    keys = set()
    for clip in catalog.clips():
        for table in catalog.frame_tables_of(clip.sha256):
            keys |= {table.key, table.quarantine_key}
    for score in catalog.scores():
        keys.add(score.key)
        for frame in score.summary.get("key_frames", ()):
            keys |= set(frame["pictures"].values())
    for snapshot in catalog.snapshots():
        if next(iter(store.keys(layout.snapshot_prefix(snapshot.digest))), None) is None:
            keys.add(layout.snapshot_key(snapshot.digest))
    return keys


def _recordings(catalog: Catalog, present: Collection[str], known: Collection[str]) -> tuple[set[str], list[Defect]]:
    """Return the keys of the recordings of all clips, and the ranges that still have the whole recording."""
    stored: dict[str, set[str]] = defaultdict(set)
    for key in {*present, *known}:
        if layout.is_recording_key(key):
            stored[key.rpartition("/")[0]].add(key)
    keys: set[str] = set()
    not_cut = []
    for clip in catalog.clips():
        for table in catalog.frame_tables_of(clip.sha256):
            raw = layout.raw_key_beside(table.key, clip.suffix)
            found = stored[table.key.rpartition("/")[0]]
            if not clip.is_range:
                keys.add(raw)
            elif raw in present:
                remedy = "it has the whole recording: run `python -m flows cut-ranges`"
                not_cut.append(Defect(problem=Problem.NOT_CUT, item=raw, remedy=remedy))
                keys.add(raw)
            elif found.isdisjoint(present):
                keys |= found - {raw} or {layout.range_prefix_beside(table.key)}
    return keys, not_cut


def _without_frames(catalog: Catalog) -> Iterator[Defect]:
    for clip in catalog.clips():
        if not catalog.frame_tables_of(clip.sha256):
            yield Defect(problem=Problem.NO_FRAMES, item=clip.sha256, remedy="ingest its source again")
