"""Ed25519 signatures over canonical JSON, with a private key that is derived from a secret.

A valid signature proves that a holder of the secret wrote the bytes and that they were not changed since. The public key
verifies and cannot sign. Neither identifies the writer: every holder of the secret can sign. Records of earlier versions carry
an HMAC-SHA256, which only the secret verifies.
"""

import hashlib
import hmac
import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:  # loaded at the first signature: `vitau --help` needs none
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

ALGORITHM: Final = "Ed25519"
DERIVATION: Final = b"vitau promotion signing key, Ed25519, version 1"
"""The ``info`` of HKDF-SHA256 (RFC 5869, no salt) that derives the private key from the secret."""


def canonical(value: Any) -> str:
    """Write JSON in its canonical form: sorted keys, no spaces, ASCII, no NaN.

    Raises:
        ValueError: a number is not finite.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def sign(text: str, key: bytes) -> str:
    """Return the Ed25519 signature of a text (RFC 8032), 128 hex digits."""
    return _private_key(key).sign(text.encode()).hex()


def public_key(key: bytes) -> str:
    """Return the public key that verifies what this secret signs, 64 hex digits."""
    return _private_key(key).public_key().public_bytes_raw().hex()


def verify(text: str, signature: str, public: str) -> bool:
    """Return whether an Ed25519 signature is that of a text, given the public key in hex."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public)).verify(bytes.fromhex(signature), text.encode())
    except (InvalidSignature, ValueError):  # ValueError: not hex, or a key or signature of another length
        return False
    return True


def sign_hmac(text: str, key: bytes) -> str:
    """Return the HMAC-SHA256 of a text in hex, the signature of records without an algorithm."""
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def is_signed(text: str, signature: str, key: bytes, algorithm: str | None = ALGORITHM) -> bool:
    """Return whether a signature is that of a text; without an algorithm, it is an HMAC, compared in constant time."""
    if algorithm is None:
        return hmac.compare_digest(sign_hmac(text, key), signature)
    return algorithm == ALGORITHM and verify(text, signature, public_key(key))


def key_names(key: bytes) -> tuple[str, str]:
    """Return the names of a key in records: the public key, and the fingerprint that records without an algorithm have."""
    return public_key(key), sign_hmac("the name of this key", key)[:12]


@lru_cache(maxsize=4)
def _private_key(key: bytes) -> "Ed25519PrivateKey":
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return Ed25519PrivateKey.from_private_bytes(HKDF(SHA256(), length=32, salt=None, info=DERIVATION).derive(key))
