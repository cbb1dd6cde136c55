"""The champion that a signed record approved, and its files, verified against the digests in that record."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from flows.promotion.records import trained_digest, verify_records
from flows.promotion.registered_models import PALSY, known_training
from flows.workspace import Workspace
from vitau.catalog.catalog import Training
from vitau.catalog.promotion_log import PromotionRecord
from vitau.catalog.signing import sign
from vitau.errors import ChecksumError, RegistryError
from vitau.registry import registry
from vitau.registry.download import Approved, pull
from vitau.registry.signature import publish_signature, registered_files, statement

PUBLISHING_S: Final = 2.0
"""Time between a record and its alias in MLflow, during which the two may differ."""


@dataclass(frozen=True, kw_only=True)
class Champion:
    """The version that may score people.

    ``approved`` are the digests in its record. Without a record they are those of its training; a version that was neither
    recorded nor trained here has none.
    """

    model: str
    version: int
    approved: Approved | None


def approved_champion(workspace: Workspace, model: str, *, settle_s: float = PUBLISHING_S) -> Champion | None:
    """Return the champion of a model as its last record states it; ``None`` if there is none.

    Before the first record, it is the version with the alias.

    Args:
        workspace: The records and the address of the registry.
        model: Name of the registered model.
        settle_s: Seconds to wait for an alias that does not have the newest record's version yet.

    Raises:
        RegistryError: The last record does not verify, or the alias differs from it.
        SettingsError: There are records, and no key to verify them.
    """
    standing = registry.champion(workspace.settings.mlflow_url, model)
    records = workspace.catalog.promotions()
    own = [record for record in records if record.model == model]
    if own:
        verify_last(workspace, own[-1], records)
        if standing == own[-1].before != own[-1].after:  # it may just be published
            time.sleep(settle_s)
            standing = registry.champion(workspace.settings.mlflow_url, model)
        if standing != own[-1].after:
            raise alias_differs(own[-1], standing)
    if standing is None:
        return None
    return Champion(model=model, version=standing, approved=known_digests(workspace, model, standing, records))


def verify_last(workspace: Workspace, last: PromotionRecord, records: Sequence[PromotionRecord]) -> None:
    """Verify the last record about a model, and those about other models after it.

    Raises:
        RegistryError: A signature does not match, or a record is missing.
    """
    verify_records(workspace, [record for record in records if record.number >= last.number], records)
    newest = registry.last_decision(workspace.settings.mlflow_url, last.model)
    # a record may have been added and published since the records were read
    if newest is not None and newest > last.number and newest > workspace.catalog.promotions(last.model)[-1].number:
        raise RegistryError(
            f"MLflow has record {newest} about {last.model}, and the catalog ends at {last.number}: restore the catalog from a "
            f"backup, or approve a version with `promote {last.model} VERSION --why …`"
        )


def alias_differs(last: PromotionRecord, standing: int | None) -> RegistryError:
    """Return the error about an alias that is not on the version of the last record."""
    return RegistryError(
        f"the alias champion of {last.model} is version {standing}, but record {last.number} says {last.after}: it was "
        f"moved by hand; `promote {last.model} VERSION --why …` records which version it should be"
    )


def known_digests(workspace: Workspace, model: str, version: int, records: Sequence[PromotionRecord]) -> Approved | None:
    """Return the digests of a version in the last record that made or left it champion.

    Earlier records have no digest of all files: then that of the version's own promotion counts, or of its training.

    Raises:
        RegistryError: That record does not verify.
    """
    own = [record for record in reversed(records) if (record.model, record.after) == (model, version)]
    for record in own:
        if record.facts.get("approved"):
            verify_records(workspace, [record], records)
            return Approved(**record.facts["approved"], record=record.number)
    for record in own:
        if record.version == version and record.facts.get("digest"):
            verify_records(workspace, [record], records)
            return Approved(digest=record.facts["digest"], files=None, record=record.number)
    digest = trained_digest(workspace, model, version)
    return None if digest is None else Approved(digest=digest, files=None, record=None)


def approval(workspace: Workspace, model: str, version: int | None, *, renew: bool = False) -> dict[str, Any] | None:
    """Return what a new record states of the version that is champion after it: the digests of its files in the registry.

    Args:
        workspace: The records, the trainings and the address of the registry.
        model: Name of the registered model.
        version: That is champion after the record.
        renew: Approve the texts beside the weights as they are now, whatever an earlier record has.

    Returns:
        ``None`` if there is no champion, or if it was not trained here.

    Raises:
        ChecksumError: The registry has other files than those that were trained or approved.
        RegistryError: The record that approved it does not verify.
    """
    if version is None:
        return None
    records = [] if renew else workspace.catalog.promotions()
    known = known_digests(workspace, model, version, records)
    if known is None:
        return None
    files = registered_files(workspace.settings.mlflow_url, model, version, known.digest)
    if known.files not in {None, files}:
        raise ChecksumError(
            f"the texts beside the weights of {model} version {version} in the registry are not those that record "
            f"{known.record} approved: restore them from a backup, or approve them with `promote {model} {version} --why …`"
        )
    return {"digest": known.digest, "files": files}


def is_approved(workspace: Workspace, model: str, version: int) -> bool:
    """Return whether the records approve this version as champion, and the registry has its alias and its files."""
    try:
        champion = approved_champion(workspace, model, settle_s=0)
        return champion is not None and champion.version == version and approval(workspace, model, version) is not None
    except (RegistryError, ChecksumError):
        return False


def publish_approval(workspace: Workspace, model: str, version: int, approved: Mapping[str, Any]) -> None:
    """Sign the digests of a champion, and store the signature with its version in the registry."""
    text = statement(model, version, approved["digest"], approved["files"])
    publish_signature(workspace.settings.mlflow_url, model, version, sign(text, workspace.signing_key()))


def sign_champion(workspace: Workspace, model: str, version: int) -> None:
    """Publish the signature of a champion whose record is older than the signing of models."""
    if not workspace.catalog.promotions(model):
        return
    signed = registry.find_version(workspace.settings.mlflow_url, f"models:/{model}/{version}").signature
    if signed is None and (approved := approval(workspace, model, version)) is not None:
        publish_approval(workspace, model, version, approved)


def fetch(workspace: Workspace, champion: Champion) -> Path:
    """Download the files of a champion, verified against the approved digests; return their folder.

    Raises:
        ChecksumError: The registry has other files.
    """
    digest = "unrecorded" if champion.approved is None else champion.approved.digest[:16]
    folder = workspace.folder("champions") / f"{champion.model}-{champion.version}-{digest}"
    address = f"models:/{champion.model}/{champion.version}"
    return pull(workspace.settings.mlflow_url, address, folder, approved=champion.approved, wait=True).folder


def training_of(workspace: Workspace, champion: Champion) -> Training:
    """Return the training of a champion.

    Raises:
        RegistryError: The version was not trained here.
        ChecksumError: The catalog has another digest than the record that approved it.
    """
    training = known_training(workspace, champion.model, champion.version)
    if champion.approved is not None and champion.approved.digest != training.model_digest:
        raise ChecksumError(
            f"the catalog has another digest of {champion.model} version {champion.version} than record "
            f"{champion.approved.record}: restore the catalog from a backup"
        )
    return training


def standing_recognition(workspace: Workspace, trained: Training) -> Training:
    """Return the recognition to bundle with new regions: the champion, or the one just trained if there is no champion."""
    champion = approved_champion(workspace, PALSY)
    return trained if champion is None else training_of(workspace, champion)


def bundled_recognition(workspace: Workspace) -> Training:
    """Return the recognition to bundle with regions that were trained alone: the champion.

    Raises:
        RegistryError: there is no recognition that is champion.
    """
    champion = approved_champion(workspace, PALSY)
    if champion is None:
        raise RegistryError("regions are registered together with a recognition, and none is champion: register one first")
    return training_of(workspace, champion)
