"""The object store in a bucket of S3, or of a compatible server."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from vitau.errors import ObjectNotFoundError, StoreError
from vitau.store.atomic import atomic_path
from vitau.store.interface import Store, checked_key, missing, sha256_of, verified


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
        self._client: Any = boto3.client("s3", config=Config(retries={"mode": "standard", "max_attempts": 5}))

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
            Key=self.prefix + checked_key(key),
            Body=body,
            IfNoneMatch="*",
            Metadata={"sha256": digest},
            ChecksumAlgorithm="SHA256",
        )

    def get(self, key: str, *, sha256: str | None = None) -> bytes:
        with _s3_errors(self.location(key)):
            response = self._client.get_object(Bucket=self.bucket, Key=self.prefix + checked_key(key))
            data: bytes = response["Body"].read()
        return verified(data, self.location(key), sha256 or response["Metadata"].get("sha256"))

    def download(self, key: str, path: Path) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _s3_errors(self.location(key)), atomic_path(path) as partial:
            self._client.download_file(self.bucket, self.prefix + checked_key(key), str(partial))
        return path

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


def make_bucket(name: str) -> None:
    """Create an S3 bucket, if it is missing.

    Raises:
        StoreError: S3 cannot be reached, or refuses the request.
    """
    store = S3Store(name)
    with _s3_errors(store.uri):
        if name not in {bucket["Name"] for bucket in store._client.list_buckets()["Buckets"]}:  # noqa: SLF001 - ours
            store._client.create_bucket(Bucket=name)  # noqa: SLF001


class _s3_errors:  # noqa: N801 (reads as the verb of a `with` statement)
    """Convert errors of S3 to StoreError. A lost race is no error: it sets ``taken``."""

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
                raise missing(self.location) from error
            raise StoreError(f"the object store refuses {self.location} ({code}): check the bucket and the keys") from error
        if isinstance(error, BotoCoreError):
            raise StoreError(f"the object store cannot be reached for {self.location}: {error}") from error
        return False
