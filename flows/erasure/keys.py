"""The pseudonym key: not too weak, and the one that made the pseudonyms of the catalog."""

from typing import Final

from pydantic import SecretStr

from flows.settings import SettingsError
from flows.workspace import Workspace
from vitau.catalog.rekeying.journal import KEY_NAME
from vitau.catalog.rekeying.keys import PseudonymKeys, fingerprint

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
    found = fingerprint(strong_key(secret, "VITAU_PSEUDONYM_KEY"))
    noted = workspace.catalog.note_fingerprint(KEY_NAME, found)
    if noted != found:
        raise SettingsError(
            f"VITAU_PSEUDONYM_KEY has the fingerprint {found}, but the pseudonyms of this catalog were made with the key "
            f"{noted}: set that key again, or every person becomes a new one"
        )


def strong_key(secret: SecretStr, variable: str) -> bytes:
    """Return a key.

    Raises:
        SettingsError: it could be guessed.
    """
    key = secret.get_secret_value()
    if len(set(key)) < MIN_CHARACTERS:
        raise SettingsError(
            f"{variable} has {len(set(key))} different characters and could be guessed: draw one at random, "
            "such as the output of `openssl rand -hex 20`"
        )
    return key.encode()


def open_keys(workspace: Workspace) -> PseudonymKeys:
    """Return the pseudonym key of the settings, with the keys that it replaced.

    Raises:
        SettingsError: there is none.
        CatalogError: the keys that it replaced cannot be read with it.
    """
    return workspace.catalog.pseudonym_keys(workspace.settings.require_pseudonym_key())
