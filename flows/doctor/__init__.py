"""What may be wrong with the services and the machine, tried one by one: `python -m flows doctor`."""

from collections.abc import Mapping
from functools import partial

from flows.doctor import label_studio, machine, services, storage
from flows.doctor.findings import CHECK_S, AilmentError, Check, Finding, Result, run_checks, secrets_of
from flows.settings import Settings, SettingsError, load_settings

__all__ = ["Finding", "Result", "checks", "doctor"]


def doctor(environ: Mapping[str, str], timeout_s: float = CHECK_S) -> list[Finding]:
    """Look at everything; without settings at the machine only. Nothing that was tried is left behind, no secret is told."""
    settings, missing = None, ""
    try:
        settings = load_settings(environ)
    except SettingsError as error:
        missing = str(error)
    return run_checks(checks(settings, missing, environ.get("PREFECT_API_URL")), secrets_of(settings), timeout_s)


def checks(settings: Settings | None, missing: str, prefect_api: str | None) -> list[tuple[str, Check]]:
    """List all checks by name."""
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
        raise AilmentError(missing)
    return "the environment says where everything is"
