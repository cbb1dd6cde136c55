"""Search of MLflow for texts that name a person."""

from collections.abc import Callable
from typing import Any, Final

from mlflow import MlflowClient

from vitau.registry.tracking import connected

RETRAIN_TAG: Final = "retrain"
"""Tag of a version that learned from a person who was erased since."""


def find_traces(tracking_uri: str, in_text: Callable[[str], bool]) -> list[str]:
    """Return the runs and versions whose names, parameters, tags or files' names have a trace, as ``run <id>`` and the like.

    Raises:
        RegistryError: the registry cannot be reached.
    """
    found = []
    with connected(tracking_uri) as client:
        for experiment in client.search_experiments():
            for run in _runs(client, experiment.experiment_id):
                facts = [run.info.run_name, run.data.params, run.data.tags, sorted(run.data.metrics)]
                if in_text(f"{facts} {_files(client, run.info.run_id)}"):
                    found.append(f"run {run.info.run_id}")
        found += [
            f"version {version.name}/{version.version}"
            for version in client.search_model_versions()
            if in_text(f"{version.tags} {version.description}")
        ]
    return found


def mark_for_retraining(tracking_uri: str, versions: list[tuple[str, int]], reason: str) -> None:
    """Tag versions that learned from an erased person; a version that is gone is skipped.

    Raises:
        RegistryError: the registry cannot be reached.
    """
    with connected(tracking_uri) as client:
        for name, version in versions:
            if client.search_model_versions(f"name = '{name}' and version_number = {version}"):
                client.set_model_version_tag(name, str(version), RETRAIN_TAG, reason)


def _runs(client: MlflowClient, experiment: str) -> list[Any]:
    runs: list[Any] = []
    token = None
    while True:
        page = client.search_runs([experiment], max_results=200, page_token=token)
        runs += page
        token = page.token
        if not token:
            return runs


def _files(client: MlflowClient, run: str, folder: str | None = None) -> list[str]:
    names: list[str] = []
    for entry in client.list_artifacts(run, folder):
        names += _files(client, run, entry.path) if entry.is_dir else [entry.path]
    return names
