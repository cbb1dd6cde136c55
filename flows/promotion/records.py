"""The signed records of promotions and the trainings that they are about, verified without MLflow."""

from collections.abc import Iterable, Sequence

from flows.workspace import Workspace
from vitau.catalog.promotion_log import PromotionRecord, broken_records
from vitau.errors import RegistryError


def verify_records(workspace: Workspace, chosen: Iterable[PromotionRecord], records: Sequence[PromotionRecord]) -> None:
    """Verify some of all records.

    Raises:
        RegistryError: A signature does not match, or the record before one is missing.
    """
    problems = broken_records(records, workspace.signing_key())
    for record in chosen:
        if problem := problems.get(record.number):
            raise RegistryError(
                f"record {record.number} of the promotions is {problem}, so no version of {record.model} is approved: restore "
                f"the catalog or the key from a backup, or approve a version with `promote {record.model} VERSION --why …`"
            )


def trained_digest(workspace: Workspace, model: str, version: int) -> str | None:
    """Return the digest of a version's weights and cards as they were trained; ``None`` if it was not trained here."""
    trained = [training for training in workspace.catalog.trainings() if (training.model, training.version) == (model, version)]
    return trained[-1].model_digest if trained else None
