"""The shortcut probe of a snapshot, for retraining and promotion."""

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_logger

from flows.erasure.living import load_living
from flows.promotion.registered_models import training_result
from flows.workspace import Workspace
from vitau.catalog.catalog import Training
from vitau.evaluation.crossvalidation.shortcuts import ShortcutProbe
from vitau.training.reporting.shortcuts import probe_snapshot


def probe_of(workspace: Workspace, training: Training) -> tuple[ShortcutProbe, bool]:
    """Return the probe of the people of a training, and whether the scores of its model carry the probe's warning.

    Those of trainings from before the probe do not: their people are probed now.
    """
    recorded = training_result(training).shortcut_probe if training.metrics else None
    return (probe_people.fn(workspace, training.snapshot), False) if recorded is None else (recorded, True)


@task(cache_policy=NO_CACHE)
def probe_people(workspace: Workspace, snapshot: str) -> ShortcutProbe:
    """Probe the people of a snapshot, without those who were erased; a warning is logged."""
    probe = probe_snapshot(workspace.store, load_living(workspace, snapshot).rows, workspace.folder("crops"))
    if probe.warning is not None:
        get_logger(__name__).warning("%s The columns that say most alone: %s.", probe.warning, probe.most_telling)
    return probe
