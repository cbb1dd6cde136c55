"""The model registry: register a model folder, set the champion, find and download versions."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import mlflow
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode

from vitau.errors import RegistryError
from vitau.evaluation.crossvalidation.shortcuts import ShortcutProbe
from vitau.evaluation.explanations.results import Explanations
from vitau.registry import bundle
from vitau.registry.model_card import model_card
from vitau.registry.packaging import BUNDLE, log_model
from vitau.registry.run_metrics import headline, metrics_files
from vitau.registry.tracking import NOTE_TAG, connected, open_experiment

CHAMPION: Final = "champion"
DIGEST_TAG: Final = "digest"
SIGNATURE_TAG: Final = "signature"
SHORTCUT_TAG: Final = "shortcut_probe_auroc"
WARNING_TAG: Final = "warning"
FIGURES: Final = "figures"
"""Folder of a run's figures."""
MODEL_NOTE: Final = (
    "Versions that ViTAU registered. The alias `champion` marks the one that reports and `vitau score` use. The description "
    "of a version is its model card. Its tag `digest` is the digest on reports: `python -m flows lineage DIGEST` leads to the "
    "snapshot, the labels and the clips."
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Version:
    """A version of a registered model.

    ``digest`` is the :func:`vitau.registry.bundle.folder_digest` of its weights and cards, ``signature`` that of
    :mod:`vitau.registry.signature`.
    """

    name: str
    version: int
    digest: str
    run_id: str
    signature: str | None = None


def register(
    tracking_uri: str,
    name: str,
    folder: Path,
    *,
    metrics: Mapping[str, Any],
    lineage: Mapping[str, str],
    reporting_sheet: str | None = None,
    remarks: Sequence[str] = (),
) -> tuple[int, str]:
    """Register a model folder as a new version. Idempotent: a folder that is registered already keeps its version.

    Args:
        tracking_uri: of the MLflow server.
        name: of the registered model.
        folder: ``model/`` and, for regions, ``recognition/``.
        metrics: of the training. The run shows those of :func:`vitau.registry.run_metrics.headline` as numbers, and has all of
            them as files. If ``run_id`` names an existing run, which the training wrote, that run is continued.
        lineage: tags of the run and the version: snapshot, ledger_offset, recipe, protocol, synthetic, evidence.
        remarks: sentences for the card.
        reporting_sheet: text of the sheet of :mod:`vitau.registry.tripod`; stored beside the card.

    Returns:
        The version and the id of its run.

    Raises:
        RegistryError: the registry cannot be reached or refuses the model.
    """
    digest = bundle.folder_digest(folder)
    with connected(tracking_uri) as client:
        known = client.search_model_versions(f"name = '{name}' and tags.{DIGEST_TAG} = '{digest}'")
        if known:
            return int(known[0].version), str(known[0].run_id)
        experiment = open_experiment(client)
        tags = {**lineage, **_shortcut_tags(metrics), DIGEST_TAG: digest}
        card = model_card(name, metrics, lineage, bundle.read_thresholds(folder).get("recognition"), remarks)
        training_run = _training_run(client, metrics)
        with mlflow.start_run(
            training_run, experiment_id=None if training_run else experiment.experiment_id, run_name=name, tags=tags
        ) as run:
            explanations = Explanations.from_json(metrics.get("explanations"))
            mlflow.log_metrics(headline(metrics))
            mlflow.log_params(dict(lineage))
            client.set_tag(run.info.run_id, NOTE_TAG, card)
            for file_name, text in metrics_files(metrics).items():
                mlflow.log_text(text, file_name)
            texts = {bundle.README: card} | ({} if reporting_sheet is None else {bundle.REPORTING_SHEET: reporting_sheet})
            if explanations is not None:
                texts[bundle.EXPLANATIONS] = json.dumps(explanations.to_json(), indent=1) + "\n"
            for file_name, text in texts.items():
                mlflow.log_text(text, file_name)
            logged = log_model(folder, {**texts, bundle.METRICS: json.dumps(metrics.get("test", metrics), indent=1) + "\n"})
        if not client.search_registered_models(f"name = '{name}'"):
            client.create_registered_model(name, description=MODEL_NOTE)
        version = client.create_model_version(
            name, logged.model_uri, run_id=run.info.run_id, model_id=logged.model_id, tags=tags, description=card
        )
        return int(version.version), str(run.info.run_id)


def log_figures(tracking_uri: str, run_id: str, figures: Mapping[str, str]) -> None:
    """Store figures, name → SVG, with a run; figures of the same name are replaced.

    Raises:
        RegistryError: there is no such run, or the registry cannot be reached.
    """
    with connected(tracking_uri) as client:
        for name, svg in figures.items():
            client.log_text(run_id, svg, f"{FIGURES}/{name}.svg")


def set_champion(tracking_uri: str, name: str, version: int) -> None:
    """Set the alias ``champion`` to a version.

    Raises:
        RegistryError: there is no such version, or the registry cannot be reached.
    """
    with connected(tracking_uri) as client:
        try:
            client.set_registered_model_alias(name, CHAMPION, str(version))
        except MlflowException as error:
            raise _not_found(client, error, name, str(version)) from error


def champion(tracking_uri: str, name: str) -> int | None:
    """Return the version with the alias ``champion``, or None."""
    with connected(tracking_uri) as client:
        found = client.search_registered_models(f"name = '{name}'")
        version = found[0].aliases.get(CHAMPION) if found else None
        return None if version is None else int(version)


def record_decision(tracking_uri: str, name: str, version: int, *, text: str, number: int, tags: Mapping[str, str]) -> None:
    """Store a promotion decision with its version: the text as an artifact of the run, tags on the version.

    Raises:
        RegistryError: there is no such version, or the registry cannot be reached.
    """
    with connected(tracking_uri) as client:
        try:
            found = client.get_model_version(name, str(version))
        except MlflowException as error:
            raise _not_found(client, error, name, str(version)) from error
        client.log_text(found.run_id, text, f"decisions/{number}.json")
        for key, value in tags.items():
            client.set_model_version_tag(name, str(version), key, value)


def last_decision(tracking_uri: str, name: str) -> int | None:
    """Return the highest number of a decision in the tags of a model's versions, or None."""
    with connected(tracking_uri) as client:
        numbers = [version.tags.get("decision_record") for version in client.search_model_versions(f"name = '{name}'")]
    return max((int(number) for number in numbers if number is not None), default=None)


def lacks_decision(tracking_uri: str, name: str, version: int, number: int) -> bool:
    """Return whether a version's tags have no decision of this number or a later one; False for a version that is gone."""
    with connected(tracking_uri) as client:
        found = client.search_model_versions(f"name = '{name}' and version_number = {version}")
        return bool(found) and int(found[0].tags.get("decision_record") or 0) < number


def download(tracking_uri: str, model_uri: str, dest: Path) -> Path:
    """Download a registered model with its code; return its model folder, inside ``dest``.

    Args:
        tracking_uri: of the MLflow server.
        model_uri: ``models:/NAME/VERSION`` or ``models:/NAME@ALIAS``.
        dest: folder for the files; created if missing.

    Raises:
        RegistryError: no such model, version or alias, or the registry cannot be reached.
    """
    address = _parse_address(model_uri)
    with connected(tracking_uri) as client:
        found = _find(client, *address)
        dest.mkdir(parents=True, exist_ok=True)
        local = mlflow.artifacts.download_artifacts(f"models:/{found.name}/{found.version}", dst_path=str(dest))
    folder = Path(local) / "artifacts" / BUNDLE
    if not folder.is_dir():
        raise RegistryError(f"version {found.version} of {found.name} holds no model folder: register it again")
    return folder


def find_version(tracking_uri: str, model_uri: str) -> Version:
    """Return the version that ``models:/NAME/VERSION`` or ``models:/NAME@ALIAS`` refers to.

    Raises:
        RegistryError: no such model, version or alias, it holds no model folder, or the registry cannot be reached.
    """
    address = _parse_address(model_uri)
    with connected(tracking_uri) as client:
        found = _find(client, *address)
    if DIGEST_TAG not in found.tags:
        raise RegistryError(f"version {found.version} of {found.name} holds no model folder: register it again")
    return Version(
        name=found.name,
        version=int(found.version),
        digest=found.tags[DIGEST_TAG],
        run_id=str(found.run_id),
        signature=found.tags.get(SIGNATURE_TAG),
    )


def list_files(tracking_uri: str, found: Version, work: Path) -> dict[str, str | None]:
    """List the files of a registered model folder, name → checksum; ``None`` if it was registered without checksums.

    Raises:
        RegistryError: the registry cannot be reached.
        ChecksumError: the registered checksums cannot be read.
    """
    root = _files_uri(found)
    with connected(tracking_uri):
        folders, names = [""], list[str]()
        while folders:
            for entry in mlflow.artifacts.list_artifacts(f"{root}/{folders.pop()}".rstrip("/")):
                name = entry.path.partition(f"artifacts/{BUNDLE}/")[2]
                (folders if entry.is_dir else names).append(name)
    if bundle.SUMS not in names:
        return dict.fromkeys(sorted(names))
    return dict(bundle.read_sums(fetch_file(tracking_uri, found, bundle.SUMS, work)))


def fetch_file(tracking_uri: str, found: Version, name: str, dest: Path) -> Path:
    """Download one file of a registered model folder; return its path inside ``dest``.

    Raises:
        RegistryError: there is no such file, or the registry cannot be reached.
    """
    with connected(tracking_uri):
        return Path(mlflow.artifacts.download_artifacts(f"{_files_uri(found)}/{name}", dst_path=str(dest)))


def _files_uri(found: Version) -> str:
    return f"models:/{found.name}/{found.version}/artifacts/{BUNDLE}"


def _parse_address(model_uri: str) -> tuple[str, str | None, str | None]:
    """Parse an address into name, version and alias; one of the last two is ``None``."""
    parts = re.fullmatch(r"models:/([^/@]+)(?:/(\d+)|@([^/@]+))", model_uri)
    if parts is None:
        raise RegistryError(f"{model_uri} is not the address of a model: write models:/NAME@champion or models:/NAME/VERSION")
    return parts[1], parts[2], parts[3]


def _find(client: MlflowClient, name: str, version: str | None, alias: str | None) -> Any:
    """Return MLflow's own record of a version."""
    try:
        return client.get_model_version_by_alias(name, alias) if alias else client.get_model_version(name, version)
    except MlflowException as error:
        raise _not_found(client, error, name, version, alias) from error


def _shortcut_tags(metrics: Mapping[str, Any]) -> dict[str, str]:
    """Return the tags about the shortcut probe, with the warning if it separates the cohorts."""
    if metrics.get("shortcut_probe") is None:
        return {}
    probe = ShortcutProbe.from_json(metrics["shortcut_probe"])
    auroc = "undefined" if probe.auroc.value is None else f"{probe.auroc.value:.3f}"
    return {SHORTCUT_TAG: auroc} | ({WARNING_TAG: probe.warning} if probe.warning else {})


def _training_run(client: MlflowClient, metrics: Mapping[str, Any]) -> str | None:
    """Return the id of the run that the training wrote to this server, or None."""
    run_id = metrics.get("run_id")
    try:
        return None if run_id is None else str(client.get_run(run_id).info.run_id)
    except MlflowException:
        return None


def _not_found(
    client: MlflowClient, error: MlflowException, name: str, version: str | None, alias: str | None = None
) -> RegistryError | MlflowException:
    """Return an error that names what is missing and what exists; errors of other kinds are returned unchanged."""
    missing = ErrorCode.Name(RESOURCE_DOES_NOT_EXIST), "INVALID_PARAMETER_VALUE"
    if error.error_code not in missing:
        return error
    models = {model.name: model for model in client.search_registered_models()}
    if name not in models:
        return RegistryError(f"no model {name} in the registry; there are {', '.join(sorted(models)) or 'none'}")
    if alias is not None:
        return RegistryError(f"no alias {alias} of {name}; there are {', '.join(sorted(models[name].aliases)) or 'none'}")
    versions = sorted(int(found.version) for found in client.search_model_versions(f"name = '{name}'"))
    return RegistryError(f"no version {version} of {name}; there are {', '.join(map(str, versions)) or 'none'}")
