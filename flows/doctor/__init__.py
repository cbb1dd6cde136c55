"""Checks of the services and of this machine: `python -m flows doctor`."""

from collections.abc import Mapping
from functools import partial

from flows.doctor import label_studio, machine, services, storage
from flows.doctor.findings import CHECK_TIMEOUT_S, Check, CheckFailedError, Finding, Result, run_checks, secrets_of
from flows.settings import Settings, SettingsError, load_settings

__all__ = ["Finding", "Result", "checks", "doctor"]


def doctor(environ: Mapping[str, str], timeout_s: float = CHECK_TIMEOUT_S) -> list[Finding]:
    """Run all checks; without settings only those of the machine.

    The checks remove what they create, and the findings contain no secret.
    """
    settings, missing = None, ""
    try:
        settings = load_settings(environ)
    except SettingsError as error:
        missing = str(error)
    return run_checks(checks(settings, missing, environ.get("PREFECT_API_URL")), secrets_of(settings), timeout_s)


def checks(settings: Settings | None, missing: str, prefect_api: str | None) -> list[tuple[str, Check]]:
    """Return all checks with their names."""
    of_machine: list[tuple[str, Check]] = [
        ("packages", machine.packages),
        ("dlib and its models", machine.faces),
        ("h264", machine.video),
        ("GPU", machine.gpu),
        ("disk", partial(machine.disk, settings)),
        ("threads", partial(machine.threads, settings)),
        ("settings", partial(_settings, missing)),
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
        ("MLflow", partial(services.mlflow, settings)),
        ("MLflow: files", partial(services.mlflow_artifacts, settings)),
        ("Prefect", partial(services.prefect, prefect_api)),
        ("Prefect: schedules", partial(services.schedules, prefect_api)),
        ("clocks", partial(services.clock, settings, prefect_api)),
        ("receiver", partial(machine.receiver, settings)),
        ("Ray", partial(machine.ray, settings)),
    ]


def _settings(missing: str) -> str:
    if missing:
        raise CheckFailedError(missing)
    return "all settings are present"
