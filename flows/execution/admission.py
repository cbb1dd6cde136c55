"""Admission of clips to an ingest: identify a clip, look up what is known of it, and claim it before anything is written.

Only this module turns the identifiers of a source into pseudonyms. Workers receive a claimed clip and a local file.
"""

import re
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import pyarrow.compute as pc

from flows.erasure.content import content_tombstone
from flows.erasure.keys import open_keys
from flows.execution.clip_worker import ClaimedSource, Ingested, clip_work_name, frames_version, recording_keys
from flows.execution.identities import content_name, known_name, names_of, statement_of, tombstones_of, url_name
from flows.workspace import Workspace
from vitau.catalog.intake import DeadLetter
from vitau.catalog.recordings import ClaimedClip, FrameTable
from vitau.data import layout, snapshot
from vitau.data.parquet import read_table
from vitau.errors import ClipError, ContradictionError, SourceError, StoreError, VitauError
from vitau.measures.stored import measures_version
from vitau.media.frames import FrameRecipe
from vitau.media.manifests import SourceClip
from vitau.media.sandbox import DIED
from vitau.media.sources import fetch, to_clip, to_subject
from vitau.schema import Clip, Skipped, Subject

_HEX_NAME = re.compile(r"\b(?:erased-)?[0-9a-f]{12,64}\b")


@dataclass(frozen=True, kw_only=True)
class Admitted:
    """A clip that is to be ingested: what its worker receives, and what the source states."""

    work: ClaimedSource
    subject: Subject
    stated: Clip
    claimed: ClaimedClip


Admission: TypeAlias = "Admitted | FrameTable | Skipped"


