"""Tombstones of recordings: the same bytes are refused under any name, and no plain digest of them remains."""

import hmac
from hashlib import sha256

from flows.workspace import Workspace


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
