"""HMAC-SHA256 signatures over canonical JSON.

A valid signature proves that a holder of the key wrote the bytes and that they were not changed since. It does not identify the
writer: every holder of the key can sign.
"""

import hashlib
import hmac
import json
from typing import Any


def canonical(value: Any) -> str:
    """Write JSON in its canonical form: sorted keys, no spaces, ASCII, no NaN.

    Raises:
        ValueError: a number is not finite.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def sign(text: str, key: bytes) -> str:
    """Return the HMAC-SHA256 of a text, in hex."""
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def is_signed(text: str, signature: str, key: bytes) -> bool:
    """Return whether a signature is that of a text, compared in constant time."""
    return hmac.compare_digest(sign(text, key), signature)


def key_fingerprint(key: bytes) -> str:
    """Return a short digest that identifies a key without revealing it."""
    return sign("the name of this key", key)[:12]
