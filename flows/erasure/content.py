"""Recordings of an erased person: the same bytes are refused under any name, and other clips must not show the person."""

import hmac
from hashlib import sha256

from flows.workspace import Workspace
from vitau.data import layout


def content_tombstone(key: bytes, digest: str) -> str:
    """Return the HMAC-SHA256 of a clip's digest under the pseudonym key."""
    return hmac.new(key, f"vitau erased content {digest}".encode(), sha256).hexdigest()


def bury_content(workspace: Workspace, digests: list[str]) -> list[str]:
    """Record the tombstones of a person's clips; return what could not be done."""
    key = workspace.settings.pseudonym_key
    if key is None:
        return ["the recordings could be added again under another name: erase where VITAU_PSEUDONYM_KEY is set"]
    workspace.catalog.add_erased_content([content_tombstone(key.get_secret_value().encode(), digest) for digest in digests])
    return []


def whole_recordings(workspace: Workspace) -> list[str]:
    """Return what to do about ranges that an earlier version stored with the whole recording; empty if there are none."""
    ranges = [clip for clip in workspace.catalog.all_clips() if clip.is_range]
    folders = {(table.key, clip.suffix) for clip in ranges for table in workspace.catalog.frame_tables_of(clip.sha256)}
    found = {layout.raw_key_beside(key, suffix) for key, suffix in folders}
    number = sum(map(workspace.store.exists, found))
    remedy = "which may show the person: run `python -m flows cut-ranges`"
    return [f"{number} clips are stored with the whole recording, {remedy}"] if number else []
