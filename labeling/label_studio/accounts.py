"""Accounts in Label Studio, one per reader: made through the invitation of the token's owner, with keys for one hand.

The community edition has no call that makes an account with a password; what it has is the form behind the invitation link,
and this fills it in. It also keeps keys per account: there an account gets a submit and page keys that the left hand reaches.
"""

from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import httpx

from labeling.interface.hotkeys import NEXT_KEYS, PREVIOUS_KEYS, SUBMIT_KEYS
from vitau.errors import LabelingError

ACCOUNT_KEYS: Final = {
    "annotation:annotation:submit": ",".join(SUBMIT_KEYS),
    "image_gallery:image:next": NEXT_KEYS[1],
    "image_gallery:image:prev": ",".join(PREVIOUS_KEYS),
}
"""What Label Studio's settings page calls the action → its own key, then one for the left hand.

The next picture has one key only: Label Studio 1.23.2 can take a list of keys back only if all of them are chords, and stops
with “toUpperCase is not a function” when it shows the next person.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Account:
    """A Label Studio account: its number and the e-mail address that is its name (a pseudonym: ``reader-a@…``)."""

    id: int
    email: str


def ensure_account(url: str, token: str, *, email: str, password: str, timeout_s: float = 60.0) -> Account:
    """The account called ``email`` in the organisation of the ``token``'s owner, made if it is missing, with our keys.

    Calling it again changes nothing, and never the password.

    Raises:
        LabelingError: nothing answers at ``url``, the token is wrong, the password is not the account's or too weak.
    """
    with httpx.Client(base_url=url.rstrip("/"), timeout=timeout_s, follow_redirects=True) as browser:
        try:
            if not _log_in(browser, email, password):
                _sign_up(browser, _invitation(url, token, timeout_s), email, password)
            _set_keys(browser)
            who = browser.get("/api/current-user/whoami").raise_for_status().json()
        except httpx.HTTPStatusError as error:
            raise LabelingError(
                f"{url}: Label Studio answers {error.response.status_code} about the account {email}; see its log"
            ) from error
        except httpx.HTTPError as error:
            raise LabelingError(
                f"{url}: Label Studio does not answer ({type(error).__name__}); is it running, at this address?"
            ) from error
    return Account(id=who["id"], email=who["email"])


def _log_in(browser: httpx.Client, email: str, password: str) -> bool:
    """Fills in the log-in form; whether Label Studio took it."""
    _submit(browser, "/user/login/", {"email": email, "password": password, "persist_session": "on"})
    return browser.get("/api/current-user/whoami").is_success


def _sign_up(browser: httpx.Client, invitation: str, email: str, password: str) -> None:
    """Fills in the form behind the invitation link.

    Raises:
        LabelingError: the address is taken, or the password is refused.
    """
    said = _submit(browser, f"/user/signup/?token={invitation}", {"email": email, "password": password})
    if "already exists" in said:
        raise LabelingError(f"the account {email} is there with another password; give that one")
    if not browser.get("/api/current-user/whoami").is_success:
        raise LabelingError(f"Label Studio does not make the account {email}; a password has 8 to 64 characters")


def _submit(browser: httpx.Client, page: str, fields: dict[str, str]) -> str:
    """Opens the page of a form, fills it in and sends it as a browser does; the page that answers."""
    browser.get(page).raise_for_status()
    fields = fields | {"csrfmiddlewaretoken": browser.cookies["csrftoken"]}
    return browser.post(page, data=fields, headers={"Referer": str(browser.base_url)}).raise_for_status().text


def _invitation(url: str, token: str, timeout_s: float) -> str:
    """The secret of the organisation's invitation link."""
    answer = httpx.get(f"{url.rstrip('/')}/api/invite", headers={"Authorization": f"Token {token}"}, timeout=timeout_s)
    if answer.status_code in {401, 403}:
        raise LabelingError(f"{url}: Label Studio refuses the token; take the one from its page Account & Settings")
    invited: dict[str, Any] = answer.raise_for_status().json()
    return parse_qs(urlsplit(invited["invite_url"]).query)["token"][0]


def _set_keys(browser: httpx.Client) -> None:
    """Gives the account our keys, and leaves the others that it set as they are."""
    page = "/api/current-user/hotkeys/"
    there = browser.get(page).raise_for_status().json()["custom_hotkeys"]
    wanted = there | {action: {"key": key, "active": True} for action, key in ACCOUNT_KEYS.items()}
    if wanted != there:
        headers = {"X-CSRFToken": browser.cookies["csrftoken"], "Referer": str(browser.base_url)}
        browser.patch(page, json={"custom_hotkeys": wanted}, headers=headers).raise_for_status()
