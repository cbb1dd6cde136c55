"""Tombstones of recordings: the same bytes are refused under any name, and no plain digest of them remains."""

import hmac
from hashlib import sha256

from flows.workspace import Workspace


def content_tombstone(key: bytes, digest: str) -> str:
    """Return the HMAC-SHA256 of a clip's digest under the pseudonym key."""
    return hmac.new(key, f"vitau erased content {digest}".encode(), sha256).hexdigest()


def is_erased_content(workspace: Workspace, digest: str) -> bool:
    """Return whether a clip with this digest was erased with its person."""
    return workspace.catalog.is_erased_content(content_tombstone(_key(workspace), digest))


def bury_content(workspace: Workspace, digests: list[str]) -> None:
    """Record the tombstones of a person's clips."""
    workspace.catalog.add_erased_content([content_tombstone(_key(workspace), digest) for digest in digests])


def _key(workspace: Workspace) -> bytes:
    return workspace.settings.pseudonym_key.get_secret_value().encode()
