"""Objects by key in a folder or an S3 bucket: written once, checksummed, listable, erasable.

A key is a relative path with forward slashes. Writing is create-only: the first writer wins and later ones are told so, and a
crash leaves either the whole object or nothing.
"""

import errno
import hashlib
import os
import re
import shutil
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import unquote, urlsplit

from vitau.errors import ChecksumError, ObjectNotFoundError, StoreError

_KEY: Final = re.compile(r"[A-Za-z0-9._=-]+(/[A-Za-z0-9._=-]+)*")
_PARTIAL: Final = ".partial"  # where a folder store keeps what is being written; no key begins with a dot
_COPY_BUFFER: Final = 1 << 20
_ABANDONED_S: Final = 24 * 3600


class Store(ABC):
    """A place for objects. Open one with :func:`open_store`."""

    uri: str

    @abstractmethod
    def put(self, key: str, data: bytes | Path) -> bool:
        """Write an object unless its key is taken.

        Args:
            key: relative path with forward slashes.
            data: the bytes, or a local file that holds them.

        Returns:
            True if this call created the object, False if it was there before.

        Raises:
            ValueError: the key is not a plain relative path.
            StoreError: the object cannot be written (a full disk, no permission, no connection).
        """

    @abstractmethod
    def download(self, key: str, path: Path) -> Path:
        """Copy an object to a local file, which appears whole or not at all. Raises ObjectNotFoundError."""

    @abstractmethod
    def exists(self, key: str) -> bool:
        """Tell whether the key is taken."""

    @abstractmethod
    def keys(self, prefix: str = "") -> Iterator[str]:
        """List the keys that begin with a prefix, sorted."""

    @abstractmethod
    def erase(self, prefix: str) -> int:
        """Delete every object whose key begins with a prefix and return how many there were."""

    @abstractmethod
    def get(self, key: str, *, sha256: str | None = None) -> bytes:
        """Read an object whole; with ``sha256``, check its bytes.

        Raises:
            ObjectNotFoundError: the key is not taken.
            ChecksumError: the bytes are not those that the digest names.
        """

    def location(self, key: str) -> str:
        """Return the URI of a key."""
        return f"{self.uri}/{_checked(key)}"


