"""The connection to an MLflow server, and the run that a training writes: curves, system metrics, pictures."""

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from time import time
from typing import Any, Final

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Metric
from mlflow.exceptions import MlflowException

from vitau.errors import RegistryError

EXPERIMENT: Final = "vitau"
STEP_LOSS: Final = "loss"
EPOCH_LOSS: Final = "train_loss"
KEY_TAG: Final = "training"


@contextmanager
def connected(tracking_uri: str) -> Iterator[MlflowClient]:
    """Yield a client, with MLflow's global tracking URI set to its server inside the block.

    Raises:
        RegistryError: MLflow raised an error inside the block.
    """
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # a server that is down is reported at once
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(tracking_uri)
    try:
        yield MlflowClient(tracking_uri)
    except MlflowException as error:
        first = str(error).splitlines()[0]
        raise RegistryError(
            f"the model registry at {tracking_uri} refuses the request or cannot be reached: {first[:200]}"
        ) from error
    finally:
        mlflow.set_tracking_uri(before)


@dataclass(kw_only=True, slots=True)
class TrackedRun:
    """A run that is written while the training runs. A failure to write is reported once, and the training continues.

    Steps and epochs that the run has already are skipped, because a resumed training repeats its last steps.
    """

    id: str
    client: MlflowClient
    tell: Callable[[str], None]
    logged_steps: int = 0
    logged_epochs: set[int] = field(default_factory=set)
    failed: bool = False

    def step(self, step: int, loss: float) -> None:
        """Log the loss of a step."""
        if step > self.logged_steps:
            self._write(lambda: self.client.log_batch(self.id, [Metric(STEP_LOSS, loss, _now(), step)]))
            self.logged_steps = step

    def epoch(self, number: int, numbers: Mapping[str, float]) -> None:
        """Log the numbers of an epoch, its loss last: an epoch with a loss is complete."""
        if number in self.logged_epochs:
            return
        others = [Metric(name, value, _now(), number) for name, value in numbers.items() if name != EPOCH_LOSS]
        self._write(lambda: self.client.log_batch(self.id, others))
        self._write(lambda: self.client.log_batch(self.id, [Metric(EPOCH_LOSS, numbers[EPOCH_LOSS], _now(), number)]))
        self.logged_epochs.add(number)

    def picture(self, name: str, png: bytes) -> None:
        """Log a picture as an artifact of the run; it replaces one of the same name."""
        with TemporaryDirectory() as work:
            path = Path(work) / Path(name).name
            path.write_bytes(png)
            self._write(lambda: self.client.log_artifact(self.id, str(path), str(Path(name).parent)))

    def end(self, status: str) -> None:
        """End the run as ``FINISHED`` or ``FAILED``."""
        self._write(lambda: mlflow.end_run(status))

    def _write(self, write: Callable[[], Any]) -> None:
        try:
            write()
        except MlflowException as error:
            if not self.failed:
                self.tell(f"MLflow does not take the curves of this run ({str(error).splitlines()[0][:120]}): training goes on")
            self.failed = True


@contextmanager
def tracked_run(
    tracking_uri: str, name: str, *, key: str, settings: Mapping[str, Any], tell: Callable[[str], None]
) -> Iterator[TrackedRun]:
    """Start or resume a run, and log processor, memory and GPU use meanwhile.

    Args:
        tracking_uri: of the MLflow server.
        name: of the run.
        key: of the training; a run with this tag is resumed.
        settings: logged as the run's parameters; they must hold no identity and no path.
        tell: called once if something cannot be written.

    Raises:
        RegistryError: the server cannot be reached when the run begins.
    """
    logging.getLogger("mlflow").setLevel(logging.WARNING)  # it logs about its own threads
    with connected(tracking_uri) as client:
        experiment = mlflow.set_experiment(EXPERIMENT)
        known = client.search_runs([experiment.experiment_id], f"tags.{KEY_TAG} = '{key}'", max_results=1)
        begun = mlflow.start_run(
            known[0].info.run_id if known else None,
            experiment_id=experiment.experiment_id,
            run_name=name,
            tags={KEY_TAG: key},
            log_system_metrics=True,
        ).info.run_id
        steps, epochs = ([m.step for m in client.get_metric_history(begun, metric)] for metric in (STEP_LOSS, EPOCH_LOSS))
        mlflow.log_params({name: str(value)[:500] for name, value in settings.items()})
        run = TrackedRun(id=begun, client=client, tell=tell, logged_steps=max(steps, default=0), logged_epochs=set(epochs))
        status = "FAILED"
        try:
            yield run
            status = "FINISHED"
        finally:
            run.end(status)


def _now() -> int:
    return int(time() * 1000)