class Admissions:
    """The admissions of one run. Downloads are shared by the clips of a run and removed after the last of them.

    Args:
        workspace: the rows and the objects.
        clips: of the source.
        recipe: of the frames.
        folder: for downloads and packed image sequences; it exists for the whole run.
    """

    def __init__(self, workspace: Workspace, clips: Sequence[SourceClip], recipe: FrameRecipe, folder: Path) -> None:
        self._store, self._catalog = workspace.store, workspace.catalog
        self._keys = open_keys(workspace)
        self._hosts = workspace.settings.url_hosts
        self.recipe, self._folder = recipe, folder
        statements = self._keys.derive(lambda key: statement_of(clips, key))
        self._statement = self._catalog.known_statement(statements) or statements[0]
        self._known = self._catalog.pseudonyms()
        self._downloads: dict[str, Path | ClipError] = {}
        self._url_names: dict[str, str] = {}
        self._num_left = Counter(self._url_name(clip) for clip in clips if clip.url is not None)

    def admit(self, source: SourceClip, lease_name: str) -> Admission:
        """Return the claimed clip to work on, the frame table of a known clip, or why the clip is skipped.

        Raises:
            CatalogError: the catalog cannot be reached.
        """
        try:
            return self._admit(source, lease_name)
        except (ClipError, ContradictionError, SourceError, StoreError) as error:
            return self.skip(source, str(error))
        except VitauError:
            raise
        except Exception as error:  # noqa: BLE001 - one clip must not end the ingest of the others
            return self.skip(source, f"it cannot be read ({type(error).__name__}); save it again with another program")

    def record(self, admitted: Admitted, ingested: Ingested) -> bool:
        """Record a clip whose objects are written, and end its claim; return whether its frame table is new.

        Raises:
            ContradictionError: the person was erased meanwhile.
        """
        sha256_ = ingested.clip.sha256
        superseded = self._catalog.frame_tables_of(sha256_) if admitted.claimed.revision else []
        new = self._catalog.record_clip(
            admitted.subject, admitted.claimed, ingested.frames, statement=self._statement, stated=admitted.stated
        )
        self._replace_pictures([table for table in superseded if table.key != ingested.frames.key], ingested.frames)
        return new

    def give_up(self, source: SourceClip, admitted: Admitted, lease_name: str, skipped: Skipped) -> Skipped:
        """Return why a clip is skipped that its worker could not ingest; its claim stays if objects were written."""
        clip = admitted.claimed.clip
        if skipped.reason.startswith(DIED):
            self._catalog.add_death(content_name(lease_name), DIED)
        recorded = self._catalog.recorded_clip(clip.sha256) is not None
        if recorded or next(iter(self._store.keys(layout.clip_prefix(clip.subject, clip.sha256))), None) is None:
            self._catalog.drop_claim(clip.sha256)
        return self.skip(source, skipped.reason)

    def finish(self, source: SourceClip, admission: Admission) -> None:
        """Note the URL of a clip that is recorded, and remove its local copy if no other clip of the run needs it."""
        if isinstance(admission, Admitted):
            path = admission.work.path
            if source.url is None and path.is_relative_to(self._folder):
                path.unlink(missing_ok=True)
        if source.url is not None:
            name = self._url_name(source)
            self._num_left[name] -= 1
            copy = self._downloads.get(name)
            if self._num_left[name] <= 0 and isinstance(copy, Path):
                copy.unlink(missing_ok=True)

    def skip(self, source: SourceClip, reason: str) -> Skipped:
        """Return a skipped row with a reason that names no person, file or URL."""
        for text in (source.url, *map(str, source.paths), *(path.name for path in source.paths), source.subject_id):
            if text and (len(text) > 3 or not text.isalnum()):
                reason = reason.replace(text, "…")
        return Skipped(item=source.row, reason=_HEX_NAME.sub("…", reason.removeprefix(f"{source.row}: ")))

    def _admit(self, source: SourceClip, lease_name: str) -> Admission:
        letter = self._dead_letter(source, lease_name)
        if letter is not None:
            return Skipped(
                item=source.row,
                reason=f"its decoder died {letter.deaths} times, and it is not tried again: "
                f"save it again, or run `python -m flows dead-letters --release {letter.name}`",
            )
        subject = self._subject(source)
        stated = self._recorded_of_url(source, subject)
        path = None
        if stated is None:
            path = self._fetch(source)
            stated = replace(to_clip(source, path, self._keys.present), subject=subject.pseudonym)
        if source.anonymous and (recorded := self._catalog.recorded_clip(stated.sha256)) is not None:
            stated = recorded.clip
            subject = replace(subject, pseudonym=stated.subject, source=stated.source, synthetic=stated.synthetic)
        buried = self._keys.derive(lambda key: content_tombstone(key, stated.sha256))
        if any(map(self._catalog.is_erased_content, buried)):
            return Skipped(
                item=source.row, reason="its recording was erased with a person: remove the row from the manifest, and the file"
            )
        checked = self._catalog.check_clip(subject, stated, statement=self._statement)
        table = self._complete(checked)
        if table is not None:
            if self._catalog.is_news(checked.clip, self._statement):
                self._catalog.record_clip(subject, checked, table, statement=self._statement, stated=stated)
            self._note_url(source, stated)
            return table
        path = path or self._fetch(source)
        self._roll_back(subject, stated)
        claimed = self._catalog.claim_clip(subject, stated, statement=self._statement, work=lease_name)
        self._note_url(source, stated)
        work = ClaimedSource(row=source.row, path=path, clip=claimed.clip, revision=claimed.revision)
        return Admitted(work=work, subject=subject, stated=stated, claimed=claimed)

    def _subject(self, source: SourceClip) -> Subject:
        """Return the person of a clip under the known pseudonym.

        It may be that of an identifier that was not normalized, or have been renamed when the key was replaced.

        Raises:
            ContradictionError: the person was erased before the key was replaced.
        """
        person = source.source, source.subject_id
        known = known_name(self._keys, *person, self._known) or names_of(self._keys, *person)[0]
        if self._keys.retired and not self._catalog.erased_names().isdisjoint(tombstones_of(self._keys, *person)):
            raise ContradictionError("its person was erased and cannot be added again: correct the manifest")
        return replace(to_subject(source, self._keys.present), pseudonym=known)

    def _dead_letter(self, source: SourceClip, lease_name: str) -> DeadLetter | None:
        """Return the dead letter of a clip; those from before a change of the key need the bytes to be read again."""
        letter = self._catalog.dead_letter(content_name(lease_name))
        if letter is not None or not self._keys.retired or not self._catalog.dead_letters():
            return letter
        names = self._keys.derive(lambda key: content_name(clip_work_name(source, key, self.recipe)))
        return next(filter(None, map(self._catalog.dead_letter, names)), None)

    def _complete(self, checked: ClaimedClip) -> FrameTable | None:
        """Return the frame table of a recorded clip if all its objects exist and nothing is to be cut again."""
        recorded = self._catalog.recorded_clip(checked.clip.sha256)
        if recorded is None or recorded.revision != checked.revision:
            return None
        version = frames_version(self.recipe)
        tables = self._catalog.frame_tables_of(checked.clip.sha256)
        table = next((table for table in tables if table.recipe == version), None)
        if table is None:
            return None
        exist = all(map(self._store.exists, (table.key, table.quarantine_key)))
        return table if exist and recording_keys(self._store, checked.clip, table.key) else None

    def _recorded_of_url(self, source: SourceClip, subject: Subject) -> Clip | None:
        """Return the clip that a URL became earlier, as the source states it now; ``None`` if it is to be downloaded."""
        if source.url is None:
            return None
        name = self._url_name(source)
        digest = self._catalog.clip_of_url(name, time_range(source))
        recorded = None if digest is None else self._catalog.recorded_clip(digest)
        if recorded is None:
            return None
        return replace(
            recorded.clip,
            subject=subject.pseudonym,
            source=source.source,
            fps=source.fps,
            mirrored=source.mirrored,
            synthetic=source.synthetic,
            consent=source.consent,
            licence=source.licence,
            visit=source.visit,
            taken_at=source.recorded_at,
        )

    def _fetch(self, source: SourceClip) -> Path:
        """Return the local file of a clip; of a URL, one download per run, and none before its back-off has passed."""
        if source.url is None:
            return fetch(source, self._folder, hosts=self._hosts)
        name = self._url_name(source)
        if name not in self._downloads:
            failed = self._catalog.url_failure(name)
            wait_s = 0.0 if failed is None else failed.next_try_at - time.time()
            if failed is not None and wait_s > 0:
                raise ClipError(
                    f"its URL failed {failed.failures} times ({failed.reason}); "
                    f"it is requested again in {max(1, round(wait_s / 60))} minutes"
                )
            try:
                self._downloads[name] = fetch(source, self._folder, hosts=self._hosts)
            except ClipError as error:
                reason = self.skip(source, str(error)).reason
                self._catalog.add_url_failure(name, reason)
                self._downloads[name] = ClipError(reason)
        found = self._downloads[name]
        if isinstance(found, ClipError):
            raise found
        return found

    def _note_url(self, source: SourceClip, clip: Clip) -> None:
        if source.url is not None and self._catalog.clip_of_url(self._url_name(source), time_range(source)) != clip.sha256:
            self._catalog.add_url(self._url_name(source), time_range(source), clip.sha256)

    def _url_name(self, source: SourceClip) -> str:
        """Return the name under which the catalog has a URL, or that of the present key."""
        url = source.url
        assert url is not None, "the caller has checked it"
        if url not in self._url_names:
            names = self._keys.derive(lambda key: url_name(key, url))
            self._url_names[url] = next(filter(self._catalog.is_known_url, names), names[0])
        return self._url_names[url]

    def _roll_back(self, subject: Subject, clip: Clip) -> None:
        """Remove what unfinished ingests of dead workers wrote for another person or cohort; nothing recorded is touched."""
        for claim in self._catalog.conflicting_claims(subject, clip):
            recorded = self._catalog.recorded_clip(claim.clip)
            if recorded is None or recorded.clip.subject != claim.subject:
                self._store.erase(layout.clip_prefix(claim.subject, claim.clip))
            self._catalog.drop_claim(claim.clip)

    def _replace_pictures(self, superseded: Sequence[FrameTable], table: FrameTable) -> None:
        """Remove the objects of superseded frame tables that no snapshot names, and renew the clip's pictures for readers."""
        if not superseded:
            return
        named = self._keys_in_snapshots()
        for old in superseded:
            if named is not None and old.key not in named:
                self._store.erase(old.key)
                self._store.erase(old.quarantine_key)
                self._store.erase(layout.measures_key(old.key, measures_version()))
        subject = table.key.removeprefix(layout.SUBJECTS).partition("/")[0]
        prefix = layout.key_frame_prefix(subject, table.clip)
        pictures = list(self._store.keys(prefix))
        crops = read_table(self._store, table.key, ["frame_index", "crop"]) if pictures else None
        self._catalog.forget_objects(pictures)  # other bytes are written under the same keys
        for key in pictures:
            self._store.erase(key)
            index = int(key.removeprefix(prefix).removesuffix(".jpg"))
            assert crops is not None, "read for the first picture"
            found = crops.filter(pc.equal(crops["frame_index"], index))["crop"].drop_null()
            if len(found):
                self._store.put(key, found[0].as_py())

    def _keys_in_snapshots(self) -> set[str] | None:
        """Return the keys of frame tables that snapshots name; ``None`` if a snapshot cannot be read."""
        keys: set[str] = set()
        for frozen in self._catalog.snapshots():
            try:
                keys.update(pc.unique(snapshot.load(self._store, frozen.digest)["frames_key"]).to_pylist())
            except VitauError:
                return None
        return keys


def time_range(source: SourceClip) -> str:
    """Return the time range of a clip as text, empty for a whole recording."""
    if source.start_s is None and source.end_s is None:
        return ""
    return f"{source.start_s or 0.0:g}-{'' if source.end_s is None else f'{source.end_s:g}'}"
