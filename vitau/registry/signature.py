"""The signature of an approved model: over its name, version and digests, kept as a tag of the registered version.

It contains no identity. Whoever approves a version signs it; a model user verifies it with the public key, so that neither the
registry nor the way to it needs to be trusted.
"""

import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from mlflow.exceptions import MlflowException

from vitau.catalog.signing import canonical, verify
from vitau.errors import ChecksumError, RegistryError
from vitau.registry import bundle, registry
from vitau.registry.tracking import connected

PURPOSE: Final = "vitau model, version 1"
"""Part of the signed text, so that no other signature of the same key is taken for one of a model."""
_KEY: Final = re.compile(r"[0-9a-f]{64}")


def statement(name: str, version: int, digest: str, files: str | None) -> str:
    """Return the text that is signed.

    Args:
        name: of the registered model.
        version: of the registered model.
        digest: of weights and cards, as :func:`vitau.registry.bundle.folder_digest`.
        files: digest of all files, as :func:`vitau.registry.bundle.files_digest`; ``None`` if registered without checksums.
    """
    return canonical({"purpose": PURPOSE, "model": name, "version": version, "digest": digest, "files": files})


def read_public_key(value: str) -> str:
    """Return a public key from its 64 hexadecimal digits, or from a file with them.

    Raises:
        ValueError: it is neither.
    """
    text = value
    if _KEY.fullmatch(value.strip().lower()) is None and Path(value).is_file():
        text = Path(value).read_text(encoding="utf-8", errors="replace")
    found = text.strip().lower()
    if _KEY.fullmatch(found) is None:
        raise ValueError(
            f"--key {value} is neither a public key of 64 hexadecimal digits nor a file with one: "
            "ask the operator for the output of `python -m flows public-key`"
        )
    return found


def check_signature(found: registry.Version, files: str | None, public: str) -> None:
    """Verify the signature of a registered version with a public key.

    Raises:
        RegistryError: the version has no signature, or another one.
    """
    if found.signature is None:
        raise RegistryError(
            f"{found.name} version {found.version} is not signed: ask its operator to approve it, or leave out --key"
        )
    if not verify(statement(found.name, found.version, found.digest, files), found.signature, public):
        raise RegistryError(
            f"the signature of {found.name} version {found.version} is not one of key {public[:12]}…: "
            "its files were exchanged, or it was signed with another key; ask its operator"
        )


def publish_signature(tracking_uri: str, name: str, version: int, signature: str) -> None:
    """Store a signature as a tag of a registered version.

    Raises:
        RegistryError: there is no such version, or the registry cannot be reached.
    """
    with connected(tracking_uri) as client:
        try:
            client.set_model_version_tag(name, str(version), registry.SIGNATURE_TAG, signature)
        except MlflowException as error:
            raise RegistryError(f"version {version} of {name} cannot be signed: {str(error).splitlines()[0][:200]}") from error


def registered_files(tracking_uri: str, name: str, version: int, digest: str) -> str | None:
    """Return the digest of all registered files of a version; ``None`` if it was registered without checksums.

    Args:
        tracking_uri: of the MLflow server.
        name: of the registered model.
        version: of the registered model.
        digest: expected digest of weights and cards.

    Raises:
        ChecksumError: the registry has other weights or cards than those with this digest.
        RegistryError: there is no such version, or the registry cannot be reached.
    """
    found = registry.find_version(tracking_uri, f"models:/{name}/{version}")
    with TemporaryDirectory(prefix="vitau-sums-") as work:
        listed = registry.list_files(tracking_uri, found, Path(work))
    sums = {file: sha256 for file, sha256 in listed.items() if sha256 is not None}
    if found.digest != digest or (sums and bundle.weights_digest(sums) != digest):
        raise ChecksumError(
            f"{name} version {version} in the registry is not the model that was trained here (digest {digest[:12]}…): its "
            "files or tags were changed there; restore them from a backup, or train again"
        )
    return bundle.files_digest(sums) if sums else None
