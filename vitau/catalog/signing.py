"""What a signature can honestly mean here: these bytes were written by a holder of the key, and nobody changed them since.

HMAC-SHA256 over canonical JSON. Whoever has the key can write a record, so a signature does not say *who* did; it says that
whoever can only write into the database did not.
"""

import hashlib
import hmac
import json
from typing import Any


def canonical(value: Any) -> str:
    """Write JSON in one way only: keys sorted, no spaces, ASCII, no NaN.

    Raises:
        ValueError: a number is not finite.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def sign(text: str, key: bytes) -> str:
    """Give the HMAC-SHA256 of a text, in hex."""
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def is_signed(text: str, signature: str, key: bytes) -> bool:
    """Tell whether a signature is that of a text, in constant time."""
    return hmac.compare_digest(sign(text, key), signature)


def key_name(key: bytes) -> str:
    """Name a key without giving it away, so that "another key" can be told from "another text"."""
    return sign("the name of this key", key)[:12]
