"""Findings of the checks, and the runner: checks run in parallel, and none can end or delay the others."""

import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NoReturn, TypeAlias

from flows.settings import HIDDEN, Settings
from vitau.errors import VitauError

CHECK_TIMEOUT_S: Final = 20.0
"""Seconds that a check may take."""
_SECRET_VARIABLES: Final = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "PREFECT_API_KEY", "PREFECT_API_AUTH_STRING",
                            "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "RAY_AUTH_TOKEN")  # fmt: skip


_THREAD_PREFIX: Final = "check: "


class Result(StrEnum):
    """Result of a check."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    NOT_APPLICABLE = "not applicable"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A check with its result and one sentence, which names the remedy if something is wrong."""

    check: str
    result: Result
    sentence: str


class CheckFailedError(VitauError):
    """A check failed; the message names the remedy."""


class CheckWarningError(VitauError):
    """A check found something that works badly or may soon fail."""


class NotApplicableError(VitauError):
    """There is nothing to check."""


Check: TypeAlias = Callable[[], str]
"""Returns its finding in a sentence; raises one of the three errors above, or any other error."""


def run_checks(
    checks: Sequence[tuple[str, Check]], secrets: Sequence[str], timeout_s: float = CHECK_TIMEOUT_S
) -> list[Finding]:
    """Run all checks in parallel threads; a check that takes too long fails, and an error is its finding."""
    found: dict[str, Finding] = {}
    threads = [
        (
            name,
            threading.Thread(
                target=lambda name=name, check=check: found.update({name: _run_check(name, check)}),
                name=f"{_THREAD_PREFIX}{name}",
                daemon=True,
            ),
        )
        for name, check in checks
    ]
    for _, thread in threads:
        thread.start()
    deadline = time.monotonic() + timeout_s
    late = "did not end within {:.0f} s: a service does not answer; check the service that it names"
    findings = []
    for name, thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
        finding = found.get(name) or Finding(check=name, result=Result.FAILED, sentence=late.format(timeout_s))
        findings.append(Finding(check=name, result=finding.result, sentence=mask_secrets(finding.sentence, secrets)))
    return findings


def exit_process(code: int) -> NoReturn:
    """End the process with an exit code.

    If a check still runs, the interpreter is not finalized: native code in the thread of the check would abort it (SIGABRT).
    """
    if any(thread.name.startswith(_THREAD_PREFIX) for thread in threading.enumerate()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def mask_secrets(sentence: str, secrets: Sequence[str]) -> str:
    """Return a sentence without secrets and line breaks: messages of libraries may quote an address with its password."""
    for secret in sorted(secrets, key=len, reverse=True):
        if secret:
            sentence = sentence.replace(secret, HIDDEN)
    return " ".join(sentence.split())


def secrets_of(settings: Settings | None) -> list[str]:
    """Return the values that must never be printed: secrets of the settings and the environment, and the catalog's password."""
    known = [os.environ.get(name, "") for name in _SECRET_VARIABLES]
    if settings is not None:
        values = (
            *(settings.catalog, settings.pseudonym_key, settings.new_pseudonym_key, settings.signing_key),
            *(settings.label_studio_token, settings.webhook_secret, settings.pages_secret_key),
        )
        known += [value.get_secret_value() for value in values if value is not None]
        user, _, _ = settings.catalog.get_secret_value().partition("://")[2].rpartition("@")
        known.append(user.partition(":")[2])
    return known


def _run_check(name: str, check: Check) -> Finding:
    try:
        return Finding(check=name, result=Result.OK, sentence=check())
    except NotApplicableError as error:
        return Finding(check=name, result=Result.NOT_APPLICABLE, sentence=str(error))
    except CheckWarningError as error:
        return Finding(check=name, result=Result.WARNING, sentence=str(error))
    except VitauError as error:
        return Finding(check=name, result=Result.FAILED, sentence=str(error))
    except Exception as error:  # noqa: BLE001 - any error of a check is its finding, and the other findings must be printed too
        return Finding(check=name, result=Result.FAILED, sentence=f"{type(error).__name__}: {error}")
