"""What a check finds, and how all checks are run: side by side, each with its own time, none able to end the others."""

import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias

from flows.settings import Settings
from vitau.errors import VitauError

CHECK_S: Final = 20.0
"""Seconds that a check may take."""
HIDDEN: Final = "•••"
_SECRET_VARIABLES: Final = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "PREFECT_API_KEY", "PREFECT_API_AUTH_STRING",
                            "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "RAY_AUTH_TOKEN")  # fmt: skip


class Result(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    NOT_APPLICABLE = "not applicable"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One check: how it ended, and one sentence, which names the way out where something is wrong."""

    check: str
    result: Result
    sentence: str


class AilmentError(VitauError):
    """A check found something that must be put right; the message says how."""


class SymptomError(VitauError):
    """A check found something that works and may not for long, or not well."""


class NotApplicableError(VitauError):
    """A check has nothing to look at."""


Check: TypeAlias = Callable[[], str]
"""Returns what it saw, in a sentence; raises one of the three above, or any other error."""


def run_checks(checks: Sequence[tuple[str, Check]], secrets: Sequence[str], timeout_s: float = CHECK_S) -> list[Finding]:
    """Run all checks side by side; one that takes too long has failed, and what it raises is its finding."""
    found: dict[str, Finding] = {}
    threads = [
        (name, threading.Thread(target=lambda name=name, check=check: found.update({name: _look(name, check)}), daemon=True))
        for name, check in checks
    ]
    for _, thread in threads:
        thread.start()
    deadline = time.monotonic() + timeout_s
    late = "did not end within {:.0f} s: something waits for an answer that does not come; look at the service it names"
    findings = []
    for name, thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
        finding = found.get(name) or Finding(check=name, result=Result.FAILED, sentence=late.format(timeout_s))
        findings.append(Finding(check=name, result=finding.result, sentence=hide(finding.sentence, secrets)))
    return findings


def hide(sentence: str, secrets: Sequence[str]) -> str:
    """Take the secrets out of a sentence, and line breaks: what a library says may quote an address with its password."""
    for secret in sorted(secrets, key=len, reverse=True):
        if secret:
            sentence = sentence.replace(secret, HIDDEN)
    return " ".join(sentence.split())


def secrets_of(settings: Settings | None) -> list[str]:
    """List what must never be printed: the secrets of the settings and of the environment, and the catalog's password."""
    known = [os.environ.get(name, "") for name in _SECRET_VARIABLES]
    if settings is not None:
        values = (settings.catalog, settings.pseudonym_key, settings.label_studio_token, settings.webhook_secret)
        known += [value.get_secret_value() for value in values if value is not None]
        user, _, _ = settings.catalog.get_secret_value().partition("://")[2].rpartition("@")
        known.append(user.partition(":")[2])
    return known


def _look(name: str, check: Check) -> Finding:
    try:
        return Finding(check=name, result=Result.OK, sentence=check())
    except NotApplicableError as error:
        return Finding(check=name, result=Result.NOT_APPLICABLE, sentence=str(error))
    except SymptomError as error:
        return Finding(check=name, result=Result.WARNING, sentence=str(error))
    except VitauError as error:
        return Finding(check=name, result=Result.FAILED, sentence=str(error))
    except Exception as error:  # noqa: BLE001 - whatever a check meets is its finding: the others must be seen too
        return Finding(check=name, result=Result.FAILED, sentence=f"{type(error).__name__}: {error}")
