"""The pseudonym key: not too weak, and the one that made the pseudonyms of the catalog."""

import hmac
from hashlib import sha256
from typing import Final

from flows.settings import SettingsError
from flows.workspace import Workspace

NAME: Final = "pseudonym"
MIN_CHARACTERS: Final = 8
"""Least number of different characters of a key."""


def check_pseudonym_key(workspace: Workspace) -> None:
    """Note the fingerprint of the pseudonym key in a catalog without one, and compare it with the noted one.

    Raises:
        SettingsError: the key is too weak, or another key made the pseudonyms of this catalog.
    """
    secret = workspace.settings.pseudonym_key
    if secret is None:  # a process that makes no pseudonyms
        return
    key = secret.get_secret_value()
    if len(set(key)) < MIN_CHARACTERS:
        raise SettingsError(
            f"VITAU_PSEUDONYM_KEY has {len(set(key))} different characters and could be guessed: draw one at random, "
            "such as the output of `openssl rand -hex 20`"
        )
    fingerprint = hmac.new(key.encode(), b"vitau fingerprint of the pseudonym key", sha256).hexdigest()[:16]
    noted = workspace.catalog.note_fingerprint(NAME, fingerprint)
    if noted != fingerprint:
        raise SettingsError(
            f"VITAU_PSEUDONYM_KEY has the fingerprint {fingerprint}, but the pseudonyms of this catalog were made with the key "
            f"{noted}: set that key again, or every person becomes a new one"
        )
