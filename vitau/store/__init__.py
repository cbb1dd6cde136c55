"""The object store: a folder or an S3 bucket.

A key is a relative path with forward slashes. Writes are atomic and create-only: the first writer wins, and later writers learn
that the object exists.
"""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from vitau.store.folder import FolderStore
from vitau.store.interface import TOMBSTONES, Digest, Store, sha256_of, tombstone_key
from vitau.store.s3 import S3Store, make_bucket

__all__ = [
    "TOMBSTONES",
    "Digest",
    "FolderStore",
    "S3Store",
    "Store",
    "make_bucket",
    "open_store",
    "sha256_of",
    "tombstone_key",
]


def open_store(uri: str | Path) -> Store:
    """Open the store at ``file:///folder``, a plain folder, or ``s3://bucket/prefix``.

    S3 takes its endpoint and keys from the environment (``AWS_ENDPOINT_URL_S3``, ``AWS_ACCESS_KEY_ID``, …), as boto3 does.

    Raises:
        ValueError: another scheme.
        StoreError: the folder cannot be created.
    """
    text = str(uri)
    parts = urlsplit(text)
    if parts.scheme == "s3" and parts.netloc:
        return S3Store(parts.netloc, parts.path.strip("/"))
    if parts.scheme == "file":
        return FolderStore(Path(unquote(parts.path)))
    if parts.scheme == "":
        return FolderStore(Path(text))
    raise ValueError(f"no store at {text!r}: use a folder, file:///folder or s3://bucket/prefix")
