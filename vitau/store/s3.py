"""The object store in a bucket of S3, or of a compatible server."""

import hashlib
import io
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final, Self, TypeVar

from vitau.errors import ChecksumError, ObjectNotFoundError, StoreError
from vitau.store.atomic import atomic_path
from vitau.store.interface import Digest, Store, check_digest, checked_key, missing, sha256_of

T = TypeVar("T")

_COPY_BUFFER: Final = 1 << 20
_ATTEMPTS: Final = 6
_BACKOFF_S: Final = 0.2


@dataclass(frozen=True, kw_only=True, slots=True)
class S3Keys:
    """The address and the keys of an S3 store, for another service that must open it too."""

    endpoint_url: str
    access_key: str
    secret_key: str = field(repr=False)
    region: str | None


class S3Store(Store):
    """Objects in a bucket. A conditional put (``If-None-Match: *``) makes writes create-only."""

    def __init__(self, bucket: str, prefix: str = "") -> None:
        import boto3  # slow to import, and a folder store does not need it
        from botocore.config import Config

        self.bucket = bucket
        self.prefix = f"{prefix}/" if prefix else ""
        self.uri = f"s3://{bucket}/{prefix}".rstrip("/")
        config = Config(retries={"mode": "standard", "max_attempts": 5}, connect_timeout=10, read_timeout=30)
        self._client: Any = boto3.client("s3", config=config)

    def access(self) -> S3Keys:
        """Return the endpoint, keys and region of this store, for a service that signs URLs."""
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
        """Return a presigned URL, with which anyone can read the object for ``valid_s`` seconds."""
        parameters = {"Bucket": self.bucket, "Key": self.prefix + checked_key(key)}
        with _s3_errors(self.location(key)):
            address: str = self._client.generate_presigned_url("get_object", Params=parameters, ExpiresIn=valid_s)
        return address

    def _create(self, key: str, data: bytes | Path) -> bool:
        digest = sha256_of(data)

        def put() -> bool:
            with _s3_errors(self.location(key)) as outcome:
                if isinstance(data, bytes):
                    self._put_body(key, data, digest)
                else:
                    with data.open("rb") as file:
                        self._put_body(key, file, digest)
            return not outcome.taken

        return _retried(put)

    def _put_body(self, key: str, body: Any, digest: str) -> None:
        self._client.put_object(
            Bucket=self.bucket,
            Key=self.prefix + key,
            Body=body,
            IfNoneMatch="*",
            Metadata={"sha256": digest},
            ChecksumAlgorithm="SHA256",
        )

    def digest(self, key: str) -> Digest | None:
        try:
            with _s3_errors(self.location(key)):
                head = self._client.head_object(Bucket=self.bucket, Key=self.prefix + checked_key(key))
        except ObjectNotFoundError:
            return None
        sha256 = head["Metadata"].get("sha256")
        return None if sha256 is None else Digest(sha256=sha256, size=head["ContentLength"])

    def get(self, key: str, *, sha256: str | None = None) -> bytes:
        def read() -> bytes:
            buffer = io.BytesIO()
            self._read_into(key, buffer, sha256)
            return buffer.getvalue()

        return _retried(read)

    def download(self, key: str, path: Path, *, sha256: str | None = None) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)

        def read() -> Path:
            with atomic_path(path) as partial, partial.open("xb") as file:
                self._read_into(key, file, sha256)
            return path

        return _retried(read)

    def _read_into(self, key: str, file: IO[bytes], sha256: str | None) -> None:
        """Copy an object into a file and verify its bytes; one without the digest of its writer is refused."""
        location, digest = self.location(key), hashlib.sha256()
        with _s3_errors(location):
            response = self._client.get_object(Bucket=self.bucket, Key=self.prefix + checked_key(key))
            for block in response["Body"].iter_chunks(_COPY_BUFFER):
                file.write(block)
                digest.update(block)
        left = response["Metadata"].get("sha256")
        if left is None:
            raise ChecksumError(
                f"{location} has no digest, so that ViTAU did not write it: delete it, or upload it with the metadata sha256=…"
            )
        check_digest(digest.hexdigest(), location, sha256 or left)

    def exists(self, key: str) -> bool:
        try:
            with _s3_errors(self.location(key)):
                self._client.head_object(Bucket=self.bucket, Key=self.prefix + checked_key(key))
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

    def purge(self, prefix: str) -> int:
        number = self.erase(prefix)
        where = {"Bucket": self.bucket, "Prefix": self.prefix + prefix}
        with _s3_errors(f"{self.uri}/{prefix}"):
            for page in self._client.get_paginator("list_object_versions").paginate(**where):
                for version in (*page.get("Versions", ()), *page.get("DeleteMarkers", ())):
                    self._client.delete_object(Bucket=self.bucket, Key=version["Key"], VersionId=version["VersionId"])
            for page in self._client.get_paginator("list_multipart_uploads").paginate(**where):
                for upload in page.get("Uploads", ()):
                    self._client.abort_multipart_upload(Bucket=self.bucket, Key=upload["Key"], UploadId=upload["UploadId"])
        return number


def make_bucket(name: str) -> None:
    """Create an S3 bucket, if it is missing.

    Raises:
        StoreError: S3 cannot be reached, or refuses the request.
    """
    store = S3Store(name)
    with _s3_errors(store.uri):
        if name not in {bucket["Name"] for bucket in store._client.list_buckets()["Buckets"]}:  # noqa: SLF001 - ours
            store._client.create_bucket(Bucket=name)  # noqa: SLF001


class _TransientError(StoreError):
    """A request that may succeed when it is repeated, and that botocore does not repeat itself."""


def _retried(request: Callable[[], T]) -> T:
    """Return the result of a request; repeat it a few times, with exponential backoff, after a transient error."""
    for attempt in range(_ATTEMPTS - 1):
        try:
            return request()
        except _TransientError:
            time.sleep(_BACKOFF_S * 2**attempt * random.uniform(0.5, 1))  # noqa: S311 - jitter, no secret
    return request()


class _s3_errors:  # noqa: N801 (reads as the verb of a `with` statement)
    """Convert errors of S3 to StoreError. A lost race is no error: it sets ``taken``."""

    taken = False

    def __init__(self, location: str) -> None:
        self.location = location

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        from botocore.exceptions import (
            BotoCoreError,
            ClientError,
            IncompleteReadError,
            ReadTimeoutError,
            ResponseStreamingError,
        )

        if isinstance(error, ClientError):
            code = str(error.response.get("Error", {}).get("Code", ""))
            if code in {"PreconditionFailed", "412"}:
                self.taken = True
                return True
            if code in {"ConditionalRequestConflict", "409"}:
                raise _TransientError(
                    f"the object store cannot decide who writes {self.location} (409): run it again"
                ) from error
            if code in {"NoSuchKey", "404", "NotFound"}:
                raise missing(self.location) from error
            raise StoreError(f"the object store refuses {self.location} ({code}): check the bucket and the keys") from error
        if isinstance(error, ResponseStreamingError | IncompleteReadError | ReadTimeoutError):
            raise _TransientError(f"the object store stopped while it sent {self.location}: run it again") from error
        if isinstance(error, BotoCoreError):
            raise StoreError(f"the object store cannot be reached for {self.location}: {error}") from error
        return False
