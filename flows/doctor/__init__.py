"""Checks of the services and of this machine: `python -m flows doctor`."""

from functools import partial

from flows.doctor import label_studio, machine, services, storage
from flows.doctor.findings import (
    CHECK_TIMEOUT_S,
    Check,
    CheckFailedError,
    Finding,
    Result,
    exit_process,
    run_checks,
    secrets_of,
)
from flows.settings import Settings

__all__ = ["Finding", "Result", "checks", "doctor", "exit_process"]


def doctor(
    settings: Settings | None, problem: str, prefect_api: str | None, timeout_s: float = CHECK_TIMEOUT_S
) -> list[Finding]:
    """Run all checks; without settings only those of the machine.

    The checks remove what they create, and the findings contain no secret.

    Args:
        settings: None if they cannot be loaded.
        problem: the reason why they cannot.
        prefect_api: the address of Prefect's API, if there is one.
        timeout_s: seconds that a check may take.
    """
    return run_checks(checks(settings, problem, prefect_api), secrets_of(settings), timeout_s)


def checks(settings: Settings | None, problem: str, prefect_api: str | None) -> list[tuple[str, Check]]:
    """Return all checks with their names."""
    of_machine: list[tuple[str, Check]] = [
        ("packages", machine.packages),
        ("dlib and its models", machine.faces),
        ("h264", machine.video),
        ("GPU", machine.gpu),
        ("disk", partial(machine.disk, settings)),
        ("threads", partial(machine.threads, settings)),
        ("settings", partial(_settings, problem)),
    ]
    if settings is None:
        return of_machine
    return [
        *of_machine,
        ("objects", partial(storage.objects, settings)),
        ("signed addresses", partial(storage.addresses, settings)),
        ("rows", partial(storage.rows, settings)),
        ("Label Studio", partial(label_studio.account, settings)),
        ("Label Studio: addresses", partial(label_studio.addresses, settings)),
        ("Label Studio: pictures", partial(label_studio.pictures, settings)),
        ("Label Studio: a picture", partial(label_studio.shown_picture, settings)),
        ("MLflow", partial(services.mlflow, settings)),
        ("MLflow: files", partial(services.mlflow_artifacts, settings)),
        ("champions", partial(services.champions, settings)),
        ("Prefect", partial(services.prefect, prefect_api)),
        ("Prefect: schedules", partial(services.schedules, prefect_api)),
        ("clocks", partial(services.clock, settings, prefect_api)),
        ("receiver", partial(machine.receiver, settings)),
        ("Ray", partial(machine.ray, settings)),
    ]


def _settings(problem: str) -> str:
    if problem:
        raise CheckFailedError(problem)
    return "all settings are present"