def open_store(uri: str | Path) -> Store:
    """Open the store at ``file:///folder``, a plain folder, or ``s3://bucket/prefix``.

    S3 takes its endpoint and keys from the environment (``AWS_ENDPOINT_URL_S3``, ``AWS_ACCESS_KEY_ID``, …), as boto3 does.

    Raises:
        ValueError: another scheme.
        StoreError: the folder cannot be made.
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


def make_bucket(name: str) -> None:
    """Make an S3 bucket, if it is missing.

    Raises:
        StoreError: S3 cannot be reached, or refuses.
    """
    store = S3Store(name)
    with _s3_errors(store.uri):
        if name not in {bucket["Name"] for bucket in store._client.list_buckets()["Buckets"]}:  # noqa: SLF001 - ours
            store._client.create_bucket(Bucket=name)  # noqa: SLF001


def sha256_of(data: bytes | Path) -> str:
    """Return the hex SHA-256 of bytes or of a file's content."""
    if isinstance(data, bytes):
        return hashlib.sha256(data).hexdigest()
    with data.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class FolderStore(Store):
    """Objects as files under a folder; an exclusive hard link decides who was first."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.uri = self.folder.as_uri()
        with _disk_errors(self.uri):
            (self.folder / _PARTIAL).mkdir(parents=True, exist_ok=True)
            for partial in (self.folder / _PARTIAL).iterdir():  # what a killed writer left; nobody writes for a day
                with suppress(FileNotFoundError):
                    if time.time() - partial.stat().st_mtime > _ABANDONED_S:
                        partial.unlink()

    def put(self, key: str, data: bytes | Path) -> bool:
        target = self.folder / _checked(key)
        if target.exists():
            return False
        with _disk_errors(self.location(key)):
            handle, name = tempfile.mkstemp(dir=self.folder / _PARTIAL)
            partial = Path(name)
            try:
                with os.fdopen(handle, "wb") as file:
                    if isinstance(data, bytes):
                        file.write(data)
                    else:
                        with data.open("rb") as source:
                            shutil.copyfileobj(source, file, _COPY_BUFFER)
                    file.flush()
                    os.fsync(file.fileno())
                partial.chmod(0o644)
                target.parent.mkdir(parents=True, exist_ok=True)
                try:
                    os.link(partial, target)
                except FileExistsError:
                    return False
            finally:
                partial.unlink(missing_ok=True)
        return True

    def get(self, key: str, *, sha256: str | None = None) -> bytes:
        try:
            data = (self.folder / _checked(key)).read_bytes()
        except (FileNotFoundError, IsADirectoryError) as error:
            raise _missing(self.location(key)) from error
        return _verified(data, self.location(key), sha256)

    def download(self, key: str, path: Path) -> Path:
        source = self.folder / _checked(key)
        partial = path.with_name(path.name + _PARTIAL)
        with _disk_errors(str(path)):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                shutil.copyfile(source, partial)
            except FileNotFoundError as error:
                raise _missing(self.location(key)) from error
            partial.replace(path)
        return path

    def exists(self, key: str) -> bool:
        return (self.folder / _checked(key)).is_file()

    def keys(self, prefix: str = "") -> Iterator[str]:
        start = self.folder / prefix.rpartition("/")[0]
        found = (path.relative_to(self.folder).as_posix() for path in start.rglob("*") if path.is_file())
        yield from sorted(key for key in found if key.startswith(prefix) and not key.startswith(_PARTIAL))

    def erase(self, prefix: str) -> int:
        keys = list(self.keys(prefix))
        for key in keys:
            path = self.folder / key
            path.unlink(missing_ok=True)
            for parent in path.parents:
                if parent == self.folder or any(parent.iterdir()):
                    break
                parent.rmdir()
        return len(keys)


@dataclass(frozen=True, kw_only=True, slots=True)
class S3Keys:
    """How an S3 store is opened, for another service that must open it too."""

    endpoint_url: str
    access_key: str
    secret_key: str = field(repr=False)
    region: str | None


class S3Store(Store):
    """Objects in a bucket; a conditional put (``If-None-Match: *``) decides who was first."""

    def __init__(self, bucket: str, prefix: str = "") -> None:
        import boto3  # 0.5 s, and a folder store needs none of it
        from botocore.config import Config

        self.bucket = bucket
        self.prefix = f"{prefix}/" if prefix else ""
        self.uri = f"s3://{bucket}/{prefix}".rstrip("/")
        self._client: Any = boto3.client("s3", config=Config(retries={"mode": "standard", "max_attempts": 5}))

    def access(self) -> S3Keys:
        """Return the endpoint, the keys and the region with which this store is opened, for a service that signs addresses."""
        import boto3

        session = boto3.Session()
        keys = session.get_credentials()
        if keys is None:
            raise StoreError(f"no keys for {self.uri}: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
        return S3Keys(
            endpoint_url=self._client.meta.endpoint_url,
            access_key=keys.access_key,
            secret_key=keys.secret_key,
            region=session.region_name,
        )

    def signed_address(self, key: str, *, valid_s: int) -> str:
        """Return an address at which anybody can read the object for some seconds."""
        place = {"Bucket": self.bucket, "Key": self.prefix + _checked(key)}
        with _s3_errors(self.location(key)):
            address: str = self._client.generate_presigned_url("get_object", Params=place, ExpiresIn=valid_s)
        return address

    def put(self, key: str, data: bytes | Path) -> bool:
        digest = sha256_of(data)
        with _s3_errors(self.location(key)) as outcome:
            if isinstance(data, bytes):
                self._put_body(key, data, digest)
            else:
                with data.open("rb") as file:
                    self._put_body(key, file, digest)
        return not outcome.taken

    def _put_body(self, key: str, body: Any, digest: str) -> None:
        self._client.put_object(
            Bucket=self.bucket,
            Key=self.prefix + _checked(key),
            Body=body,
            IfNoneMatch="*",
            Metadata={"sha256": digest},
            ChecksumAlgorithm="SHA256",
        )

    def get(self, key: str, *, sha256: str | None = None) -> bytes:
        with _s3_errors(self.location(key)):
            response = self._client.get_object(Bucket=self.bucket, Key=self.prefix + _checked(key))
            data: bytes = response["Body"].read()
        return _verified(data, self.location(key), sha256 or response["Metadata"].get("sha256"))

    def download(self, key: str, path: Path) -> Path:
        partial = path.with_name(path.name + _PARTIAL)
        path.parent.mkdir(parents=True, exist_ok=True)
        with _s3_errors(self.location(key)):
            self._client.download_file(self.bucket, self.prefix + _checked(key), str(partial))
        partial.replace(path)
        return path

    def exists(self, key: str) -> bool:
        try:
            with _s3_errors(self.location(key)):
                self._client.head_object(Bucket=self.bucket, Key=self.prefix + _checked(key))
        except ObjectNotFoundError:
            return False
        return True

    def keys(self, prefix: str = "") -> Iterator[str]:
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=self.prefix + prefix)
        with _s3_errors(f"{self.uri}/{prefix}"):
            for page in pages:
                for entry in page.get("Contents", ()):
                    yield entry["Key"].removeprefix(self.prefix)

    def erase(self, prefix: str) -> int:
        keys = list(self.keys(prefix))
        with _s3_errors(f"{self.uri}/{prefix}"):
            for key in keys:
                self._client.delete_object(Bucket=self.bucket, Key=self.prefix + key)
        return len(keys)


def _checked(key: str) -> str:
    if not _KEY.fullmatch(key) or key.startswith(".") or ".." in key.split("/"):
        raise ValueError(f"{key!r} is not an object key: use letters, digits, '.', '_', '=' and '-' between single slashes")
    return key


def _missing(location: str) -> ObjectNotFoundError:
    return ObjectNotFoundError(f"no object at {location}: it was never written, or it was erased")


def _verified(data: bytes, location: str, sha256: str | None) -> bytes:
    if sha256 is not None and sha256_of(data) != sha256:
        raise ChecksumError(
            f"{location} does not have the bytes that were written (sha256 {sha256[:12]}…): restore it from a copy"
        )
    return data


class _disk_errors:  # noqa: N801 (used as a `with` statement's verb)
    """Turn what a disk says into one sentence."""

    def __init__(self, location: str) -> None:
        self.location = location

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                raise StoreError(f"no space left to write {self.location}: free some space and run it again") from error
            if not isinstance(error, StoreError):
                raise StoreError(f"cannot write {self.location}: {error.strerror or error}") from error


class _s3_errors:  # noqa: N801 (used as a `with` statement's verb)
    """Turn what S3 says into one sentence; a lost race is an outcome, not an error."""

    taken = False

    def __init__(self, location: str) -> None:
        self.location = location

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        from botocore.exceptions import BotoCoreError, ClientError

        if isinstance(error, ClientError):
            code = str(error.response.get("Error", {}).get("Code", ""))
            if code in {"PreconditionFailed", "ConditionalRequestConflict", "412", "409"}:
                self.taken = True
                return True
            if code in {"NoSuchKey", "404", "NotFound"}:
                raise _missing(self.location) from error
            raise StoreError(f"the object store refuses {self.location} ({code}): check the bucket and the keys") from error
        if isinstance(error, BotoCoreError):
            raise StoreError(f"the object store cannot be reached for {self.location}: {error}") from error
        return False
