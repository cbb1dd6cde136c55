"""The registered models: their names, and the training behind each version."""

from typing import Final

from flows.workspace import Workspace
from vitau.catalog.catalog import Training
from vitau.errors import RegistryError
from vitau.evaluation.training_result import TrainingResult

PALSY: Final = "vitau-palsy"
REGIONS: Final = "vitau-regions"
MODELS: Final = (PALSY, REGIONS)


def known_training(workspace: Workspace, model: str, version: int) -> Training:
    """Return the training of a version.

    Raises:
        RegistryError: The version was not trained in this workspace.
    """
    trained = [training for training in workspace.catalog.trainings() if training.model == model]
    found = [training for training in trained if training.version == version]
    if not found:
        versions = ", ".join(str(number) for number in sorted({training.version for training in trained})) or "none"
        raise RegistryError(f"no version {version} of {model} was trained here; there are {versions}")
    return found[-1]


def bundled(workspace: Workspace, digest: str) -> list[Training]:
    """Return the training of the regions with this digest, preceded by that of the recognition in the same bundle."""
    trainings = workspace.catalog.trainings()
    regions = next(training for training in trainings if training.model_digest == digest)
    version = regions.metrics.get("recognition")  # absent where both were always trained together
    recognition = [
        training
        for training in trainings
        if training.model == PALSY
        and (f"{PALSY}/{training.version}" == version if version else training.snapshot == regions.snapshot)
    ]
    return [*recognition[-1:], regions]


def training_result(training: Training) -> TrainingResult:
    """Return the recorded outcome of a training."""
    return TrainingResult.from_json(training.metrics)
