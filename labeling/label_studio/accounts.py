"""Accounts of Label Studio, one per reader, with hotkeys for the left hand.

The community edition has no API call that creates an account with a password. This module fills in the sign-up form behind
the invitation link of the token's owner. Hotkeys are a setting of the account.
"""

import csv
import io
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import httpx

from labeling.interface.hotkeys import NEXT_KEYS, PLAY_KEYS, PREVIOUS_KEYS, SUBMIT_KEYS
from vitau.errors import LabelingError, quoted

ACCOUNT_KEYS: Final = {
    "annotation:annotation:submit": ",".join(SUBMIT_KEYS),
    "image_gallery:image:next": NEXT_KEYS[1],
    "image_gallery:image:prev": ",".join(PREVIOUS_KEYS),
    "video:media:playpause": ",".join(PLAY_KEYS),
}
"""Action on Label Studio's settings page → its keys: the default one, then one for the left hand.

The next picture has a single key. Label Studio 1.23.2 accepts a list of keys only if all of them are chords; otherwise it stops
with “toUpperCase is not a function” at the next person.
"""


_COLUMNS: Final = ("email", "password")
_EMAIL: Final = re.compile(r"[a-z0-9._+-]+@[a-z0-9.-]+", re.ASCII)
_PASSWORD_BYTES: Final = 12


@dataclass(frozen=True, kw_only=True, slots=True)
class Account:
    """An account: its number, and the e-mail address that is its name (a pseudonym such as ``reader-a@…``)."""

    id: int
    email: str


def ensure_account(url: str, token: str, *, email: str, password: str, timeout_s: float = 60.0) -> Account:
    """Return the account called ``email`` with ViTAU's hotkeys; create it if it is missing. Idempotent.

    The account belongs to the organization of the ``token``'s owner. The password of an existing account never changes.

    Raises:
        LabelingError: nothing answers at ``url``, the token is wrong, the password is not the account's or too weak.
    """
    with httpx.Client(base_url=url.rstrip("/"), timeout=timeout_s, follow_redirects=True) as browser:
        try:
            if not _log_in(browser, email, password):
                _sign_up(browser, _invitation(url, token, timeout_s), email, password)
            _set_keys(browser)
            account = browser.get("/api/current-user/whoami").raise_for_status().json()
        except httpx.HTTPStatusError as error:
            raise LabelingError(
                f"{url}: Label Studio answers {error.response.status_code} about the account {email}; see its log"
            ) from error
        except httpx.HTTPError as error:
            raise LabelingError(
                f"{url}: Label Studio does not answer ({type(error).__name__}); is it running, at this address?"
            ) from error
    return Account(id=account["id"], email=account["email"])


def draw_passwords(file: Path, emails: Iterable[str]) -> dict[str, str]:
    """Return the passwords of a CSV with the columns email and password by e-mail, with drawn ones where it lacks them.

    The file then holds them all, readable by its owner only. A password in it never changes.

    Raises:
        LabelingError: the file is no such CSV, or a name is no e-mail address.
    """
    known = _read_passwords(file) if file.exists() else {}
    passwords = {email: known.get(email) or secrets.token_urlsafe(_PASSWORD_BYTES) for email in [*known, *emails]}
    for email in passwords:
        if not _EMAIL.fullmatch(email):
            raise LabelingError(
                f"{quoted(email)} is no e-mail address; give the reader a pseudonym such as reader-a@example.org"
            )
    if passwords != known:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([_COLUMNS, *passwords.items()])
        _write_private(file, text.getvalue())
    return passwords


def _write_private(file: Path, text: str) -> None:
    """Write a file that only its owner can read, by an atomic rename."""
    partial = file.with_name(f".{file.name}.partial")
    try:
        partial.unlink(missing_ok=True)
        partial.touch(mode=0o600)
        partial.write_text(text, encoding="utf-8")
        partial.replace(file)
    except OSError as error:
        raise LabelingError(f"{file} cannot be written: {error.strerror}; give another place") from error


def _read_passwords(file: Path) -> dict[str, str]:
    try:
        lines = list(csv.reader(file.read_text(encoding="utf-8-sig").splitlines(), strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise LabelingError(f"{file} cannot be read as a CSV; write the columns email and password") from error
    header, *rows = lines or [[]]
    rows = [row for row in rows if row]
    if tuple(header) != _COLUMNS or any(len(row) != len(_COLUMNS) for row in rows):
        raise LabelingError(f"{file} has not the columns email and password, in every line; it may be another file")
    return {email.strip(): password for email, password in rows}


def _log_in(browser: httpx.Client, email: str, password: str) -> bool:
    """Submit the log-in form; return whether Label Studio accepted it."""
    _submit(browser, "/user/login/", {"email": email, "password": password, "persist_session": "on"})
    return browser.get("/api/current-user/whoami").is_success


def _sign_up(browser: httpx.Client, invitation: str, email: str, password: str) -> None:
    """Submit the sign-up form of the invitation link.

    Raises:
        LabelingError: the address is taken, or the password is refused.
    """
    reply = _submit(browser, f"/user/signup/?token={invitation}", {"email": email, "password": password})
    if "already exists" in reply:
        raise LabelingError(f"the account {email} exists with another password; give that one")
    if not browser.get("/api/current-user/whoami").is_success:
        raise LabelingError(f"Label Studio does not create the account {email}; a password has 8 to 64 characters")


def _submit(browser: httpx.Client, page: str, fields: dict[str, str]) -> str:
    """Submit the form of a page as a browser does; return the page that answers."""
    browser.get(page).raise_for_status()
    fields = fields | {"csrfmiddlewaretoken": browser.cookies["csrftoken"]}
    return browser.post(page, data=fields, headers={"Referer": str(browser.base_url)}).raise_for_status().text


def _invitation(url: str, token: str, timeout_s: float) -> str:
    """Return the token of the organization's invitation link."""
    answer = httpx.get(f"{url.rstrip('/')}/api/invite", headers={"Authorization": f"Token {token}"}, timeout=timeout_s)
    if answer.status_code in {401, 403}:
        raise LabelingError(f"{url}: Label Studio refuses the token; take the one from its page Account & Settings")
    invited: dict[str, Any] = answer.raise_for_status().json()
    return parse_qs(urlsplit(invited["invite_url"]).query)["token"][0]


def _set_keys(browser: httpx.Client) -> None:
    """Set the account's hotkeys; keep the other hotkeys that it has set."""
    page = "/api/current-user/hotkeys/"
    current = browser.get(page).raise_for_status().json()["custom_hotkeys"]
    wanted = current | {action: {"key": key, "active": True} for action, key in ACCOUNT_KEYS.items()}
    if wanted != current:
        headers = {"X-CSRFToken": browser.cookies["csrftoken"], "Referer": str(browser.base_url)}
        browser.patch(page, json={"custom_hotkeys": wanted}, headers=headers).raise_for_status()
