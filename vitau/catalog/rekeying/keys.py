"""The pseudonym keys of a catalog: the present one, and those that it replaced.

A keyed value is a pseudonym, a tombstone or another HMAC that stands for something that is stored nowhere. When a key is
replaced, each value gets a new name: the HMAC of the old one under the new key. The identifiers of people are not needed for
that, and the old key alone leads to no name that the catalog still has. To find a value from its identifier, it is derived
under the old key and renamed. For that purpose the old key is kept, sealed with the new one.
"""

import base64
import hmac
import json
import os
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

from vitau.errors import CatalogError

NAME: Final = re.compile(r"[0-9a-f]{20}|erased-[0-9a-f]{32}")
"""A pseudonym, or the tombstone of an erased person."""
_TOMBSTONE: Final = "erased-"
_SEAL: Final = b"vitau seal under the pseudonym key, AES-256-GCM, version 1"
_NONCE_BYTES: Final = 12


def fingerprint(key: bytes) -> str:
    """Return the fingerprint of a pseudonym key, 16 hex digits."""
    return hmac.new(key, b"vitau fingerprint of the pseudonym key", sha256).hexdigest()[:16]


def renamed(key: bytes, value: str) -> str:
    """Return the name that a new key gives to a keyed value of at most 64 hex digits: as many digits; tombstones stay such."""
    mark = _TOMBSTONE if value.startswith(_TOMBSTONE) else ""
    digits = len(value) - len(mark)
    return mark + hmac.new(key, f"\0renamed\0{value}".encode(), sha256).hexdigest()[:digits]


def new_names(key: bytes, names: Collection[str]) -> dict[str, str]:
    """Return the new name of every name.

    Raises:
        CatalogError: a name is neither a pseudonym nor a tombstone.
    """
    strange = [name for name in names if not NAME.fullmatch(name)]
    if strange:
        raise CatalogError(
            f"{len(strange)} people have names that are no pseudonyms of ViTAU ({min(strange)}, …): they cannot be renamed"
        )
    return {name: renamed(key, name) for name in sorted(names)}


@dataclass(frozen=True, kw_only=True)
class PseudonymKeys:
    """The present key, and the keys that were replaced, oldest first."""

    present: bytes = field(repr=False)
    retired: tuple[bytes, ...] = field(default=(), repr=False)

    def derive(self, make: Callable[[bytes], str]) -> list[str]:
        """Return every name that the catalog may have for one value, that of the present key first.

        Args:
            make: derives the value from a key.
        """
        keys = (*self.retired, self.present)
        found = []
        for position, key in enumerate(keys):
            value = make(key)
            for later in keys[position + 1 :]:
                value = renamed(later, value)
            found.append(value)
        return found[::-1]


def seal(key: bytes, text: str) -> str:
    """Encrypt a text under a pseudonym key, with AES-256-GCM; return Base64."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    nonce = os.urandom(_NONCE_BYTES)
    return base64.b64encode(nonce + AESGCM(_sealing_key(key)).encrypt(nonce, text.encode(), None)).decode()


def unseal(key: bytes, sealed: str) -> str:
    """Decrypt what :func:`seal` made.

    Raises:
        CatalogError: another key sealed it, or it was changed.
    """
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    data = base64.b64decode(sealed)
    try:
        return AESGCM(_sealing_key(key)).decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], None).decode()
    except InvalidTag as error:
        raise CatalogError(
            "what the catalog keeps of the earlier pseudonym keys is sealed with another key, or was changed: "
            "restore the catalog or the key from a backup"
        ) from error


def seal_names(key: bytes, names: Mapping[str, str]) -> str:
    """Encrypt old and new names."""
    return seal(key, json.dumps(dict(names)))


def unseal_names(key: bytes, sealed: str) -> dict[str, str]:
    """Decrypt old and new names."""
    names: dict[str, str] = json.loads(unseal(key, sealed))
    return names


def _sealing_key(key: bytes) -> bytes:
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return HKDF(SHA256(), length=32, salt=None, info=_SEAL).derive(key)
